/*
 * test_smtp_reply.c - replies heard, the EHLO offer, replies said.
 */
#include "proxy/smtp/smtp_reply.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define TEXT(s) (s), sizeof(s) - 1

static struct smtp_reply reply;

/* Parses from a block of exactly that size, so that a sanitizer sees a read beyond it. */
static enum smtp_reply_status parse(const char *in, size_t len, size_t *consumed, const char **why)
{
	char *block = malloc(len ? len : 1);

	assert_non_null(block);
	memcpy(block, in, len);
	enum smtp_reply_status status = smtp_reply_parse(block, len, &reply, consumed, why);

	free(block);
	return status;
}

/* ---- heard ---- */

static void test_good(void **state)
{
	/* clang-format off */
	static const struct {
		const char *in;
		size_t len;
		int code;
		size_t lines, consumed;
		const char *text;
	} rows[] = {
		{ TEXT("220 mx.example ESMTP\r\n"),          220, 1, 22, "mx.example ESMTP" },
		{ TEXT("250\r\n"),                           250, 1, 5,  "" },
		{ TEXT("250 \r\n"),                          250, 1, 6,  "" },
		{ TEXT("250-a\r\n250-b\r\n250 c\r\n"),       250, 3, 21, "a\nb\nc" },
		{ TEXT("250-\r\n250-b\r\n250\r\n"),          250, 3, 18, "\nb\n" },
		{ TEXT("250  two\r\n"),                      250, 1, 10, " two" },
		{ TEXT("559 x\r\n250 surplus\r\n"),          559, 1, 7,  "x" },
		{ TEXT("200 low\r\n"),                       200, 1, 9,  "low" },
		{ TEXT("550 gr\xc3\xbcn\r\n"),               550, 1, 11, "gr\xc3\xbcn" },
		{ TEXT("550 a\x1b[2J\tb\x7f\r\n"),           550, 1, 14, "a?[2J?b?" },
		{ TEXT("550 a\rb\r\n"),                      550, 1, 9,  "a?b" },
		{ TEXT("550 \xff\xc0\xaf\xed\xa0\x80\r\n"),  550, 1, 12, "??????" },
		{ TEXT("550 \xc2\x9b\x33\x31m\r\n"),         550, 1, 11, "??31m" },
		{ TEXT("550 \xf4\x90\x80\x80 \xc3\r\n"),     550, 1, 12, "???? ?" },
	};
	/* clang-format on */

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		size_t consumed;
		const char *why;

		for (size_t n = 0; n < rows[i].consumed; n++) {
			assert_int_equal(parse(rows[i].in, n, &consumed, &why), SMTP_REPLY_MORE);
			assert_int_equal(consumed, 0);
		}
		for (size_t n = rows[i].consumed; n <= rows[i].len; n++) {
			assert_int_equal(parse(rows[i].in, n, &consumed, &why), SMTP_REPLY_DONE);
			assert_int_equal(consumed, rows[i].consumed);
			assert_int_equal(reply.code, rows[i].code);
			assert_int_equal(reply.line_count, rows[i].lines);
			assert_string_equal(reply.text, rows[i].text);
			assert_int_equal(reply.text_len, strlen(rows[i].text));
		}
	}
}

