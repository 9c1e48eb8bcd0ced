/*
 * test_proxy_header.c - proxy/intercept/proxy_header.h: whom a load balancer may name, and how.
 */
#include "proxy/intercept/proxy_header.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#define COUNT(a)       (sizeof(a) / sizeof *(a))
#define SIGNATURE      "\r\n\r\n\0\r\nQUIT\n"
#define TCP4_ADDRESSES "\x0a\x01\x02\x03\xc0\x00\x02\x01\x30\x39\x00\x19"
#define TCP6_ADDRESSES                                                                             \
	"\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x02\x30" \
	"\x39\x00\x19"
#define TEXT(t) t, sizeof(t) - 1

static const struct {
	const char *text;
	size_t len;
	const char *source; /* "": the connection speaks for itself */
} good[] = {
    {TEXT("PROXY TCP4 10.1.2.3 192.0.2.1 12345 25\r\n"), "[10.1.2.3]:12345"},
    {TEXT("PROXY TCP6 2001:db8::1 2001:db8::2 0 65535\r\n"), "[2001:db8::1]:0"},
    {TEXT("PROXY TCP6 ::ffff:10.1.2.3 ::1 12345 25\r\n"), "[10.1.2.3]:12345"},
    {TEXT("PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
	  "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n"),
	"[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535"},
    {TEXT("PROXY UNKNOWN\r\n"), ""},
    {TEXT("PROXY UNKNOWN ffff::1 whatever\r\n"), ""},
    {TEXT(SIGNATURE "\x21\x11\x00\x0c" TCP4_ADDRESSES), "[10.1.2.3]:12345"},
    {TEXT(SIGNATURE "\x21\x11\x00\x10" TCP4_ADDRESSES "\x04\x00\x01\x00"), "[10.1.2.3]:12345"},
    {TEXT(SIGNATURE "\x21\x21\x00\x24" TCP6_ADDRESSES), "[2001:db8::1]:12345"},
    {TEXT(SIGNATURE "\x20\x00\x00\x00"), ""},
    {TEXT(SIGNATURE "\x20\x11\x00\x0c" TCP4_ADDRESSES), ""},
    {TEXT(SIGNATURE "\x21\x00\x00\x02xx"), ""},
};

/* Octet by octet: each beginning wants more, and what follows is not touched. */
static void whole_and_in_pieces(void **unused)
{
	struct proxy_header header;
	const char *why;
	char data[256], text[ADDR_TEXT];

	(void)unused;
	for (size_t i = 0; i < COUNT(good); i++) {
		snprintf(data, sizeof data, "%s", "");
		memcpy(data, good[i].text, good[i].len);
		memcpy(data + good[i].len, "EHLO a\r\n", 8);
		for (size_t len = 0; len < good[i].len; len++)
			assert_int_equal(
			    proxy_header_parse(data, len, &header, &why), PROXY_HEADER_MORE);
		for (size_t more = 0; more <= 8; more++) {
			assert_int_equal(
			    proxy_header_parse(data, good[i].len + more, &header, &why),
			    PROXY_HEADER_DONE);
			assert_int_equal(header.len, good[i].len);
			assert_int_equal(header.has_source, good[i].source[0] != '\0');
			if (header.has_source)
				assert_string_equal(
				    addr_bracketed(&header.source, text), good[i].source);
		}
	}
}

static const struct {
	const char *text;
	size_t len;
} bad[] = {
    {TEXT("EHLO a\r\n")},
    {TEXT("proxy TCP4 10.1.2.3 192.0.2.1 12345 25\r\n")},
    {TEXT("PROXY  TCP4 10.1.2.3 192.0.2.1 12345 25\r\n")},
    {TEXT("PROXY TCP4 10.1.2.3 192.0.2.1 12345\r\n")},
    {TEXT("PROXY TCP4 10.1.2.3 192.0.2.1 12345 25 \r\n")},
    {TEXT("PROXY TCP4 10.1.2.3 192.0.2.1 12345 25 1\r\n")},
    {TEXT("PROXY TCP4 10.1.2.3 192.0.2.1 12345 65536\r\n")},
    {TEXT("PROXY TCP4 10.1.2.3 192.0.2.1 012345 25\r\n")},
    {TEXT("PROXY TCP4 10.1.2.3 192.0.2.1 -1 25\r\n")},
    {TEXT("PROXY TCP4 10.1.2 192.0.2.1 12345 25\r\n")},
    {TEXT("PROXY TCP4 10.1.2.3\0 192.0.2.1 12345 25\r\n")},
    {TEXT("PROXY TCP4 2001:db8::1 2001:db8::2 12345 25\r\n")},
    {TEXT("PROXY TCP6 10.1.2.3 192.0.2.1 12345 25\r\n")},
    {TEXT("PROXY TCP6 [2001:db8::1] 2001:db8::2 12345 25\r\n")},
    {TEXT("PROXY UDP4 10.1.2.3 192.0.2.1 12345 25\r\n")},
    {TEXT("PROXY UNKNOWNS\r\n")},
    {TEXT("PROXY UNKNOWN a\nb\r\n")},
    {TEXT("PROXY TCP4 10.1.2.3\n")},
    {TEXT("PROXY \r\n")},
    {TEXT("PROXY TCP4 10.1.2.3 192.0.2.1 12345 25\n\r\n")},
    {TEXT("PROXY UNKNOWN "
	  "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	  "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n")},
    {TEXT(SIGNATURE "\x11\x11\x00\x0c" TCP4_ADDRESSES)},
    {TEXT(SIGNATURE "\x22\x11\x00\x0c" TCP4_ADDRESSES)},
    {TEXT(SIGNATURE "\x21\x12\x00\x0c" TCP4_ADDRESSES)},
    {TEXT(SIGNATURE "\x21\x31\x00\x0c" TCP4_ADDRESSES)},
    {TEXT(SIGNATURE "\x21\x11\x00\x0b" TCP4_ADDRESSES)},
    {TEXT(SIGNATURE "\x21\x21\x00\x0c" TCP4_ADDRESSES)},
    {TEXT(SIGNATURE "\x21\x11\x10\x01" TCP4_ADDRESSES)},
    {TEXT("\r\n\r\n\0\r\nQUIT\r")},
};

static void refused(void **unused)
{
	(void)unused;
	for (size_t i = 0; i < COUNT(bad); i++) {
		struct proxy_header header;
		const char *why = NULL;

		if (proxy_header_parse(bad[i].text, bad[i].len, &header, &why) != PROXY_HEADER_BAD)
			fail_msg("%zu is taken: %s", i, bad[i].text);
		assert_non_null(why);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    {"R-NET-12: good headers, in any pieces", whole_and_in_pieces, NULL, NULL, NULL},
	    {"R-NET-12: all else is refused", refused, NULL, NULL, NULL},
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
