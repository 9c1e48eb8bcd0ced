/*
 * test_tlsa.c - which TLSA records are usable (R-DANE-04, -05, -06; catalogue T-17), and the set.
 */
#include "tls/tlsa.h"
#include "tls_peer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static struct identity identity;

static bool is_usable(
    unsigned usage, unsigned selector, unsigned matching, const void *data, size_t len)
{
	return tlsa_is_usable(&(struct tlsa){.usage = (uint8_t)usage,
	    .selector = (uint8_t)selector,
	    .matching = (uint8_t)matching,
	    .len = len,
	    .data = data});
}

/* All 256^3 headers, with each length that some header could want. */
static void header_sweep(void **state)
{
	static const uint8_t zeros[64];
	static const size_t lengths[] = {0, 32, 64};
	size_t usable = 0;

	(void)state;
	for (unsigned header = 0; header < 1u << 24; header++) {
		unsigned usage = header >> 16, selector = header >> 8 & 255,
			 matching = header & 255;

		for (size_t i = 0; i < 3; i++) {
			bool expected = (usage == 2 || usage == 3) && selector <= 1 &&
					((matching == 1 && lengths[i] == 32) ||
					    (matching == 2 && lengths[i] == 64));

			if (is_usable(usage, selector, matching, zeros, lengths[i]) != expected)
				fail_msg("%u %u %u with %zu octets", usage, selector, matching,
				    lengths[i]);
			usable += expected;
		}
	}
	assert_int_equal(usable, 2 * 2 * 2);
}

static void digest_lengths(void **state)
{
	static const uint8_t data[70000];

	(void)state;
	for (size_t len = 0; len <= 300; len++) {
		assert_int_equal(is_usable(3, 1, 1, data, len), len == 32);
		assert_int_equal(is_usable(2, 0, 2, data, len), len == 64);
	}
	assert_false(is_usable(3, 1, 1, data, 65535));
	assert_false(is_usable(3, 1, 0, data, 65000));
}

/* Full data: whole, cut, continued, and of the other selector. */
static void full_data(unsigned selector)
{
	struct tlsa_set set = {0};
	const struct tlsa *whole;
	uint8_t longer[4096];

	add_association(&set, identity.certificate, 3, (uint8_t)selector, 0);
	whole = &set.items[0];
	assert_true(whole->len > 64 && whole->len < sizeof(longer) - 1);
	memcpy(longer, whole->data, whole->len);
	longer[whole->len] = 0;
	for (unsigned usage = 0; usage < 256; usage++)
		assert_int_equal(
		    is_usable(usage, selector, 0, longer, whole->len), usage == 2 || usage == 3);
	for (size_t len = 0; len < whole->len; len++)
		assert_false(is_usable(3, selector, 0, longer, len));
	assert_false(is_usable(3, selector, 0, longer, whole->len + 1));
	assert_false(is_usable(3, 1 - selector, 0, longer, whole->len));
	longer[0] ^= 1;
	assert_false(is_usable(3, selector, 0, longer, whole->len));
	tlsa_set_release(&set);
}

static void full_data_to_its_end(void **state)
{
	(void)state;
	full_data(0);
	full_data(1);
}

static void no_data(void **state)
{
	(void)state;
	for (unsigned selector = 0; selector < 2; selector++)
		for (unsigned matching = 0; matching < 3; matching++) {
			assert_false(is_usable(3, selector, matching, NULL, 0));
			assert_false(is_usable(2, selector, matching, "", 0));
		}
}

static void brief(void **state)
{
	static const struct {
		struct tlsa record;
		const char *text;
	} cases[] = {
	    {{3, 1, 1, 5, (const uint8_t *)"\xab\x12\xcd\x34\x56"}, "3 1 1 ab12cd34.."},
	    {{2, 0, 2, 4, (const uint8_t *)"\xab\x12\xcd\x34"}, "2 0 2 ab12cd34"},
	    {{255, 255, 255, 1, (const uint8_t *)"\x0f"}, "255 255 255 0f"},
	    {{3, 0, 0, 0, NULL}, "3 0 0"},
	};
	char text[TLSA_TEXT];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_string_equal(tlsa_brief(&cases[i].record, text), cases[i].text);
}

static void sets(void **state)
{
	struct tlsa records[] = {
	    {3, 1, 1, 2, (const uint8_t *)"bb"},
	    {3, 1, 1, 2, (const uint8_t *)"ba"},
	    {3, 1, 0, 3, (const uint8_t *)"zzz"},
	    {3, 0, 1, 1, (const uint8_t *)"z"},
	    {2, 1, 2, 9, (const uint8_t *)"zzzzzzzzz"},
	    {3, 1, 1, 1, (const uint8_t *)"c"},
	};
	static const char *const sorted[] = {
	    "2 1 2 7a7a7a7a..", "3 0 1 7a", "3 1 0 7a7a7a", "3 1 1 63", "3 1 1 6261", "3 1 1 6262"};
	struct tlsa_set set = {0}, copy = {0};
	char text[TLSA_TEXT];

	(void)state;
	for (size_t i = 0; i < 6; i++)
		tlsa_set_add(&set, &records[i]);
	assert_ptr_not_equal(set.items[0].data, records[0].data);
	tlsa_set_sort(&set);
	tlsa_set_copy(&copy, &set);
	tlsa_set_release(&set);
	assert_int_equal(set.count, 0);
	assert_int_equal(copy.count, 6);
	for (size_t i = 0; i < 6; i++)
		assert_string_equal(tlsa_brief(&copy.items[i], text), sorted[i]);
	tlsa_set_release(&copy);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    {"R-DANE-04, -05: header sweep", header_sweep, NULL, NULL, NULL},
	    {"R-DANE-05, T-17: digest lengths", digest_lengths, NULL, NULL, NULL},
	    {"R-DANE-05: full data to its end", full_data_to_its_end, NULL, NULL, NULL},
	    {"R-DANE-06: no data", no_data, NULL, NULL, NULL},
	    {"brief text", brief, NULL, NULL, NULL},
	    {"sets are copies, in one order", sets, NULL, NULL, NULL},
	};
	int failed;

	identity = make_identity(&(struct identity_spec){.common_name = "tlsa"}, NULL);
	failed = cmocka_run_group_tests_name("tlsa", tests, NULL, NULL);
	free_identity(&identity);
	return failed;
}