static void test_broken(void **state)
{
	/* clang-format off */
	static const struct {
		const char *in;
		size_t len;
	} rows[] = {
		{ TEXT("250-x\r\n550 y\r\n") }, { TEXT("250-x\r\n251 y\r\n") }, { TEXT("250-x\r\n\r\n") },
		{ TEXT("999 x\r\n") },          { TEXT("199 x\r\n") },          { TEXT("600 x\r\n") },
		{ TEXT("260 x\r\n") },          { TEXT("2 50 x\r\n") },         { TEXT("25\r\n") },
		{ TEXT("25x y\r\n") },          { TEXT("2500 x\r\n") },         { TEXT("250x\r\n") },
		{ TEXT("250\tx\r\n") },         { TEXT("250=x\r\n") },          { TEXT(" 250 x\r\n") },
		{ TEXT("\r\n") },               { TEXT("250 x\n") },            { TEXT("\n") },
		{ TEXT("250-x\n250 y\r\n") },   { TEXT("250-x\r\n250 y\n") },   { TEXT("250 \0x\r\n") },
		{ TEXT("2\0" "0 x\r\n") },      { TEXT("HTTP/1.1 400 Bad Request\r\n") },
		{ TEXT("-250 x\r\n") },         { TEXT("25\xb2 x\r\n") },       { TEXT("250\r\r\n") },
	};
	/* clang-format on */

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		size_t consumed = 99;
		const char *why = NULL;

		if (parse(rows[i].in, rows[i].len, &consumed, &why) != SMTP_REPLY_BROKEN)
			fail_msg("%s", rows[i].in);
		assert_int_equal(consumed, 0);
		assert_non_null(why);
	}
}

static size_t repeat(char *out, const char *line, size_t times, const char *tail)
{
	size_t len = 0;

	for (size_t i = 0; i < times; i++) {
		memcpy(out + len, line, strlen(line));
		len += strlen(line);
	}
	memcpy(out + len, tail, strlen(tail));
	return len + strlen(tail);
}

static void test_limits(void **state)
{
	static char in[1 << 20];
	size_t consumed, len;
	const char *why;

	(void)state;
	len = repeat(in, "250-x\r\n", 99, "250 x\r\n");
	assert_int_equal(parse(in, len, &consumed, &why), SMTP_REPLY_DONE);
	assert_int_equal(reply.line_count, 100);
	len = repeat(in, "250-x\r\n", 100, "250 x\r\n");
	assert_int_equal(parse(in, len, &consumed, &why), SMTP_REPLY_BROKEN);

	for (size_t n = 2040; n < 2056; n++) {
		memset(in, 'x', n);
		memcpy(in, "250 ", 4);
		memcpy(in + n - 2, "\r\n", 2);
		assert_int_equal(
		    parse(in, n, &consumed, &why), n <= 2048 ? SMTP_REPLY_DONE : SMTP_REPLY_BROKEN);
		assert_int_equal(parse(in, n - 2, &consumed, &why),
		    n - 2 < 2048 ? SMTP_REPLY_MORE : SMTP_REPLY_BROKEN);
	}
	memset(in, 'x', sizeof in);
	memcpy(in, "250 ", 4);
	assert_int_equal(parse(in, 2047, &consumed, &why), SMTP_REPLY_MORE);
	assert_int_equal(parse(in, 2048, &consumed, &why), SMTP_REPLY_BROKEN);
	assert_int_equal(parse(in, sizeof in, &consumed, &why), SMTP_REPLY_BROKEN);
}

/* More text than is kept: whole lines are dropped, the reply is still understood. */
static void test_much_text(void **state)
{
	static char in[200000];
	char line[1100];
	size_t consumed;
	const char *why;

	(void)state;
	memset(line, 'y', sizeof line);
	memcpy(line, "550-", 4);
	memcpy(line + 1000, "\r\n", 3);
	size_t len = repeat(in, line, 90, "550 end\r\n");

	assert_int_equal(parse(in, len, &consumed, &why), SMTP_REPLY_DONE);
	assert_int_equal(consumed, len);
	assert_int_equal(reply.line_count, 91);
	assert_int_equal(reply.text_len, 8 * 996 + 7);
	assert_int_equal(strlen(reply.text), reply.text_len);
}

static void test_first_line(void **state)
{
	char out[8];
	size_t consumed;
	const char *why;

	(void)state;
	parse(TEXT("250-one\r\n250 two\r\n"), &consumed, &why);
	assert_string_equal(smtp_reply_first_line(&reply, out, sizeof out), "one");
	parse(TEXT("250 abcdefghij\r\n"), &consumed, &why);
	assert_string_equal(smtp_reply_first_line(&reply, out, sizeof out), "abcdefg");
	parse(TEXT("250 abcdef\xc3\xbcx\r\n"), &consumed, &why);
	assert_string_equal(smtp_reply_first_line(&reply, out, sizeof out), "abcdef");
	parse(TEXT("250\r\n"), &consumed, &why);
	assert_string_equal(smtp_reply_first_line(&reply, out, sizeof out), "");
}

