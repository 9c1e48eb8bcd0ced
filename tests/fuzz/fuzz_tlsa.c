/*
 * fuzz_tlsa.c - TLSA records as a hostile zone may publish them, up to the handle they are set on.
 * Input: records of usage, selector, matching type, two octets of length, data; cut short at will.
 * What our filter calls usable OpenSSL must take, and nothing else may reach it (R-DANE-04, -06,
 * -07).
 */
#include "tls/ctx.h"

#include <assert.h>
#include <openssl/ssl.h>
#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct tls_contexts *contexts;

static void set_up(void)
{
	char *error;

	tls_library_init();
	contexts = tls_contexts_new(NULL, &error);
	assert(contexts);
}

static size_t next_record(const uint8_t *data, size_t size, struct tlsa *t)
{
	enum { HEADER = 5 };
	size_t len = (size_t)data[3] << 8 | data[4];

	if (len > size - HEADER)
		len = size - HEADER;
	*t = (struct tlsa){data[0], data[1], data[2], len, data + HEADER};
	return HEADER + len;
}

static void apply(const struct tls_rule *rule, bool any_usable)
{
	struct tls_proof proof;
	SSL *ssl = tls_contexts_handle(contexts, TLS_DANE);
	bool applied = tls_rule_apply(rule, ssl, &proof);

	assert(applied == any_usable);
	assert(applied || (proof.failure != TLS_FINE && proof.text[0]));
	SSL_free(ssl);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct tls_rule rule = {.need = TLS_DANE, .sni = "mx.example", .name_count = 1};
	bool any_usable = false;
	char text[TLSA_TEXT];
	struct tlsa t;

	if (!contexts)
		set_up();
	strcpy(rule.names[0], "mx.example");
	while (size >= 5) {
		size_t used = next_record(data, size, &t);

		any_usable = tlsa_is_usable(&t) || any_usable;
		assert(strlen(tlsa_brief(&t, text)) < TLSA_TEXT);
		tlsa_set_add(&rule.tlsa, &t);
		data += used;
		size -= used;
	}
	if (rule.tlsa.count)
		apply(&rule, any_usable);
	tls_rule_release(&rule);
	return 0;
}
