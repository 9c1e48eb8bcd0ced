/*
 * channel_tls.c - the TLS half of a channel (channel.h): handshake, records, close_notify. The one
 * place where SSL_get_error() is asked. OpenSSL's error queue belongs to the thread, not to the
 * handle: it is emptied before each call, so that one connection's error is never taken for
 * another's (R-TLSSEC-13).
 */
#include "tls/channel_internal.h"

#include "conf/mem.h"
#include "tls/chain.h"
#include "tls/ctx.h"
#include "tls/resumption.h"
#include "tls/server.h"
#include "tls/wire.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	HANDSHAKE_OCTETS_MAX = 200 * 1024, /* R-TLSSEC-11 */
	LATE_MESSAGES_MAX = 100, /* tickets and key updates of an honest server are a handful */
};

struct tls_session {
	SSL *ssl;
	struct wire wire;
	struct tls_rule *rule; /* until the handshake is judged */
	struct tls_proof proof;
	struct resuming resuming;
	bool established;  /* the handshake is completed */
	bool may_shutdown; /* SSL_shutdown is forbidden after a fatal error, and once is enough */
	unsigned late_messages; /* handshake messages after the handshake */
};

/* ---- starting ---- */

static void release_rule(struct tls_session *tls)
{
	if (tls->rule)
		tls_rule_release(tls->rule);
	free(tls->rule);
	tls->rule = NULL;
}

/* Stands before each read of a handshake: no state of OpenSSL's can read on past the limit. */
static long limit_handshake(BIO *bio, int operation, const char *data, size_t len, int argi,
    long argl, int result, size_t *processed)
{
	(void)data, (void)len, (void)argi, (void)argl, (void)processed;
	if (operation != BIO_CB_READ || BIO_number_read(bio) < HANDSHAKE_OCTETS_MAX)
		return result;
	BIO_clear_retry_flags(bio);
	return -1;
}

/* Key updates, tickets and hello requests without end cost us work for nothing. */
static void count_message(
    int written, int version, int type, const void *data, size_t len, SSL *ssl, void *arg)
{
	struct tls_session *tls = arg;

	(void)version, (void)data, (void)len, (void)ssl;
	if (!written && type == SSL3_RT_HANDSHAKE && tls->established)
		tls->late_messages++;
}

static bool refuse_tls(struct channel *channel, const char *words)
{
	struct tls_proof *proof = &channel->tls->proof;

	if (words)
		snprintf(proof->text, sizeof(proof->text), "%s", words);
	proof->failure = TLS_FAIL_HANDSHAKE;
	channel_note(channel, proof->text);
	return false;
}

/* Octets that came in clear would be taken for something said under TLS (R-TLSSEC-01, -02). */
static bool begin(struct channel *channel, const struct tls_rule *rule, size_t unconsumed)
{
	struct tls_session *tls = mem_zero(1, sizeof(*tls));

	channel->tls = tls;
	tls->proof.depth = -1;
	tls->rule = mem_alloc(sizeof(*tls->rule));
	tls_rule_copy(tls->rule, rule);
	return !unconsumed ||
	       refuse_tls(channel, "data before the TLS handshake (STARTTLS injection)");
}

/* The handle owns both. */
static bool set_bios(struct tls_session *tls, int fd)
{
	BIO *in = BIO_new_socket(fd, BIO_NOCLOSE), *out = wire_bio(&tls->wire);

	if (in)
		SSL_set0_rbio(tls->ssl, in);
	if (out)
		SSL_set0_wbio(tls->ssl, out);
	return in && out;
}

static bool attach(struct channel *channel)
{
	struct tls_session *tls = channel->tls;

	wire_init(&tls->wire, channel->fd);
	if (!set_bios(tls, channel->fd))
		return refuse_tls(channel, "TLS was not started: out of memory");
	SSL_set_msg_callback(tls->ssl, count_message);
	SSL_set_msg_callback_arg(tls->ssl, tls);
	BIO_set_callback_ex(SSL_get_rbio(tls->ssl), limit_handshake);
	return true;
}

bool channel_start_tls(struct channel *channel, struct tls_contexts *contexts,
    const struct tls_rule *rule, const struct tls_peer *peer, size_t unconsumed)
{
	struct tls_session *tls;

	if (!begin(channel, rule, unconsumed))
		return false;
	tls = channel->tls;
	tls->ssl = tls_contexts_handle(contexts, rule->need);
	if (!tls->ssl)
		return refuse_tls(channel, "TLS was not started: out of memory");
	if (!tls_rule_apply(tls->rule, tls->ssl, &tls->proof) || !attach(channel))
		return refuse_tls(channel, NULL);
	if (peer)
		resuming_begin(
		    &tls->resuming, tls_contexts_resumption(contexts), rule, peer, tls->ssl);
	SSL_set_connect_state(tls->ssl);
	return true;
}

