/*
 * test_anchor.c - trust anchor files: what is understood, what is refused, which file is used.
 */
#include "dnsval/anchor.h"

#include "conf/conf.h"
#include "conf/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define DS_2017 "20326 8 2 E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D"
#define DS_2024 "38696 8 2 683D2D0ACB8C9B712A1948B27F741219298D0A450D612C483AF444A4C0FB2B16"
#define KEY_2017                                                                                   \
	"AwEAAaz/tAm8yTn4Mfeh5eyI96WSVexTBAvkMgJzkKTOiW1vkIbzxeF3+/4RgWOq7HrxRixHlFlExOLAJr5emLv"  \
	"N7SWXgnLh4+B5xQlNVz8Og8kvArMtNROxVQuCaSnIDdD5LKyWbRd2n9WGe2R8PzgCmr3EgVLrjyBxWezF0jLHwV"  \
	"N8efS3rCj/EWgvIWgb9tarpVUDK/b58Da+sqqls3eNbuv7pr+eoZG+SrDK6nWeL3c6H5Apxz7LjVc1uTIdsIXxu"  \
	"OLYA4/ilBmSVIzuDWfdRUfhHdY6+cn8HFRm+2hM8AnXGXws9555KrUB5qihylGa8subX2Nn6UwNR1AkUTV74bU="

/* clang-format off */
static const struct {
	const char *title, *text;
	size_t count;
	uint16_t tag;           /* of the first */
	const char *first;      /* its record; NULL: not compared */
	const char *error;
} rows[] = {
	{ "DS", ". IN DS " DS_2017 "\n", 1, 20326, ". IN DS " DS_2017, NULL },
	{ "no newline at the end", ". IN DS " DS_2017, 1, 20326, NULL, NULL },
	{ "CR LF", ". IN DS " DS_2017 "\r\n. IN DS " DS_2024 "\r\n", 2, 20326, ". IN DS " DS_2017, NULL },
	{ "R-DNS-38 tag of a DNSKEY", ". IN DNSKEY 257 3 8 " KEY_2017 " ; keytag\n", 1, 20326, NULL, NULL },
	{ "TTL and class", ". 172800 IN DS " DS_2017 "\n", 1, 20326, NULL, NULL },
	{ "class and TTL", ". IN 172800 DS " DS_2017 "\n", 1, 20326, NULL, NULL },
	{ "neither, lower case", "example.ORG ds 4711 13 2 " "E06D44B80B8F1D39A95C0B0D7C65D08458E88040 9BBC683457104237C7F8EC8D", 1, 4711,
	  "example.org. IN DS 4711 13 2 E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D", NULL },
	{ "parentheses", ". IN DS 20326 8 2 ( ; a comment (\n\tE06D44B80B8F1D39A95C0B0D7C65D084\n"
	  "58E880409BBC683457104237C7F8EC8D )\n", 1, 20326, ". IN DS " DS_2017, NULL },
	{ "comments and empty lines", "; a\n\n   ; b\n. IN DS " DS_2024 " ; c\n", 1, 38696, NULL, NULL },
	{ "RFC 5011 states",
	  ";;id: . 1\n"
	  ". 172800 IN DS " DS_2024 " ;;state=1 [ ADDPEND ] ;;count=3\n"
	  ". 172800 IN DS " DS_2017 " ;;state=2 [  VALID  ] ;;count=0\n"
	  ". 172800 IN DNSKEY 257 3 8 " KEY_2017 " ;{id = 20326 (ksk), size = 2048b} ;;state=3 [ MISSING ]\n"
	  ". 172800 IN DNSKEY 385 3 8 " KEY_2017 " ;;state=4 [ REVOKED ]\n", 2, 20326, ". IN DS " DS_2017, NULL },
	{ "only pending keys", ". IN DS " DS_2024 " ;;state=1 [ ADDPEND ]\n", 0, 0, NULL, "no DS or DNSKEY" },
	{ "all revoked", ";;REVOKED\n; nothing\n", 0, 0, NULL, "no DS or DNSKEY" },

	{ "D-23 empty", "", 0, 0, NULL, "no DS or DNSKEY" },
	{ "owner left out", ". IN DS " DS_2017 "\n IN DS " DS_2024 "\n", 0, 0, NULL, ":2: a record must begin" },
	{ "directive", "$ORIGIN .\n", 0, 0, NULL, ":1: a record must begin" },
	{ "another type", ". IN A 192.0.2.1\n", 0, 0, NULL, ":1: neither" },
	{ "owner alone", ".\n", 0, 0, NULL, ":1: neither" },
	{ "another class", ". CH DS " DS_2017 "\n", 0, 0, NULL, ":1: neither" },
	{ "short digest", ". IN DS 20326 8 2 E06D\n", 0, 0, NULL, ":1: malformed digest" },
	{ "no digest", ". IN DS 20326 8 2\n", 0, 0, NULL, ":1: malformed DS" },
	{ "digest not hex", ". IN DS 20326 8 2 X06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D\n",
	  0, 0, NULL, ":1: malformed digest" },
	{ "tag too large", ". IN DS 65536 8 2 E06D\n", 0, 0, NULL, ":1: malformed DS" },
	{ "algorithm that cannot be verified", ". IN DS 20326 253 2 E06D\n", 0, 0, NULL, ":1: DS record with" },
	{ "digest that cannot be verified", ". IN DS 20326 8 3 E06D\n", 0, 0, NULL, ":1: DS record with" },
	{ "key not base64", ". IN DNSKEY 257 3 8 Aw*AAaz\n", 0, 0, NULL, ":1: malformed key" },
	{ "revoked key without state", ". IN DNSKEY 385 3 8 " KEY_2017 "\n", 0, 0, NULL, ":1: DNSKEY record of a revoked" },
	{ "no zone key", ". IN DNSKEY 1 3 8 " KEY_2017 "\n", 0, 0, NULL, ":1: malformed DNSKEY" },
	{ "another protocol", ". IN DNSKEY 257 2 8 " KEY_2017 "\n", 0, 0, NULL, ":1: malformed DNSKEY" },
	{ "parenthesis left open", ". IN DS ( 20326 8 2\n", 0, 0, NULL, "not closed" },
	{ "parenthesis not open", ". IN DS ) 20326 8 2\n", 0, 0, NULL, ":1: not a record" },
	{ "the second line is wrong", ". IN DS " DS_2017 "\nnonsense\n", 0, 0, NULL, ":2: neither" },
};
/* clang-format on */