/* ---- EHLO ---- */

static void test_offer(void **state)
{
	/* clang-format off */
	static const struct {
		const char *in;
		struct smtp_offer offer;
	} rows[] = {
		{ "250 mx.example\r\n", {0} },
		{ "250 STARTTLS\r\n",   {0} },
		{ "250-mx.example\r\n250-PIPELINING\r\n250-SIZE 1000\r\n250-STARTTLS\r\n250-8BITMIME\r\n"
		  "250-ENHANCEDSTATUSCODES\r\n250-CHUNKING\r\n250 SMTPUTF8\r\n",
		  {.starttls = true, .pipelining = true, .eightbitmime = true, .smtputf8 = true, .size = true,
		   .size_limit = 1000} },
		{ "250-mx\r\n250-XDSN\r\n250-DSNX\r\n250 dsn\r\n", {.dsn = true} },
		{ "250-mx\r\n250-starttls\r\n250 size\r\n",      {.starttls = true, .size = true} },
		{ "250-mx\r\n250 SIZE 0\r\n",                    {.size = true} },
		{ "250-mx\r\n250 SIZE 12x\r\n",                  {.size = true} },
		{ "250-mx\r\n250 SIZE 18446744073709551615\r\n", {.size = true, .size_limit = UINT64_MAX} },
		{ "250-mx\r\n250 SIZE 18446744073709551616\r\n", {.size = true} },
		{ "250-mx\r\n250-STARTTLSX\r\n250 XSTARTTLS\r\n", {0} },
		{ "250-mx\r\n250 STARTTLS \r\n",                 {.starttls = true} },
		{ "250-mx\r\n250-\r\n250 PIPELINING\r\n",        {.pipelining = true} },
		{ "502-no\r\n502-STARTTLS\r\n502 SIZE 5\r\n",    {0} },
	};
	/* clang-format on */

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct smtp_offer offer;
		const struct smtp_offer *want = &rows[i].offer;
		size_t consumed;
		const char *why;

		assert_int_equal(
		    parse(rows[i].in, strlen(rows[i].in), &consumed, &why), SMTP_REPLY_DONE);
		smtp_offer_parse(&reply, &offer);
		assert_int_equal(offer.starttls, want->starttls);
		assert_int_equal(offer.pipelining, want->pipelining);
		assert_int_equal(offer.eightbitmime, want->eightbitmime);
		assert_int_equal(offer.smtputf8, want->smtputf8);
		assert_int_equal(offer.size, want->size);
		assert_int_equal(offer.dsn, want->dsn);
		assert_true(offer.size_limit == want->size_limit);
	}
}

/* ---- said ---- */

static void test_format(void **state)
{
	/* clang-format off */
	static const struct {
		int code;
		const char *status, *text;
		bool utf8;
		const char *out;
	} rows[] = {
		{ 250, "2.1.0", "sender ok",      false, "250 2.1.0 sender ok\r\n" },
		{ 250, NULL,    "sender ok",      false, "250 sender ok\r\n" },
		{ 250, "",      "a\nb\nc",        false, "250-a\r\n250-b\r\n250 c\r\n" },
		{ 550, "5.1.1", "a\nb",           false, "550-5.1.1 a\r\n550 5.1.1 b\r\n" },
		{ 250, NULL,    "",               false, "250 ok\r\n" },
		{ 451, "4.3.0", "\n \n",          false, "451 4.3.0 try again later\r\n" },
		{ 550, "",      "",               false, "550 refused\r\n" },
		{ 250, "",      "a\n\n",          false, "250 a\r\n" },
		{ 250, "",      "a\n\nb",         false, "250-a\r\n250-\r\n250 b\r\n" },
		{ 550, "",      "x\r\n250 ok",    false, "550-x?\r\n550 250 ok\r\n" },
		{ 550, "",      "\x1b[31m\x7f.",  false, "550 ?[31m?.\r\n" },
		{ 550, "",      "gr\xc3\xbcn",    true,  "550 gr\xc3\xbcn\r\n" },
		{ 550, "",      "gr\xc3\xbcn",    false, "550 gr??n\r\n" },
		{ 550, "",      "\xc3\x28\xff",   true,  "550 ?(?\r\n" },
	};
	/* clang-format on */

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		char out[1024];
		size_t len = smtp_reply_format(
		    out, sizeof out, rows[i].code, rows[i].status, rows[i].text, rows[i].utf8);

		out[len] = '\0';
		assert_string_equal(out, rows[i].out);
	}
}