bool channel_accept_tls(struct channel *channel, struct tls_server *server, size_t unconsumed)
{
	static const struct tls_rule nothing = {.need = TLS_MAY};

	if (!begin(channel, &nothing, unconsumed))
		return false;
	channel->tls->ssl = tls_server_handle(server);
	if (!channel->tls->ssl)
		return refuse_tls(channel, "TLS was not started: out of memory");
	if (!attach(channel))
		return false;
	SSL_set_accept_state(channel->tls->ssl);
	return true;
}

const struct tls_proof *channel_proof(const struct channel *channel)
{
	return channel->tls ? &channel->tls->proof : NULL;
}

bool channel_offered_session(const struct channel *channel)
{
	return channel->tls && channel->tls->resuming.was_offered;
}

void channel_chain(const struct channel *channel, struct tls_chain *chain)
{
	if (channel->tls && channel->tls->proof.encrypted)
		tls_chain_take(chain, channel->tls->ssl);
}

/* Without close_notify the end may be anyone's doing, so it is no end (R-TLSSEC-12). */
static void note_tls_error(struct channel *channel, int ssl_error, int saved_errno)
{
	char reason[128];

	if (ERR_GET_REASON(ERR_peek_error()) == SSL_R_UNEXPECTED_EOF_WHILE_READING) {
		channel_note(channel, "connection lost");
		return;
	}
	if (ssl_error == SSL_ERROR_SSL) /* RFC 8446 6.2: a fatal alert ends its session, too */
		resuming_fail(&channel->tls->resuming);
	tls_library_error(reason, sizeof(reason));
	if (!reason[0]) {
		channel_note_errno(channel, ssl_error == SSL_ERROR_SYSCALL ? saved_errno : 0);
		return;
	}
	free(channel->error);
	channel->error = mem_printf("TLS: %s", reason);
}

static void explain_handshake(struct channel *channel, int ssl_error)
{
	struct tls_session *tls = channel->tls;

	tls_rule_judge(tls->rule, tls->ssl, ssl_error, NULL, &tls->proof);
	resuming_fail(&tls->resuming);
	if (BIO_number_read(SSL_get_rbio(tls->ssl)) >= HANDSHAKE_OCTETS_MAX)
		snprintf(tls->proof.text, sizeof(tls->proof.text),
		    "more than %d octets from the peer", HANDSHAKE_OCTETS_MAX);
	channel_note(channel, tls->proof.text);
}

/* What a call of OpenSSL's that gave `result` came to; to be asked at once after it. */
static enum channel_outcome outcome_of(struct channel *channel, int result)
{
	struct tls_session *tls = channel->tls;
	int saved_errno = errno;
	int ssl_error = SSL_get_error(tls->ssl, result);

	switch (ssl_error) {
	case SSL_ERROR_NONE:
		return CHANNEL_DONE;
	case SSL_ERROR_WANT_READ:
		return CHANNEL_WANTS_READ;
	case SSL_ERROR_WANT_WRITE:
		return CHANNEL_WANTS_WRITE;
	case SSL_ERROR_ZERO_RETURN:
		if (tls->established)
			return CHANNEL_EOF;
	}
	tls->may_shutdown = false;
	if (tls->established)
		note_tls_error(channel, ssl_error, saved_errno);
	else
		explain_handshake(channel, ssl_error);
	return CHANNEL_FAILED;
}

/* What is in the queue would be taken for this call's. Clearing it looks at all its places, so that
 * an empty one is left alone. */
static void forget_errors(void)
{
	if (ERR_peek_error())
		ERR_clear_error();
}

enum channel_outcome channel_handshake(struct channel *channel)
{
	struct tls_session *tls = channel->tls;
	enum channel_outcome outcome;

