/*
 * rule.h - what a peer must prove, and what it proved.
 *
 * A rule is plain data: policy fills it, tls applies it to an SSL and explains the outcome, proxy
 * asks tls_rule_is_met() before the state that sends MAIL can be entered. Everything here is pure
 * but for tls_rule_apply() and tls_rule_judge(), which tls/channel_tls.c alone calls.
 */
#ifndef TLS_RULE_H
#define TLS_RULE_H

#include "conf/conf.h"
#include "tls/tlsa.h"

#include <stdbool.h>
#include <stddef.h>
#include <time.h>

typedef struct ssl_st SSL;

enum tls_need {
	TLS_NONE,    /* never STARTTLS */
	TLS_MAY,     /* if offered; unproven */
	TLS_ENCRYPT, /* required; unproven */
	TLS_PKIX,    /* required; chain to the CA file and a DNS-ID of names[] */
	TLS_DANE,    /* required; RFC 7672 with tlsa and names[] */
};

/* A server with several certificates chooses by what the client can verify. */
enum tls_key_choice { TLS_ANY_KEY, TLS_ONLY_RSA, TLS_ONLY_ECDSA };

enum { TLS_NAMES_MAX = 4, TLS_KEY_SIZE = 32 };

struct tls_rule {
	enum tls_need need;
	enum tls_version min_version; /* TLS_PKIX and TLS_DANE: never below 1.2 */
	char sni[DOMAIN_SIZE];        /* TLSA base domain or MX host; "": none (address literal) */
	size_t name_count;            /* reference identifiers in normal form, ... */
	char names[TLS_NAMES_MAX][DOMAIN_SIZE]; /* ... the first is the TLSA base domain */
	bool names_below;     /* TLS_PKIX: a name below names[0] satisfies it too (level secure) */
	struct tlsa_set tlsa; /* TLS_DANE: usable records only, sorted; owned by the rule */
	/* TLS_MAY and TLS_ENCRYPT: demand nothing, but find out what TLS_PKIX with this name would
	 * have said (RFC 8461 5, mode testing); "": do not */
	char report_name[DOMAIN_SIZE];
	enum tls_key_choice key_choice; /* for who looks at all certificates of a server */
	bool is_sealed;                 /* changes no more: its key is this */
	unsigned char key[TLS_KEY_SIZE];
};

void tls_rule_copy(struct tls_rule *to, const struct tls_rule *from); /* `to` holds nothing yet */
void tls_rule_release(struct tls_rule *rule);

/*
 * The identity of what is demanded (R-TLSSEC-06): SHA-256 over need, minimum version, SNI, all
 * names (sorted), names_below, report_name, key_choice and the sorted TLSA set. Equal keys: a
 * connection proven under one rule is proven under the other, and its proof tells what the other
 * asks to be told.
 */
void tls_rule_key(const struct tls_rule *rule, unsigned char key[TLS_KEY_SIZE]);
/* A rule that is used many times keeps its key, and so do its copies. */
void tls_rule_seal(struct tls_rule *rule);

enum tls_failure {
	TLS_FINE,
	TLS_FAIL_HANDSHAKE, /* protocol, alert, version, cipher, deadline, lost */
	TLS_FAIL_MISMATCH,  /* no TLSA record matches what was presented */
	TLS_FAIL_NAME,
	TLS_FAIL_EXPIRED, /* or not yet valid */
	TLS_FAIL_CHAIN,   /* chain, CA flags, signature, key strength */
};

/* What came of a handshake. Plain data, safe to keep after the connection is gone. */
struct tls_proof {
	bool encrypted;           /* a handshake was completed */
	bool verified;            /* and the peer proved what TLS_PKIX or TLS_DANE asks */
	enum tls_failure failure; /* TLS_FINE unless the handshake or the proof failed */
	char protocol[16];        /* "TLSv1.3" */
	char cipher[64];
	char key_digest[65];     /* SHA-256 of the SPKI presented, hex; "": none was */
	char matched[TLSA_TEXT]; /* tlsa_brief of the record that matched; "" */
	int depth;               /* of the match; -1 */
	time_t not_after; /* TLS_PKIX and usage 2: earliest end in the verified chain; 0: no end */
	char text[256];   /* failure in words: alert, verify error and its constant; not escaped */
	char report[256]; /* rule's report_name: why TLS_PKIX would have failed; "": it would not */
	unsigned ca_store; /* TLS_PKIX: which one proved it (tls_contexts_ca_store()); 0: none */
	bool is_resumed;   /* all of this but protocol and cipher is of an earlier handshake, ... */
	time_t proven;     /* ... of this moment; 0: this one has not passed yet */
};

/*
 * The gate before MAIL: whether this proof (NULL: in clear) satisfies the rule, which is the one
 * that it was made under; the need is all that is still asked of it. Pure.
 */
bool tls_rule_is_met(const struct tls_rule *rule, const struct tls_proof *proof);
bool tls_need_is_met(enum tls_need need, const struct tls_proof *proof);

/*
 * Prepares the handle for the rule; false: a record or name could not be set, the handshake must
 * not start (R-DANE-07), and the proof says why. Until the handshake is judged the handle refers to
 * the proof.
 */
bool tls_rule_apply(const struct tls_rule *rule, SSL *ssl, struct tls_proof *proof);

/*
 * After the handshake, completed or failed (ssl_error: as SSL_get_error gave it, before any other
 * use of OpenSSL). Fills the proof. kept: what was proven when the session was made that the
 * handshake may have resumed, under exactly this rule and still current; NULL: no such session was
 * offered, and a resumed one proves nothing.
 */
void tls_rule_judge(const struct tls_rule *rule, SSL *ssl, int ssl_error,
    const struct tls_proof *kept, struct tls_proof *proof);

#endif
