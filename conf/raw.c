/*
 * raw.c - which options of Unbound [unbound] may hand over (R-DNS-36, -41).
 *
 * One line there could turn every signed zone into an insecure one, while a probe of the root stays
 * green; such options are refused by name, with the reason. Whether the rest exists is for
 * libunbound to say, when the resolver starts. Called by conf.c.
 */
#include "conf/raw.h"

#include <string.h>

static const char weakens[] = "it weakens DNSSEC validation";
static const char is_ours[] = "danelaw sets it itself";
static const char is_anchor[] = "trust anchors are named by dns.trust_anchor";
static const char is_stale[] = "an expired answer may hide a changed TLSA record";

/* A name that ends in '*' stands for all that begin so. */
static const struct {
	const char *name;
	const char *why;
} refused[] = {
    {"module-config", weakens},
    {"val-permissive-mode", weakens},
    {"val-override-date", weakens},
    {"val-sig-skew-*", weakens},
    {"val-bogus-ttl", weakens},
    {"val-nsec3-keysize-iterations", weakens},
    {"harden-dnssec-stripped", weakens},
    {"harden-glue", weakens},
    {"harden-below-nxdomain", weakens},
    {"disable-dnssec-lame-check", weakens},
    {"disable-edns-do", weakens},
    {"fake-sha1", weakens},
    {"fake-dsa", weakens},
    {"serve-expired*", is_stale},
    {"cache-min-ttl", is_stale},
    {"trust-anchor", is_anchor},
    {"trust-anchor-file", is_anchor},
    {"auto-trust-anchor-file", is_anchor},
    {"trusted-keys-file", is_anchor},
    {"dlv-anchor*", is_anchor},
    {"add-holddown", is_anchor},
    {"del-holddown", is_anchor},
    {"keep-missing", is_anchor},
    {"permit-small-holddown", is_anchor},
    {"root-hints", "root hints are named by dns.root_hints"},
    {"val-clean-additional", is_ours},
    {"val-log-level", is_ours},
    {"use-syslog", is_ours},
    {"logfile", is_ours},
    {"username", is_ours},
    {"chroot", is_ours},
    {"directory", is_ours},
    {"pidfile", is_ours},
};

static bool is_named(const char *key, const char *pattern)
{
	size_t len = strcspn(pattern, "*");

	return pattern[len] ? !strncmp(key, pattern, len) : !strcmp(key, pattern);
}

static const char *why_refused(const char *key)
{
	for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
		if (is_named(key, refused[i].name))
			return refused[i].why;
	return NULL;
}

/* As unbound.conf(5) writes option names; another spelling would slip past the list. */
static bool is_option_name(const char *key)
{
	return key[strspn(key, "abcdefghijklmnopqrstuvwxyz0123456789-")] == '\0';
}

/* Without a bundle any certificate is taken, so the encryption would be decoration. */
static bool lacks_bundle(const struct draft *draft, const struct draft_section *section,
			 const struct draft_setting *setting)
{
	bool is_upstream =
	    !strcmp(setting->key, "tls-upstream") || !strcmp(setting->key, "ssl-upstream");

	return is_upstream && strcmp(setting->value, "no") != 0 &&
	       !draft_find(draft, section, "tls-cert-bundle") &&
	       !draft_find(draft, section, "ssl-cert-bundle");
}

static void check_option(struct draft *draft, const struct draft_section *section,
			 const struct draft_setting *setting)
{
	const char *why = why_refused(setting->key);

	if (!is_option_name(setting->key))
		draft_error(draft, setting->where, "%.80s is not the name of an option",
			    setting->key);
	else if (why)
		draft_error(draft, setting->where, "%s is refused: %s", setting->key, why);
	else if (!*setting->value)
		draft_error(draft, setting->where, "%.80s has no value", setting->key);
	else if (lacks_bundle(draft, section, setting))
		draft_error(draft, setting->where, "%s needs tls-cert-bundle as well",
			    setting->key);
	else if (!strcmp(setting->key, "domain-insecure"))
		draft_warning(draft, setting->where,
			      "domain-insecure: signatures below %.260s are not looked at, DANE "
			      "cannot apply there",
			      setting->value);
}

void raw_check(struct draft *draft)
{
	for (size_t i = 0; i < draft->setting_count; i++) {
		const struct draft_setting *setting = &draft->settings[i];

		if (!setting->row)
			check_option(draft, &draft->sections[setting->section], setting);
	}
}
