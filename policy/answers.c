/*
 * answers.c - see answers.h.
 *
 * A kept answer is one block: the structure, its records, and the TLSA data that the records point
 * to.
 */
#include "policy/answers.h"

#include "conf/mem.h"
#include "policy/bogus.h"

#include <assert.h>
#include <string.h>

static size_t record_size(enum dns_type type)
{
	switch (type) {
	case DNS_A:
	case DNS_AAAA:
		return sizeof(struct addr);
	case DNS_CNAME:
		return DOMAIN_SIZE;
	case DNS_TLSA:
		return sizeof(struct dns_tlsa);
	default:
		assert(!"a type that policy does not keep");
		return 0;
	}
}

static size_t tlsa_octets(const struct dns_answer *answer)
{
	size_t total = 0;

	if (answer->type == DNS_TLSA)
		for (size_t i = 0; i < answer->count; i++)
			total += answer->tlsa[i].len;
	return total;
}

static void keep_tlsa_data(struct dns_answer *kept, uint8_t *data)
{
	for (size_t i = 0; i < kept->count; i++) {
		struct dns_tlsa *record = &kept->tlsa[i];

		if (record->len > 0)
			memcpy(data, record->data, record->len);
		record->data = data;
		data += record->len;
	}
}

struct dns_answer *answer_keep(const struct dns_answer *answer)
{
	/* No overflow: count and octets are limited where answers are made (R-DNS-30). */
	size_t records = answer->count * record_size(answer->type);
	struct dns_answer *kept = mem_alloc(sizeof *kept + records + tlsa_octets(answer));

	*kept = *answer;
	kept->addresses = NULL;
	if (answer->count == 0)
		return kept;
	memcpy(kept + 1, answer->addresses, records);
	kept->addresses = (void *)(kept + 1);
	if (kept->type == DNS_TLSA)
		keep_tlsa_data(kept, (uint8_t *)(kept + 1) + records);
	return kept;
}

void answer_refusal(const struct dns_answer *answer, struct refusal *refusal)
{
	const char *type = dns_type_name(answer->type);
	const char *why = answer->why[0] ? answer->why : "no reason given";
	char brief[sizeof answer->why];

	assert(answer->state == DNS_FAILED);
	if (answer->busy)
		refusal_set(refusal, REASON_BUSY,
		    "no %s lookup of %s, too many lookups are under way here: try again later",
		    type, answer->question);
	else if (answer->bogus)
		refusal_set(refusal, REASON_DNS_BOGUS,
		    "the %s lookup of %s failed DNSSEC validation: %s (%s)", type, answer->question,
		    bogus_cause(bogus_kind(why)), bogus_brief(why, brief, sizeof brief));
	else if (answer->excess)
		refusal_set(refusal, REASON_DNS_FAILED,
		    "the %s lookup of %s failed (%s): the owner of the zone must remove some", type,
		    answer->question, why);
	else
		refusal_set(refusal, REASON_DNS_FAILED,
		    "the %s lookup of %s failed (%s): try again later", type, answer->question,
		    why);
}
