/*
 * check_advice_tls.c - what a handshake or a certificate means that does not prove what it must.
 * Pure.
 */
#include "proxy/command/check_advice.h"

#include "proxy/command/check_keys.h"
#include "proxy/command/check_print.h"

#include <stdio.h>
#include <string.h>

/* ---- TLS ---- */

static const char *protocol_name(enum tls_version version)
{
	static const char *const names[] = {[TLS_VERSION_1_0] = "TLSv1",
	    [TLS_VERSION_1_1] = "TLSv1.1",
	    [TLS_VERSION_1_2] = "TLSv1.2",
	    [TLS_VERSION_1_3] = "TLSv1.3"};

	return names[version];
}

static bool is_older(const char *protocol, enum tls_version version)
{
	for (int older = TLS_VERSION_1_0; older < (int)version; older++)
		if (strcmp(protocol, protocol_name((enum tls_version)older)) == 0)
			return true;
	return false;
}

/* A handshake that failed by our demands tells little; one without any tells the rest. */
void advise_handshake(struct scene *scene)
{
	const struct tls_proof *proof;
	enum tls_version demanded;

	if (!scene->address || scene->address->key_count == 0)
		return;
	proof = &scene->address->keys[0].proof;
	demanded = scene->host->route->rule.min_version;
	if (!is_older(proof->protocol, demanded)) {
		WHAT(scene, "%s. Seen without checks, %s speaks %s with %s.", scene->refusal->text,
		    scene->host->route->host, proof->protocol, proof->cipher);
		return;
	}
	WHAT(scene,
	    "%s offers nothing newer than %s; danelaw demands %s at least where TLS is required.",
	    scene->host->route->host, proof->protocol, protocol_name(demanded));
	ADVICE(scene, "The host's owner must turn on TLS 1.2 and 1.3.");
}

/* ---- certificates ---- */

static int host_len(const struct scene *scene)
{
	size_t len = strcspn(scene->refusal->text, " ");

	return (int)(len - (len > 0 && scene->refusal->text[len - 1] == ':'));
}

static const struct check_key *seen_key(const struct scene *scene)
{
	return scene->address && scene->address->key_count > 0 ? &scene->address->keys[0] : NULL;
}

void advise_mismatch(struct scene *scene)
{
	const struct check_key *key = seen_key(scene);
	struct tlsa_set set = {0};

	if (key && tls_certificate_record(&key->chain.items[0], 3, 1, 1, &set) &&
	    !check_is_published(scene->host, &set.items[0]))
		ADVICE(scene,
		    "The certificate does not fit the TLSA record: either the key was changed and "
		    "the record was not, or somebody stands between. The owner of the host must "
		    "read the key on the host itself, not from here. If it is %.8s.., publish the "
		    "record below, and remove the other unless it is for a key still to come; mail "
		    "flows once the old answer has left the caches (TTL %u). Quicker: put the old "
		    "key and certificate back. If the key on the host is another one, somebody "
		    "stands between.%s",
		    key->chain.items[0].key_digest, scene->host->tlsa->ttl,
		    check_names_authorities_only(scene->host)
			? " Or, since the record names a CA: send that CA's certificate in the "
			  "server's chain, the root included."
			: "");
	else if (key)
		ADVICE(scene,
		    "The TLSA record of this key is published, but senders heed only the strongest "
		    "digest of a kind (RFC 7671 9): the owner of the host must publish that digest "
		    "of this key, too, or remove the one that fits nothing.");
	tlsa_set_release(&set);
}

static void tell_names(const struct tls_certificate *leaf, char *out, size_t size)
{
	size_t len = 0;

	snprintf(out, size, "%s", leaf->name_count ? "" : "no name (its CN does not count)");
	for (size_t i = 0; i < leaf->name_count && i < 3 && len < size; i++)
		len += (size_t)snprintf(
		    out + len, size - len, "%s%s", i > 0 ? ", " : "", leaf->names[i]);
}

