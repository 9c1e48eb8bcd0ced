/*
 * bogus.c - see bogus.h. libunbound says "validation failure <mx.example. A IN>: signature expired
 * from 192.0.2.1 and 192.0.2.1 for key example. while building chain of trust".
 */
#include "policy/bogus.h"

#include <stdio.h>
#include <string.h>

/* clang-format off */
static const struct {
	const char *words;
	enum bogus kind;
} kinds[] = { /* the first that is found */
	{ "signature expired",                 BOGUS_EXPIRED },
	{ "signature before inception",        BOGUS_EARLY },
	{ "DS hash mismatches",                BOGUS_DS },
	{ "no keys have a DS",                 BOGUS_DS },
	{ "no signatures",                     BOGUS_UNSIGNED },
	{ "no DNSSEC records",                 BOGUS_UNSIGNED },
	{ "No DNSKEY record",                  BOGUS_UNSIGNED },
	{ "signature verification failed",     BOGUS_SIGNATURE },
	{ "signature crypto failed",           BOGUS_SIGNATURE },
};

static const char *const causes[] = {
	[BOGUS_OTHER]     = "the answer proves nothing",
	[BOGUS_UNSIGNED]  = "it came without signatures, although the zone is signed",
	[BOGUS_EXPIRED]   = "its signatures have expired",
	[BOGUS_EARLY]     = "its signatures are not valid yet",
	[BOGUS_DS]        = "the DS record at the parent fits no key of the zone",
	[BOGUS_SIGNATURE] = "a signature does not fit its data",
};
/* clang-format on */

enum bogus bogus_kind(const char *why)
{
	for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
		if (strstr(why, kinds[i].words))
			return kinds[i].kind;
	return BOGUS_OTHER;
}

const char *bogus_cause(enum bogus kind) { return causes[kind]; }

bool bogus_zone(const char *why, char zone[DOMAIN_SIZE])
{
	const char *at = strstr(why, " for key ");
	size_t len;

	if (at)
		at += strlen(" for key ");
	else if ((at = strstr(why, " for DS ")))
		at += strlen(" for DS ");
	else
		return false;
	len = strcspn(at, " )");
	return len > 0 && domain_normalize(zone, at, at[len - 1] == '.' ? len - 1 : len);
}

/* " and 192.0.2.1" right behind the same address. */
static bool repeats(const char *out, size_t len, const char *word, size_t word_len)
{
	return len > word_len && out[len - word_len - 1] == ' ' &&
	       memcmp(out + len - word_len, word, word_len) == 0;
}

char *bogus_brief(const char *why, char *out, size_t size)
{
	static const char more[] = " and ", tail[] = " while building chain of trust";
	const char *start = strstr(why, ">: ");
	size_t len = 0;

	for (why = start ? start + 3 : why; *why && len + 1 < size;) {
		size_t word = strncmp(why, more, sizeof more - 1) == 0
				  ? strcspn(why + sizeof more - 1, " )")
				  : 0;

		if (strncmp(why, tail, sizeof tail - 1) == 0)
			why += sizeof tail - 1;
		else if (word && repeats(out, len, why + sizeof more - 1, word))
			why += sizeof more - 1 + word;
		else
			out[len++] = *why++;
	}
	out[len] = '\0';
	return out;
}
