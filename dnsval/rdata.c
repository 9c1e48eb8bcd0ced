/*
 * rdata.c - RDATA of the record types that mail routing needs (RFC 1035, RFC 3596, RFC 6698).
 *
 * One row of the table below for each type: how many records are kept, and the function that reads
 * one; other types are counted. All octets are an attacker's. A malformed record, or more TLSA
 * records than are kept, fails the whole answer; of the other types the surplus is cut and flagged
 * (R-DNS-30). Called by answer.c.
 */
#include "dnsval/rdata.h"

#include "conf/mem.h"

#include <arpa/nameser.h>
#include <assert.h>
#include <resolv.h>
#include <string.h>

static rdata_add_fn add_address, add_cname, add_mx, add_text, add_tlsa, add_nothing;

/* clang-format off */
static const struct rdata_kind kinds[] = {
	{ DNS_A,     add_address, DNS_ADDR_MAX, sizeof(struct addr) },
	{ DNS_CNAME, add_cname,   1,            DOMAIN_SIZE },
	{ DNS_MX,    add_mx,      DNS_MX_MAX,   sizeof(struct dns_mx) },
	{ DNS_TXT,   add_text,    DNS_TXT_MAX,  sizeof(struct dns_text) },
	{ DNS_AAAA,  add_address, DNS_ADDR_MAX, sizeof(struct addr) },
	{ DNS_TLSA,  add_tlsa,    DNS_TLSA_MAX, sizeof(struct dns_tlsa) },
};
/* clang-format on */

/* For the probe, which may ask for any type of conf/dns_type and looks at no record. */
static const struct rdata_kind counted = {.add = add_nothing};

enum { KIND_COUNT = sizeof kinds / sizeof kinds[0] };

const struct rdata_kind *rdata_kind(enum dns_type type)
{
	for (size_t i = 0; i < KIND_COUNT; i++)
		if (kinds[i].type == type)
			return &kinds[i];
	return &counted;
}

/* dn_expand reads past RDATA into the next record if the name in it says so. */
bool rdata_expand(const struct rdata *rdata, size_t skip, char name[NS_MAXDNAME])
{
	return rdata->len > skip && dn_expand(rdata->packet, rdata->packet_end, rdata->data + skip,
					name, NS_MAXDNAME) == (int)(rdata->len - skip);
}

static uint8_t *keep_octets(struct rdata_store *store, const uint8_t *data, size_t len)
{
	if (!store->octets)
		store->octets = mem_alloc(store->size);
	uint8_t *kept = store->octets + store->used;

	assert(len <= store->size - store->used);
	if (len > 0)
		memcpy(kept, data, len);
	store->used += len;
	return kept;
}

static const char *add_nothing(struct rdata_store *store, const struct rdata *rdata)
{
	(void)rdata;
	store->answer->count++;
	return NULL;
}

static const char *add_address(struct rdata_store *store, const struct rdata *rdata)
{
	struct dns_answer *answer = store->answer;
	bool is_v4 = answer->type == DNS_A;

	if (rdata->len != (is_v4 ? 4 : 16))
		return "the answer has a malformed address";
	if (answer->count == DNS_ADDR_MAX)
		answer->cut = true;
	else
		addr_from_bytes(&answer->addresses[answer->count++], is_v4 ? AF_INET : AF_INET6,
		    rdata->data, 0);
	return NULL;
}

static const char *add_cname(struct rdata_store *store, const struct rdata *rdata)
{
	struct dns_answer *answer = store->answer;
	char target[NS_MAXDNAME];

	if (answer->count > 0)
		return "the answer has several CNAMEs of one name";
	if (!rdata_expand(rdata, 0, target))
		return "the answer has a malformed CNAME";
	if (!domain_normalize(answer->names[0], target, strlen(target)))
		return "the CNAME leads to what is no host name";
	answer->count = 1;
	return NULL;
}

