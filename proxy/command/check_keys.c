/*
 * check_keys.c - see check_keys.h.
 */
#include "proxy/command/check_keys.h"

#include <string.h>

static bool is_same(const struct check_key *a, const struct check_key *b)
{
	const struct tls_certificate *x = &a->chain.items[0], *y = &b->chain.items[0];

	return x->der_len == y->der_len && memcmp(x->der, y->der, x->der_len) == 0;
}

static void list(struct check_keys *keys, const struct check_key *key)
{
	for (size_t i = 0; i < keys->count; i++)
		if (is_same(keys->items[i], key))
			return;
	if (keys->count < CHECK_KEY_LIST_MAX)
		keys->items[keys->count++] = key;
}

void check_list_keys(const struct check_host *host, struct check_keys *keys)
{
	keys->count = 0;
	for (size_t i = 0; i < host->address_count; i++)
		for (size_t k = 0; k < host->addresses[i].key_count; k++)
			list(keys, &host->addresses[i].keys[k]);
}

bool check_record(const struct check_host *host, size_t index, struct tlsa *record)
{
	const struct dns_tlsa *found;

	if (!host->tlsa || index >= host->tlsa->count)
		return false;
	found = &host->tlsa->tlsa[index];
	*record =
	    (struct tlsa){found->usage, found->selector, found->matching, found->len, found->data};
	return true;
}

size_t check_usable_count(const struct check_host *host)
{
	struct tlsa record;
	size_t count = 0;

	for (size_t i = 0; check_record(host, i, &record); i++)
		count += tlsa_is_usable(&record);
	return count;
}

bool check_names_authorities_only(const struct check_host *host)
{
	struct tlsa record;

	for (size_t i = 0; check_record(host, i, &record); i++)
		if (tlsa_is_usable(&record) && record.usage != TLSA_USAGE_TA)
			return false;
	return true;
}

bool check_is_published(const struct check_host *host, const struct tlsa *record)
{
	struct tlsa other;

	for (size_t i = 0; check_record(host, i, &other); i++)
		if (other.usage == record->usage && other.selector == record->selector &&
		    other.matching == record->matching && other.len == record->len &&
		    memcmp(other.data, record->data, record->len) == 0)
			return true;
	return false;
}

/* A whole CA in the record completes a chain that lacks it: then OpenSSL's word is all there is. */
bool check_is_live(const struct check_host *host, const struct tlsa *record)
{
	struct check_keys keys;
	char brief[TLSA_TEXT];

	check_list_keys(host, &keys);
	for (size_t i = 0; i < keys.count; i++)
		if (tls_chain_find(&keys.items[i]->chain, record) >= 0)
			return true;
	tlsa_brief(record, brief);
	for (size_t i = 0; i < host->address_count; i++)
		if (strcmp(host->addresses[i].proof.matched, brief) == 0)
			return true;
	return false;
}

bool check_has_keys(const struct check_host *host)
{
	struct check_keys keys;

	check_list_keys(host, &keys);
	return keys.count > 0;
}

bool check_was_reached(const struct check_host *host)
{
	for (size_t i = 0; i < host->address_count; i++)
		if (host->addresses[i].outcome == CHECK_READY ||
		    (host->addresses[i].outcome == CHECK_FAILED &&
			check_result_of(host->addresses[i].refusal.reason) == CHECK_REFUSED))
			return true;
	return false;
}
