/*
 * test_upshot.c - what a client of SMTP is told for several next hops.
 */
#include "proxy/upshot.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

/* A accepted, T refused for now, P for good, U: not known, and our dot was sent; ? still open. */
static const struct outcome *outcome(char c)
{
	static const struct outcome accepted = {250, REASON_NONE, "2.0.0 yes"},
				    later = {451, REASON_NEXT_HOP, "4.0.0 later"},
				    no = {550, REASON_NEXT_HOP, "5.0.0 no"},
				    unknown = {451, REASON_OUTCOME_UNKNOWN, "4.4.2 lost"}, open;

	switch (c) {
	case 'A':
		return &accepted;
	case 'T':
		return &later;
	case 'P':
		return &no;
	case 'U':
		return &unknown;
	default:
		return &open;
	}
}

static size_t read_outcomes(const char *text, const struct outcome *outcomes[8])
{
	size_t count = strlen(text);

	for (size_t i = 0; i < count; i++)
		outcomes[i] = outcome(text[i]);
	return count;
}

static void table(void **state)
{
	/* clang-format off */
	static const struct {
		const char *outcomes;
		enum upshot upshot;
		char worst;
	} rows[] = {
		{ "A",    UPSHOT_ACCEPTED, 'A' },
		{ "T",    UPSHOT_REFUSED,  'T' },
		{ "P",    UPSHOT_REFUSED,  'P' },
		{ "U",    UPSHOT_REFUSED,  'U' },
		{ "?",    UPSHOT_OPEN,      0  },
		{ "AA",   UPSHOT_ACCEPTED, 'A' },
		{ "AT",   UPSHOT_MIXED,    'T' },
		{ "AP",   UPSHOT_MIXED,    'P' },
		{ "AU",   UPSHOT_MIXED,    'U' },
		{ "TP",   UPSHOT_REFUSED,  'T' },
		{ "PT",   UPSHOT_REFUSED,  'T' },
		{ "TU",   UPSHOT_REFUSED,  'U' },
		{ "UT",   UPSHOT_REFUSED,  'U' },
		{ "PU",   UPSHOT_REFUSED,  'U' },
		{ "PP",   UPSHOT_REFUSED,  'P' },
		{ "A?",   UPSHOT_OPEN,      0  },
		{ "?T",   UPSHOT_OPEN,      0  },
		{ "AAA",  UPSHOT_ACCEPTED, 'A' },
		{ "AAP",  UPSHOT_MIXED,    'P' },
		{ "PTA",  UPSHOT_MIXED,    'T' },
		{ "TUPA", UPSHOT_MIXED,    'U' },
		{ "PPTP", UPSHOT_REFUSED,  'T' },
		{ "AAA?", UPSHOT_OPEN,      0  },
	};
	/* clang-format on */
	const struct outcome *outcomes[8];

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		size_t count = read_outcomes(rows[i].outcomes, outcomes);

		print_message("%s\n", rows[i].outcomes);
		assert_int_equal(upshot_of(outcomes, count), rows[i].upshot);
		if (rows[i].worst)
			assert_ptr_equal(upshot_worst(outcomes, count), outcome(rows[i].worst));
	}
}

/* No order and no number of recipients turns a failure into 250 without anything kept. */
static void never_dishonest(void **state)
{
	static const char kinds[] = "ATPU";
	const struct outcome *outcomes[8];

	(void)state;
	for (unsigned n = 0; n < 1 << 10; n++) {
		char text[6] = "";
		bool all = true;

		for (unsigned i = 0; i < 5; i++) {
			text[i] = kinds[n >> 2 * i & 3];
			all &= text[i] == 'A';
		}
		size_t count = read_outcomes(text, outcomes);

		assert_int_equal(upshot_of(outcomes, count) == UPSHOT_ACCEPTED, all);
		assert_int_equal(outcome_is_good(upshot_worst(outcomes, count)), all);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    {"R-SMTP-65 -68: what several outcomes come to", table, NULL, NULL, NULL},
	    {"R-SMTP-68: 250 only where all accepted", never_dishonest, NULL, NULL, NULL},
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
