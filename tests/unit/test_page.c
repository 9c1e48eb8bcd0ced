/*
 * Text for terminals: wrapped, aligned, coloured, and free of strangers' controls.
 */
#include "proxy/command/page.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct page page;
static char *text;
static size_t size;

static int set_up(void **state)
{
	(void)state;
	page = (struct page){.out = open_memstream(&text, &size)};
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	free(text);
	return 0;
}

static void assert_printed(const char *wanted)
{
	fclose(page.out);
	assert_string_equal(text, wanted);
}

#define TEN "123456789 "

static void test_wraps(void **state)
{
	(void)state;
	page_text(&page, 2, 4, PAGE_PLAIN, "%s", TEN TEN TEN TEN TEN TEN TEN "1234567 next line");
	assert_printed("  " TEN TEN TEN TEN TEN TEN TEN "1234567\n    next line\n");
}

static void test_fits_exactly(void **state)
{
	(void)state;
	page_text(&page, 0, 4, PAGE_PLAIN, "%s", TEN TEN TEN TEN TEN TEN TEN "1234567890");
	assert_printed(TEN TEN TEN TEN TEN TEN TEN "1234567890\n");
}

/* A word longer than a line is broken, between characters. */
static void test_long_word(void **state)
{
	char word[201] = "", *line, *rest;

	(void)state;
	for (int i = 0; i < 100; i++)
		strcat(word, "\xc3\xa4");
	page_text(&page, 0, 2, PAGE_PLAIN, "%s", word);
	fclose(page.out);
	line = strtok_r(text, "\n", &rest);
	assert_int_equal(strlen(line), 160);
	line = strtok_r(NULL, "\n", &rest);
	assert_int_equal(strlen(line), 42);
}

static void test_field(void **state)
{
	(void)state;
	page_field(&page, 2, 8, "MX", PAGE_PLAIN, "10 %s", "mx.example.org");
	page_field(&page, 2, 8, "too long", PAGE_PLAIN, "x");
	page_field(&page, 0, 4, "", PAGE_PLAIN, "%s", "");
	assert_printed("  MX    10 mx.example.org\n  too long x\n    \n");
}

static void test_filters(void **state)
{
	(void)state;
	page_text(&page, 0, 0, PAGE_PLAIN, "%s", "a\033[31m\r\nb\x9b\xe2\x80\xae");
	page_line(&page, "%s", "c\nd");
	assert_printed("a\\x1b[31m\\x0d\\x0ab\\x9b\\xe2\\x80\\xae\nc\\x0ad\n");
}

static void test_colours(void **state)
{
	(void)state;
	page.is_coloured = true;
	page_text(&page, 0, 0, PAGE_BAD, "%s", "x\033[0m");
	page_text(&page, 0, 0, PAGE_PLAIN, "plain");
	assert_printed("\033[1;31mx\\x1b[0m\033[0m\nplain\n");
}

static void test_choice(void **state)
{
	struct page other;

	(void)state;
	assert_true(page_open(&other, page.out, "always"));
	assert_true(other.is_coloured);
	assert_true(page_open(&other, page.out, "never"));
	assert_false(other.is_coloured);
	assert_false(page_open(&other, page.out, "sometimes"));
	fclose(page.out);
}

static void test_records(void **state)
{
	(void)state;
	page_records(&page, 2,
	    "_25._tcp.mx.example.org. IN TLSA 3 1 1 "
	    "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\n"
	    "a.example. IN A 192.0.2.1");
	assert_printed("  _25._tcp.mx.example.org. IN TLSA 3 1 1 (\n"
		       "      0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef )\n"
		       "  a.example. IN A 192.0.2.1\n");
}

static void test_command(void **state)
{
	(void)state;
	page_command(&page, 2,
	    "openssl s_client -connect 192.0.2.1:25 -servername mx.example.org -dane_tlsa_rrdata "
	    "'3 1 1 0123' -x");
	assert_printed("  $ openssl s_client -connect 192.0.2.1:25 -servername mx.example.org \\\n"
		       "    -dane_tlsa_rrdata '3 1 1 0123' -x\n");
}

int main(void)
{
#define ROW(name, test)                                                                            \
	{                                                                                          \
		name, test, set_up, tear_down, NULL                                                \
	}
	const struct CMUnitTest tests[] = {
	    ROW("wraps at 80 columns, with a hanging indent", test_wraps),
	    ROW("80 columns are a line", test_fits_exactly),
	    ROW("a word without end", test_long_word),
	    ROW("labels", test_field),
	    ROW("R-SMTP-20: controls and marks never pass", test_filters),
	    ROW("colours are ours alone", test_colours),
	    ROW("always, never, nonsense", test_choice),
	    ROW("records for a zone file", test_records),
	    ROW("commands for a shell", test_command),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