static void test_rows(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		char *error = NULL;
		struct anchors *anchors =
		    anchors_parse(rows[i].text, strlen(rows[i].text), "FILE", &error);

		print_message("  %s: %s\n", rows[i].title, error ? error : "good");
		assert_int_equal(!anchors, rows[i].count == 0);
		assert_int_equal(!error, rows[i].error == NULL);
		if (error)
			assert_non_null(strstr(error, rows[i].error));
		if (anchors) {
			assert_int_equal(anchors->count, rows[i].count);
			assert_int_equal(anchors->items[0].tag, rows[i].tag);
			assert_string_equal(anchors->source, "FILE");
		}
		if (anchors && rows[i].first)
			assert_string_equal(anchors->items[0].record, rows[i].first);
		free(error);
		anchors_free(&anchors);
	}
}

/* NUL, a word and a line that are too long: no end of the process, no record. */
static void test_hostile(void **state)
{
	char *text = malloc(100000);
	char *error = NULL;

	(void)state;
	assert_null(anchors_parse(". IN DS \0", 9, "FILE", &error));
	free(error);
	memset(text, 'a', 100000);
	error = NULL;
	assert_null(anchors_parse(text, 100000, "FILE", &error));
	free(error);
	for (size_t i = 0; i < 100000; i += 2)
		text[i] = ' ';
	error = NULL;
	text[0] = '.';
	assert_null(anchors_parse(text, 100000, "FILE", &error));
	free(error);
	free(text);
}

/* ---- which file ---- */

static char dir[64];