/* false, D-11: addresses as text, single labels, octets that no host name has. */
static bool read_exchange(char out[DOMAIN_SIZE], const char *name)
{
	out[0] = '\0';
	if (strcmp(name, "") == 0 || strcmp(name, ".") == 0)
		return true;
	return domain_normalize(out, name, strlen(name)) && domain_is_mx_host(out);
}

/* Keeps the best DNS_MX_MAX, so that an attacker's filler cannot push out better hosts. */
static void insert_mx(struct dns_answer *answer, const struct dns_mx *mx)
{
	size_t at = answer->count;

	while (at > 0 && answer->mx[at - 1].preference > mx->preference)
		at--;
	if (answer->count == DNS_MX_MAX)
		answer->cut = true;
	else
		answer->count++;
	if (at == DNS_MX_MAX)
		return;
	memmove(&answer->mx[at + 1], &answer->mx[at], (answer->count - at - 1) * sizeof *mx);
	answer->mx[at] = *mx;
}

static const char *add_mx(struct rdata_store *store, const struct rdata *rdata)
{
	struct dns_mx mx = {0};
	char exchange[NS_MAXDNAME];

	if (!rdata_expand(rdata, 2, exchange))
		return "the answer has a malformed MX";
	mx.preference = (uint16_t)ns_get16(rdata->data);
	if (read_exchange(mx.exchange, exchange))
		insert_mx(store->answer, &mx);
	else
		store->answer->cut = true;
	return NULL;
}

/* RFC 7505 section 3: "." is a null MX only where it is alone; beside others it is no host. */
void rdata_finish_mx(struct dns_answer *answer)
{
	size_t kept = 0;

	if (answer->count == 1 && !answer->cut)
		return;
	for (size_t i = 0; i < answer->count; i++)
		if (answer->mx[i].exchange[0])
			answer->mx[kept++] = answer->mx[i];
	if (kept < answer->count)
		answer->cut = true;
	/* R-DNS-24: with no record left only `cut` tells it from a domain without MX. */
	answer->count = kept;
}

/* The character-strings of one record, joined (RFC 7208 section 3.3, RFC 8461 section 3.1). */
static const char *add_text(struct rdata_store *store, const struct rdata *rdata)
{
	struct dns_answer *answer = store->answer;
	const uint8_t *at = rdata->data;
	const uint8_t *end = at + rdata->len;
	struct dns_text text = {0};

	if (at == end)
		return "the answer has an empty TXT";
	if (answer->count == DNS_TXT_MAX) {
		answer->cut = true;
		return NULL;
	}
	text.data = (const char *)keep_octets(store, NULL, 0);
	while (at < end) {
		size_t len = *at++;

		if (len > (size_t)(end - at))
			return "the answer has a malformed TXT";
		keep_octets(store, at, len);
		text.len += len;
		at += len;
	}
	answer->text[answer->count++] = text;
	return NULL;
}

/* A record without data is not ours to judge: tls/tlsa finds it unusable (T-17). */
static const char *add_tlsa(struct rdata_store *store, const struct rdata *rdata)
{
	struct dns_answer *answer = store->answer;
	const uint8_t *fixed = rdata->data;

	if (rdata->len < 3)
		return "the answer has a malformed TLSA";
	size_t len = rdata->len - 3;

	/* Cutting could remove the record that matches, or leave only unusable ones (R-DNS-30). */
	answer->excess = answer->count == DNS_TLSA_MAX || store->used + len > DNS_TLSA_OCTETS_MAX;
	if (answer->excess)
		return answer->count == DNS_TLSA_MAX
			   ? "there are too many TLSA records, more than 100"
			   : "there are too many TLSA records, more than 65536 octets";
	answer->tlsa[answer->count++] = (struct dns_tlsa){
	    .usage = fixed[0],
	    .selector = fixed[1],
	    .matching = fixed[2],
	    .len = len,
	    .data = keep_octets(store, fixed + 3, len),
	};
	return NULL;
}
