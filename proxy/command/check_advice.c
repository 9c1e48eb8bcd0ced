/*
 * check_advice.c - what a refusal means: what is wrong, who must mend it, and how. For a person who
 * sees nothing else. Pure.
 *
 * One vantage point cannot tell a faulty host from somebody who stands between: no text here says
 * more than was seen, and none asks an owner to publish what was only seen from here.
 */
#include "proxy/command/check_advice.h"

#include <stdlib.h>
#include <string.h>

/* ---- without a look at the host ---- */

/* clang-format off */
static const struct {
	enum reason reason;
	const char *text;
} advice[] = {
	{ REASON_DNS_BOGUS, "The zone's owner must mend it: `delv` and dnsviz.net show where it "
	  "breaks. Ask from another network, too: where the answer is sound there, something on "
	  "your way or your resolver alters it." },
	{ REASON_DNS_FAILED, "If it stays, look at this host's own DNS first (danelaw check of "
	  "another domain); where that is sound, the zone's owner must look at its name servers." },
	{ REASON_NO_SUCH_DOMAIN, "The sender should correct the address; such mail bounces." },
	{ REASON_NO_MAIL_HOST, "The sender should correct the address, or the domain's owner must "
	  "publish an MX record; such mail bounces." },
	{ REASON_NULL_MX, "The domain's owner says that it takes no mail; such mail bounces." },
	{ REASON_NO_ADDRESS, "The owner of the domain or of its MX host must publish an A or AAAA "
	  "record with a public address. An address of your own network is used only if "
	  "allow_addresses names it." },
	{ REASON_MX_LOOP, "The MX record points at danelaw itself. The operator of danelaw should "
	  "set next_hop for this domain, or its owner correct the MX record." },
	{ REASON_CONNECT_FAILED, "If no host answers you, a firewall or your access provider blocks "
	  "port 25; if others do, the host's owner must look at it." },
	{ REASON_CONNECTION_LOST, "The host broke the conversation off. If it stays, its owner must "
	  "look in its log." },
	{ REASON_DANE_NO_STARTTLS, "The host's owner must turn STARTTLS on, which its own TLSA "
	  "records demand. If it is on, something between here and there takes it away: a firewall "
	  "with SMTP inspection, or an attacker; look from another network." },
	{ REASON_TLS_NOT_OFFERED, "The host's owner must turn STARTTLS on; or the operator of "
	  "danelaw must lower the level for this domain." },
	{ REASON_STS_NO_STARTTLS, "The host's owner must turn STARTTLS on. If it is on, something "
	  "between here and there takes it away: a firewall with SMTP inspection, or an attacker; "
	  "look from another network." },
	{ REASON_TLS_HANDSHAKE, "The host began TLS and did not complete it. Its owner must look in "
	  "its log; usual causes: nothing newer than TLS 1.1, no ECDHE with AES-GCM or ChaCha20, a "
	  "key that does not fit the certificate, a firewall that breaks STARTTLS." },
	{ REASON_DANE_MISMATCH, "Either the key was changed and the TLSA record was not, or "
	  "somebody stands between. The host's owner must read the key on the host itself, and "
	  "publish a record for that key, or put the old key and certificate back." },
	{ REASON_DANE_NAME, "A TLSA record of usage 2 names a CA, so that the certificate must name "
	  "the host: its owner must get one for that name from that CA, or publish a 3 1 1 record "
	  "of the key, which needs no name." },
	{ REASON_DANE_EXPIRED, "With TLSA usage 2 dates count: the host's owner must renew the "
	  "certificate." },
	{ REASON_DANE_CHAIN, "With TLSA usage 2 the chain from the host's certificate to the "
	  "published CA must verify: the host's owner must mend the chain, or publish a 3 1 1 "
	  "record." },
	{ REASON_DANE_REQUIRED, "Level dane-only asks for more than is published: the owner must "
	  "sign the zones and publish TLSA records, or the operator of danelaw choose level dane." },
	{ REASON_PKIX_CERTIFICATE, "The host's owner must install a certificate of a known CA for "
	  "the name; or the operator of danelaw must add its CA to ca_file, or lower the level." },
	{ REASON_STS_MX, "The domain's owner must add this MX host to the MTA-STS policy and then "
	  "change the id of the _mta-sts record, or point the MX record at a host that is listed." },
	{ REASON_STS_CERTIFICATE, "The host's owner must install a certificate of a public CA for "
	  "the name in the MX record, with its chain, and renew it in time." },
	{ REASON_STS_FETCH, "The domain's owner must mend the policy host; until then "
	  "first_contact = defer makes mail wait." },
	{ REASON_BUSY, "Try again in a moment." },
};
/* clang-format on */