void advise_name(struct scene *scene)
{
	const struct check_key *key = seen_key(scene);
	const struct tls_rule *rule;
	char names[512], brief[TLSA_TEXT] = "";

	if (!key)
		return;
	rule = &scene->host->route->rule;
	tell_names(&key->chain.items[0], names, sizeof names);
	for (size_t i = 0; i < rule->tlsa.count && !brief[0]; i++)
		if (rule->tlsa.items[i].usage == TLSA_USAGE_TA)
			tlsa_brief(&rule->tlsa.items[i], brief);
	WHAT(scene,
	    "The certificate of %.*s names %s; it must name %s%s%s, because TLSA %s names a CA, "
	    "not "
	    "this certificate.",
	    host_len(scene), scene->refusal->text, names, rule->names[0],
	    rule->name_count > 1 ? " or " : "", rule->name_count > 1 ? rule->names[1] : "", brief);
	ADVICE(scene,
	    "The owner of the host must get a certificate for one of these names from that "
	    "CA, or publish a 3 1 1 record of the host's key, read on the host itself, "
	    "which needs no name.");
}

/* "X509_V_ERR_CERT_HAS_EXPIRED: certificate has expired" */
static const char *plain_report(const char *report)
{
	const char *colon = strchr(report, ' ');

	return advice_begins(report, "X509_V_ERR_") && colon ? colon + 1 : report;
}

static void tell_cause(
    const struct scene *scene, const struct check_key *key, char *out, size_t size)
{
	const struct tls_certificate *leaf = &key->chain.items[0];
	const char *report = key->proof.report;
	char date[CHECK_DATE], names[512];

	tell_names(leaf, names, sizeof names);
	if (advice_begins(report, "X509_V_ERR_CERT_HAS_EXPIRED") && leaf->not_after < time(NULL)) {
		check_date(leaf->not_after, date);
		snprintf(out, size, "expired on %s", date);
	} else if (advice_begins(report, "X509_V_ERR_CERT_NOT_YET_VALID")) {
		check_date(leaf->not_before, date);
		snprintf(out, size, "is not valid before %s", date);
	} else if (advice_begins(report, "X509_V_ERR_DEPTH_ZERO_SELF_SIGNED")) {
		snprintf(out, size, "is self-signed");
	} else if (advice_begins(report, "X509_V_ERR_HOSTNAME_MISMATCH") && leaf->name_count == 0) {
		snprintf(out, size, "has no subjectAltName (its CN does not count)");
	} else if (advice_begins(report, "X509_V_ERR_HOSTNAME_MISMATCH")) {
		snprintf(out, size, "is for %s, not for %s", names, scene->host->route->host);
	} else if (strstr(report, "ISSUER") || strstr(report, "SELF_SIGNED_CERT_IN_CHAIN")) {
		snprintf(out, size,
		    "leads to no trusted CA (issued by %s; or the server does not send the CA's "
		    "intermediate certificate)",
		    leaf->issuer);
	} else {
		snprintf(out, size, "is not trusted (%s)", plain_report(report));
	}
}

static const char *how_known(const struct scene *scene)
{
	const struct sts_answer *answer = scene->check->sts.answer;

	return !answer ? "" : answer->is_cached ? " (kept from before)" : " (fetched now)";
}

void advise_sts_certificate(struct scene *scene)
{
	const struct check_key *key = seen_key(scene);
	char cause[900];

	if (!key || !key->proof.report[0])
		return;
	tell_cause(scene, key, cause, sizeof cause);
	WHAT(scene,
	    "The certificate of %.*s (key %.8s..) %s. The MTA-STS policy of %s%s demands one of a "
	    "public CA that names %s.",
	    host_len(scene), scene->refusal->text, key->chain.items[0].key_digest, cause,
	    scene->host->route->sts_domain, how_known(scene), scene->host->route->host);
	ADVICE(scene,
	    "The owner of the host must install a certificate of a public CA with the DNS name "
	    "(subjectAltName) %s, with its chain, and renew it in time. If the certificate that is "
	    "installed there is another one, somebody stands between.",
	    scene->host->route->host);
}

void advise_sts_mx(struct scene *scene)
{
	const struct route *route;

	if (!scene->host)
		return;
	route = scene->host->route;
	WHAT(scene,
	    "%s is an MX host of %s, but the MTA-STS policy of that domain%s does not list it.",
	    route->host, route->sts_domain, how_known(scene));
	ADVICE(scene,
	    "The owner of %s must add the line `mx: %s` to "
	    "https://mta-sts.%s/.well-known/mta-sts.txt and then change the id of the TXT record "
	    "_mta-sts.%s; or point the MX record at a host that the policy lists.",
	    route->sts_domain, route->host, route->sts_domain, route->sts_domain);
}