static void write_state(const char *name, const char *text)
{
	char *path = mem_printf("%s/%s", dir, name);
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	fputs(text, file);
	fclose(file);
	free(path);
}

static int setup(void **state)
{
	(void)state;
	strcpy(dir, "/tmp/danelaw-test-state-XXXXXX");
	return mkdtemp(dir) ? 0 : -1;
}

static int teardown(void **state)
{
	static const char *const names[] = {"root.key", "root.key.seed", "mine"};

	(void)state;
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		char *path = mem_printf("%s/%s", dir, names[i]);

		unlink(path);
		free(path);
	}
	return rmdir(dir);
}

static bool has_tag(const struct anchors *anchors, unsigned tag)
{
	for (size_t i = 0; i < anchors->count; i++)
		if (anchors->items[i].tag == tag && strcmp(anchors->items[i].owner, ".") == 0)
			return true;
	return false;
}

static struct anchors *load(const struct conf *conf)
{
	char *error = NULL;
	struct anchors *anchors = anchors_load(conf, &error);

	assert_null(error);
	assert_non_null(anchors);
	return anchors;
}

static void test_seed(void **state)
{
	struct conf conf = {0};
	struct anchors *anchors = load(&conf);

	(void)state;
	assert_true(has_tag(anchors, 20326));
	assert_true(has_tag(anchors, 38696));
	anchors_log(anchors);
	anchors_free(&anchors);
}

static void test_state(void **state)
{
	struct conf conf = {.server.state_dir = dir};
	const char *source;
	char *error = NULL;
	char *seed = anchors_seed(&source, &error);
	struct anchors *anchors;

	(void)state;
	/* not known what it grew from */
	write_state("root.key", ". IN DS " DS_2024 " ;;state=2\n");
	anchors = load(&conf);
	assert_string_equal(anchors->source, source);
	anchors_free(&anchors);
	/* from another seed */
	write_state("root.key.seed", ". IN DS " DS_2024 "\n");
	assert_false(anchors_grew_from(&conf, seed));
	anchors = load(&conf);
	assert_string_equal(anchors->source, source);
	/* from this one */
	write_state("root.key.seed", seed);
	assert_true(anchors_grew_from(&conf, seed));
	assert_true(anchors_refresh(&anchors, &conf, &error));
	assert_non_null(strstr(anchors->source, "/root.key"));
	assert_int_equal(anchors->count, 1);
	assert_int_equal(anchors->items[0].tag, 38696);
	assert_false(anchors_refresh(&anchors, &conf, &error));
	assert_null(error);
	/* all keys gone: never "no anchor", which would be "all insecure" */
	write_state("root.key", ";;REVOKED\n");
	assert_true(anchors_refresh(&anchors, &conf, &error));
	assert_string_equal(anchors->source, source);
	anchors_free(&anchors);
	free(seed);
}

static void test_static(void **state)
{
	char *file = mem_printf("%s/mine", dir), *error = NULL;
	struct conf conf = {.server.state_dir = dir, .dns.trust_anchor = file};
	struct anchors *anchors;

	(void)state;
	write_state("mine", ". IN DS " DS_2017 "\n");
	anchors = load(&conf);
	assert_string_equal(anchors->source, file);
	write_state("mine", "");
	assert_false(anchors_refresh(&anchors, &conf, &error));
	assert_int_equal(anchors->count, 1);
	anchors_free(&anchors);
	free(file);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    {"D-23 R-DNS-38: records good and bad", test_rows, NULL, NULL, NULL},
	    {"D-23: hostile text", test_hostile, NULL, NULL, NULL},
	    {"R-DNS-38: the seed has both root keys", test_seed, NULL, NULL, NULL},
	    {"R-DNS-39: a changed seed starts anew", test_state, setup, teardown, NULL},
	    {"[dns] trust_anchor is static", test_static, setup, teardown, NULL},
	};

	log_open(LOG_TO_STDERR, LOG_AS_TEXT, LOG_LEVEL_ERROR);
	return cmocka_run_group_tests_name("anchor", tests, NULL, NULL);
}
