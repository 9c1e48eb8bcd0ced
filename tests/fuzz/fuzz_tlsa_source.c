/*
 * fuzz_tlsa_source.c - files that `danelaw tlsa` is given, PEM or DER, up to the records made of
 * them. What is made must be usable where its usage is, and speak of what it was made of.
 */
#include "conf/mem.h"
#include "tls/ctx.h"
#include "tls/tlsa_source.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_record(const struct tlsa_source *source, const struct tlsa *t)
{
	char *line = tlsa_zone_line(t, TLSA_GENERIC, "mx.example", 0);

	assert(t->len > 0 && strlen(line) > 2 * t->len);
	/* A trust anchor may be a leaf by mistake; that it does not fit is what is told. */
	assert(t->usage == 0 || t->usage == TLSA_USAGE_TA || tlsa_source_fits(source, t));
	free(line);
}

static void make_all(const struct tlsa_source *source)
{
	for (uint8_t i = 0; i < 24; i++) {
		struct tlsa_kind kind = {i / 6, i / 3 % 2, i % 3};
		struct tlsa_set set = {0};
		const char *why = NULL;

		if (tlsa_source_make(source, kind, &set, &why))
			for (size_t n = 0; n < set.count; n++)
				check_record(source, &set.items[n]);
		else
			assert(why && set.count == 0);
		tlsa_source_doubt(source, kind);
		tlsa_set_release(&set);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static bool is_set_up;
	const char *why = NULL;
	struct tlsa_source *source;

	if (!is_set_up)
		tls_library_init();
	is_set_up = true;
	source = tlsa_source_parse(data, size, &why);
	assert(!source == (why != NULL));
	if (source)
		make_all(source);
	tlsa_source_free(&source);
	return 0;
}
