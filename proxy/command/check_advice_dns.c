/*
 * check_advice_dns.c - what a lookup that failed means, and who can mend it. Pure.
 */
#include "proxy/command/check_advice.h"

#include "policy/bogus.h"

#include <stdio.h>
#include <string.h>

/* "the TLSA lookup of NAME failed": the question; false: the text is another. */
static bool read_question(const struct scene *scene, char type[8], char name[DOMAIN_SIZE + 16])
{
	return sscanf(scene->refusal->text, "the %7s lookup of %268s", type, name) == 2;
}

/* clang-format off */
static const struct {
	const char *before, *after; /* the owner of the zone */
	const char *command;
} bogus_advice[] = {
	[BOGUS_DS] = { "So ", " must give the registrar (whoever keeps the parent zone) the DS record "
	  "of the key that the zone is signed with, or sign with the key of the present DS again.",
	  "delv" },
	[BOGUS_EXPIRED] = { "So ", " must sign it anew, on every name server of it, and see why that "
	  "did not happen by itself.", "delv" },
	[BOGUS_EARLY] = { "Compare the clock of this host first; if it is right, the clock where the "
	  "zone is signed is wrong, and ", " must mend that and sign anew.", "delv" },
	[BOGUS_UNSIGNED] = { "Either its name servers leave the signatures out, or something on the "
	  "way strips them. Ask from another network, too; where all is well there are RRSIG "
	  "records. Sound there: your own path or resolver is at fault, and you or your provider "
	  "must mend it. Broken there too: ", " must mend its name servers.", "dig +dnssec +cd" },
	[BOGUS_SIGNATURE] = { "Either the zone was changed without being signed anew, or somebody on "
	  "the way alters the answer. Ask from another network, too. Sound there: your own path or "
	  "resolver is at fault. Broken there too: ", " must sign it anew, on every name server of "
	  "it.", "delv" },
	[BOGUS_OTHER] = { "Ask from another network, too. Sound there: your own path or resolver is "
	  "at fault. Broken there too: ", " must mend it; dnsviz.net shows where it breaks.", "delv" },
};
/* clang-format on */

void advise_bogus(struct scene *scene)
{
	const char *text = scene->refusal->text;
	enum bogus kind = bogus_kind(text);
	char type[8], name[DOMAIN_SIZE + 16], zone[DOMAIN_SIZE];
	bool is_named = bogus_zone(text, zone);

	if (!read_question(scene, type, name))
		return;
	ADVICE(scene, "%sthe owner of the zone %s%s%s", bogus_advice[kind].before,
	    is_named ? "" : "of ", is_named ? zone : name, bogus_advice[kind].after);
	TEST(scene, "%s %s %s", bogus_advice[kind].command, name, type);
}

static void tell_tlsa_failed(struct scene *scene, const char *name)
{
	if (strstr(scene->refusal->text, "too many TLSA records")) {
		ADVICE(scene,
		    "Those of old keys should go. Trying again does not help: danelaw reads all of "
		    "them or none.");
	} else {
		ADVICE(scene,
		    "The name servers answered for the host's addresses, but not for TLSA. Without "
		    "that answer nobody can tell whether the host demands TLS, so mail waits. If "
		    "it stays, the zone's owner must look for a name server, or a firewall before "
		    "it, that fails or drops TLSA queries.");
		TEST(scene, "dig %s TLSA", name);
	}
}

/* "the lookups of HOST for DOMAIN took longer than 20 s (dns.total), no answer to AAAA: ..." */
static void tell_unanswered(struct scene *scene)
{
	static const char missing[] = ", no answer to ";
	const char *at = strstr(scene->refusal->text, missing);
	char name[DOMAIN_SIZE + 16];
	int len;

	if (!at || sscanf(scene->refusal->text, "the lookups of %268s for", name) != 1)
		return;
	at += sizeof missing - 1;
	len = (int)strcspn(at, ": ");
	ADVICE(scene,
	    "If it stays, the zone's owner must look for a name server, or a firewall before it, "
	    "that drops %.*s queries; unless this host's own DNS fails (danelaw check of another "
	    "domain).",
	    len, at);
	if (!advice_begins(at, "TLSA"))
		TEST(scene, "dig %s %.*s", name, len, at);
	else if (scene->host)
		TEST(scene, "dig %s TLSA", scene->host->tlsa_owner);
}

void advise_dns_failed(struct scene *scene)
{
	char type[8], name[DOMAIN_SIZE + 16];
	static const char sts[] = "_mta-sts.";

	if (!read_question(scene, type, name)) {
		tell_unanswered(scene);
	} else if (!strcmp(type, "TLSA")) {
		tell_tlsa_failed(scene, name);
	} else if (advice_begins(name, sts)) {
		ADVICE(scene,
		    "So it is not known whether %s demands TLS by MTA-STS, and danelaw's caution "
		    "makes mail wait. If it stays, the zone's owner must look for a name server, "
		    "or a firewall before it, that fails TXT queries.",
		    name + sizeof sts - 1);
		TEST(scene, "dig %s TXT", name);
	} else {
		TEST(scene, "dig %s %s", name, type);
	}
}