/* What we say must pass our own strict parser, in lines of at most 512 octets, whatever the text
 * is. */
static void test_wrap(void **state)
{
	static const char *const words[] = {
	    "word ", "x", "\xc3\xbc", "\x80", "longer-word-without-end ", "line\n"};
	static char text[5000], out[8192];

	(void)state;
	for (size_t w = 0; w < sizeof words / sizeof *words; w++)
		for (size_t size = 33; size < sizeof out; size += 61) {
			size_t text_len = repeat(text, words[w], 4000 / strlen(words[w]), "");

			text[text_len] = '\0';
			size_t len = smtp_reply_format(out, size, 550, "5.7.1", text, true);
			size_t consumed;
			const char *why;

			assert_in_range(len, 1, size);
			assert_int_equal(parse(out, len, &consumed, &why), SMTP_REPLY_DONE);
			assert_int_equal(consumed, len);
			for (const char *at = out, *end; at < out + len; at = end + 1) {
				end = memchr(at, '\n', (size_t)(out + len - at));
				assert_in_range(end + 1 - at, 1, 512);
				assert_memory_equal(at + 4, "5.7.1 ", 6);
			}
		}
}

/* Wrapped at blanks, nothing is lost when there is room. */
static void test_wrap_keeps_words(void **state)
{
	static char text[3000], out[8192], joined[8192];
	size_t text_len = repeat(text, "some words ", 200, "end");
	size_t consumed;
	const char *why;

	(void)state;
	text[text_len] = '\0';
	size_t len = smtp_reply_format(out, sizeof out, 250, "", text, false);

	assert_int_equal(parse(out, len, &consumed, &why), SMTP_REPLY_DONE);
	assert_true(reply.line_count > 1);
	memcpy(joined, reply.text, reply.text_len + 1);
	for (char *at = joined; (at = strchr(at, '\n'));)
		*at = ' ';
	assert_string_equal(joined, text);
}

int main(void)
{
	/* clang-format off */
	static const struct CMUnitTest tests[] = {
		{ "R-SMTP-19 -20 U-02 good replies, split everywhere",  test_good,             NULL, NULL, NULL },
		{ "R-SMTP-19 U-01 broken replies",                      test_broken,           NULL, NULL, NULL },
		{ "R-SMTP-19 U-01 limits of lines",                     test_limits,           NULL, NULL, NULL },
		{ "R-SMTP-19 more text than is kept",                   test_much_text,        NULL, NULL, NULL },
		{ "R-SMTP-20 first line",                               test_first_line,       NULL, NULL, NULL },
		{ "R-SMTP-17 -30 -41 -42 EHLO offer",                   test_offer,            NULL, NULL, NULL },
		{ "R-SMTP-18 -20 U-02 replies to clients",              test_format,           NULL, NULL, NULL },
		{ "R-SMTP-18 lines of 512 octets",                      test_wrap,             NULL, NULL, NULL },
		{ "R-SMTP-18 wrapping loses no word",                   test_wrap_keeps_words, NULL, NULL, NULL },
	};
	/* clang-format on */

	return cmocka_run_group_tests(tests, NULL, NULL);
}