	forget_errors();
	outcome = outcome_of(channel, SSL_do_handshake(tls->ssl));
	if (outcome != CHANNEL_DONE)
		return outcome;
	tls->established = tls->may_shutdown = true;
	BIO_set_callback_ex(SSL_get_rbio(tls->ssl), NULL);
	tls_rule_judge(
	    tls->rule, tls->ssl, SSL_ERROR_NONE, resuming_proof(&tls->resuming), &tls->proof);
	if (!tls_rule_is_met(tls->rule, &tls->proof)) {
		resuming_fail(&tls->resuming);
		channel_note(channel, tls->proof.text);
		return CHANNEL_FAILED;
	}
	resuming_pass(&tls->resuming, tls->ssl, &tls->proof);
	release_rule(tls);
	return CHANNEL_DONE;
}

size_t channel_unsent(const struct channel *channel)
{
	return channel->tls ? buf_len(&channel->tls->wire.rest) : 0;
}

bool channel_has_pending(const struct channel *channel)
{
	return channel->tls && channel->tls->ssl && SSL_has_pending(channel->tls->ssl);
}

enum channel_outcome channel_tls_read(struct channel *channel, void *data, size_t size, size_t *len)
{
	struct tls_session *tls = channel->tls;
	enum channel_outcome outcome;

	forget_errors();
	outcome = outcome_of(channel, SSL_read_ex(tls->ssl, data, size, len));
	channel->is_drained = !channel_has_pending(channel);
	if (outcome == CHANNEL_FAILED || tls->late_messages <= LATE_MESSAGES_MAX)
		return outcome;
	tls->may_shutdown = false;
	channel_note(channel, "TLS: too many handshake messages after the handshake");
	return CHANNEL_FAILED;
}

/* Of a write to the socket itself. */
static enum channel_outcome outcome_of_wire(struct channel *channel, enum wire_outcome outcome)
{
	if (outcome == WIRE_FAILED) {
		channel->tls->may_shutdown = false;
		return channel_fail_errno(channel, errno);
	}
	return outcome == WIRE_FULL ? CHANNEL_WANTS_WRITE : CHANNEL_DONE;
}

/* As many records as are gathered at a time; each call of OpenSSL's makes one. */
static enum channel_outcome write_records(
    struct channel *channel, const struct iovec *piece, bool is_last, size_t *len)
{
	enum channel_outcome outcome = CHANNEL_DONE;
	size_t at = 0;

	while (outcome == CHANNEL_DONE && at < piece->iov_len && wire_has_room()) {
		const char *data = piece->iov_base;
		size_t left = piece->iov_len - at, taken = 0;

		if (is_last && left <= SSL3_RT_MAX_PLAIN_LENGTH)
			wire_expect_last();
		forget_errors();
		outcome =
		    outcome_of(channel, SSL_write_ex(channel->tls->ssl, data + at, left, &taken));
		at += taken;
	}
	*len += at;
	return outcome;
}

enum channel_outcome channel_tls_write(
    struct channel *channel, const struct iovec *pieces, size_t count, size_t *len)
{
	struct wire *wire = &channel->tls->wire;
	enum channel_outcome outcome, sent;

	outcome = outcome_of_wire(channel, wire_flush(wire));
	if (outcome != CHANNEL_DONE)
		return outcome;
	wire_begin(wire);
	for (size_t i = 0; i < count && outcome == CHANNEL_DONE; i++)
		outcome = write_records(channel, &pieces[i], i + 1 == count, len);
	sent = outcome_of_wire(channel, wire_end(wire));
	return outcome == CHANNEL_DONE ? sent : outcome;
}

/* ---- the end ---- */

/* SSL_shutdown gives 0 when our close_notify is out and the peer's is not in: that is all we want.
 */
enum channel_outcome channel_tls_shutdown(struct channel *channel)
{
	int result;

	if (!channel->tls->may_shutdown)
		return CHANNEL_DONE;
	forget_errors();
	result = SSL_shutdown(channel->tls->ssl);
	if (result < 0) {
		enum channel_outcome outcome = outcome_of(channel, result);

		if (outcome != CHANNEL_DONE)
			return outcome;
	}
	channel->tls->may_shutdown = false;
	return CHANNEL_DONE;
}

/* One SSL_shutdown says close_notify; the peer's is not waited for. */
void channel_tls_close(struct channel *channel)
{
	if (!channel->tls->may_shutdown)
		return;
	forget_errors();
	SSL_shutdown(channel->tls->ssl);
}

void channel_tls_release(struct channel *channel)
{
	SSL_free(channel->tls->ssl);
	resuming_release(&channel->tls->resuming);
	wire_release(&channel->tls->wire);
	release_rule(channel->tls);
	free(channel->tls);
	channel->tls = NULL;
}
