/*
 * rule.c - what a peer must prove, as data: its identity, and the gate before MAIL (rule.h). Pure;
 * how OpenSSL is made to ask for it, and what came of it, is in verify.c.
 */
#include "tls/rule.h"

#include <assert.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

void tls_rule_copy(struct tls_rule *to, const struct tls_rule *from)
{
	*to = *from;
	to->tlsa = (struct tlsa_set){0};
	tlsa_set_copy(&to->tlsa, &from->tlsa);
}

void tls_rule_release(struct tls_rule *rule) { tlsa_set_release(&rule->tlsa); }

static void hash_octets(EVP_MD_CTX *md, const void *data, size_t len)
{
	int done = EVP_DigestUpdate(md, data, len);

	assert(done == 1);
}

/* Numbers in one fixed width, and each text or record after its length: no two rules read alike. */
static void hash_number(EVP_MD_CTX *md, uint64_t number)
{
	hash_octets(md, &number, sizeof(number));
}

static void hash_counted(EVP_MD_CTX *md, const void *data, size_t len)
{
	hash_number(md, len);
	if (len)
		hash_octets(md, data, len);
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void hash_names(EVP_MD_CTX *md, const struct tls_rule *rule)
{
	const char *sorted[TLS_NAMES_MAX];

	assert(rule->name_count <= TLS_NAMES_MAX);
	for (size_t i = 0; i < rule->name_count; i++)
		sorted[i] = rule->names[i];
	qsort(sorted, rule->name_count, sizeof(sorted[0]), compare_names);
	hash_number(md, rule->name_count);
	for (size_t i = 0; i < rule->name_count; i++)
		hash_counted(md, sorted[i], strlen(sorted[i]));
}

static void hash_records(EVP_MD_CTX *md, const struct tls_rule *rule)
{
	struct tlsa_set sorted = {0};

	tlsa_set_copy(&sorted, &rule->tlsa);
	tlsa_set_sort(&sorted);
	hash_number(md, sorted.count);
	for (size_t i = 0; i < sorted.count; i++) {
		const struct tlsa *t = &sorted.items[i];

		hash_octets(md, (uint8_t[]){t->usage, t->selector, t->matching}, 3);
		hash_counted(md, t->data, t->len);
	}
	tlsa_set_release(&sorted);
}

static void compute_key(const struct tls_rule *rule, unsigned char key[TLS_KEY_SIZE])
{
	EVP_MD_CTX *md = EVP_MD_CTX_new();
	int done = md && EVP_DigestInit_ex(md, EVP_sha256(), NULL);

	assert(done);
	hash_number(md, rule->need);
	hash_number(md, rule->min_version);
	hash_counted(md, rule->sni, strlen(rule->sni));
	hash_names(md, rule);
	/* The name that others may lie below is more than one of the sorted list. */
	if (rule->names_below)
		hash_counted(md, rule->names[0], strlen(rule->names[0]));
	hash_counted(md, rule->report_name, strlen(rule->report_name));
	hash_number(md, rule->key_choice);
	hash_records(md, rule);
	done = EVP_DigestFinal_ex(md, key, NULL);
	assert(done);
	EVP_MD_CTX_free(md);
}

void tls_rule_seal(struct tls_rule *rule)
{
	rule->is_sealed = false;
	tls_rule_key(rule, rule->key);
	rule->is_sealed = true;
}

void tls_rule_key(const struct tls_rule *rule, unsigned char key[TLS_KEY_SIZE])
{
	if (rule->is_sealed)
		memcpy(key, rule->key, TLS_KEY_SIZE);
	else
		compute_key(rule, key);
}

bool tls_rule_is_met(const struct tls_rule *rule, const struct tls_proof *proof)
{
	return tls_need_is_met(rule->need, proof);
}

bool tls_need_is_met(enum tls_need need, const struct tls_proof *proof)
{
	if (!proof)
		return need == TLS_NONE || need == TLS_MAY;
	/* What a failed handshake leaves behind is no clear connection either: nothing may be sent
	 * on it. */
	if (!proof->encrypted || proof->failure != TLS_FINE)
		return false;
	switch (need) {
	case TLS_NONE:
	case TLS_MAY:
	case TLS_ENCRYPT:
		return true;
	case TLS_PKIX:
	case TLS_DANE:
		return proof->verified;
	}
	return false;
}