const char *check_advice(enum reason reason)
{
	for (size_t i = 0; i < sizeof advice / sizeof *advice; i++)
		if (advice[i].reason == reason)
			return advice[i].text;
	return "";
}

bool check_is_held(const struct refusal *refusal)
{
	return reason_reply(refusal->reason) / 100 == 4;
}

/* ---- what is known of a refusal ---- */

static bool is_it(const struct scene *scene, const struct refusal *other)
{
	return other->reason == scene->refusal->reason &&
	       strcmp(other->text, scene->refusal->text) == 0;
}

static void find_host(struct scene *scene)
{
	for (size_t i = 0; scene->check && i < scene->check->host_count; i++) {
		const struct check_host *host = &scene->check->hosts[i];

		if (is_it(scene, &host->route->refusal))
			scene->host = host;
		for (size_t k = 0; k < host->address_count && !scene->host; k++)
			if (is_it(scene, &host->addresses[k].refusal)) {
				scene->host = host;
				scene->address = &host->addresses[k];
			}
		if (scene->host)
			return;
	}
}

const char *advice_behind_host(const struct scene *scene)
{
	const char *at = strchr(scene->refusal->text, ' ');

	return at ? at + 1 : "";
}

bool advice_begins(const char *text, const char *with)
{
	return strncmp(text, with, strlen(with)) == 0;
}

/* ---- all ---- */

static void tell(struct scene *scene)
{
	if (advise_injection(scene))
		return;
	switch (scene->refusal->reason) {
	case REASON_DNS_BOGUS:
		advise_bogus(scene);
		break;
	case REASON_DNS_FAILED:
		advise_dns_failed(scene);
		break;
	case REASON_CONNECT_FAILED:
		advise_unreached(scene);
		break;
	case REASON_DANE_NO_STARTTLS:
	case REASON_TLS_NOT_OFFERED:
		advise_starttls(scene);
		break;
	case REASON_STS_NO_STARTTLS:
		advise_sts_no_starttls(scene);
		break;
	case REASON_TLS_HANDSHAKE:
		advise_handshake(scene);
		break;
	case REASON_DANE_MISMATCH:
		advise_mismatch(scene);
		break;
	case REASON_DANE_NAME:
		advise_name(scene);
		break;
	case REASON_STS_CERTIFICATE:
		advise_sts_certificate(scene);
		break;
	case REASON_STS_MX:
		advise_sts_mx(scene);
		break;
	default:
		break;
	}
}

/* "the MX lookup ..." begins one. A text that ends in an abbreviated digest, "5a5a5a5a..", has its
 * stop already. */
static char *as_sentence(const char *text)
{
	size_t len = strlen(text);
	char *sentence = mem_printf("%s%s", text, len > 0 && text[len - 1] == '.' ? "" : ".");

	if (advice_begins(sentence, "the "))
		sentence[0] = 'T';
	return sentence;
}

void check_explain(
    const struct check *check, const struct refusal *refusal, struct check_words *words)
{
	struct scene scene = {.refusal = refusal, .check = check, .words = words};

	*words = (struct check_words){0};
	find_host(&scene);
	tell(&scene);
	if (!words->what)
		words->what = as_sentence(refusal->text);
	if (!words->advice)
		words->advice = mem_strdup(check_advice(refusal->reason));
}

void check_words_release(struct check_words *words)
{
	free(words->what);
	free(words->advice);
	free(words->test);
	*words = (struct check_words){0};
}
