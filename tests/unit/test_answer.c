/*
 * test_answer.c - hand-made DNS packets, good and hostile, against the parser (D-11, D-12, D-15,
 * D-17, D-18).
 */
#include "dnsval/answer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { IN = 1, CH = 3, RRSIG = 46, DNAME = 39, NSEC = 47 };
enum { NOERROR = 0, SERVFAIL = 2, NXDOMAIN = 3, REFUSED = 5 };
enum { INSECURE = 0, BOGUS = 1, SECURE = 2 };
enum { RECORDS = 6, PACKET_MAX = 65535 };

/* RDATA, with its length; a name in it is written as on the wire. */
#define RD(text) text, sizeof(text) - 1

#define MX1 "\3mx1\7example\0"
#define MX2 "\3mx2\7example\0"

struct record {
	const char *owner;
	int type, class;
	uint32_t ttl;
	const char *rdata;
	size_t len;
};

struct packet {
	size_t len;
	uint8_t data[PACKET_MAX];
};

/* ---- writing packets ---- */

static void put(struct packet *p, const void *data, size_t len)
{
	assert_true(len <= sizeof p->data - p->len);
	memcpy(p->data + p->len, data, len);
	p->len += len;
}

static void put16(struct packet *p, unsigned value)
{
	put(p, (uint8_t[]){(uint8_t)(value >> 8), (uint8_t)value}, 2);
}

static void put32(struct packet *p, uint32_t value)
{
	put16(p, value >> 16);
	put16(p, value & 0xffff);
}

/* "a.b" or ".": no compression, any octet but a dot. */
static void put_name(struct packet *p, const char *name)
{
	while (*name && strcmp(name, ".") != 0) {
		size_t len = strcspn(name, ".");

		put(p, (uint8_t[]){(uint8_t)len}, 1);
		put(p, name, len);
		name += name[len] ? len + 1 : len;
	}
	put(p, "", 1);
}

static void begin(struct packet *p, unsigned rcode, unsigned questions, unsigned answers)
{
	p->len = 0;
	put16(p, 0);
	put16(p, 0x8180 | rcode);
	put16(p, questions);
	put16(p, answers);
	put32(p, 0);
}

static void put_question(struct packet *p, const char *name, int type, int class)
{
	put_name(p, name);
	put16(p, (unsigned)type);
	put16(p, (unsigned)class);
}

static void put_record(struct packet *p, const struct record *r)
{
	put_name(p, r->owner);
	put16(p, (unsigned)r->type);
	put16(p, (unsigned)r->class);
	put32(p, r->ttl);
	put16(p, (unsigned)r->len);
	put(p, r->rdata, r->len);
}

/* A block of exactly its size, so that a sanitizer sees one octet read too far. */
static struct dns_answer *parse(
    const char *name, enum dns_type type, int sec, const struct packet *p)
{
	void *exact = malloc(p->len);

	memcpy(exact, p->data, p->len);
	struct dns_answer *answer = dns_answer_parse(name, type, 0, sec, exact, p->len, NULL);

	free(exact); /* nothing may point into it */
	return answer;
}

/* ---- the table ---- */

struct row {
	const char *title;
	const char *name;
	enum dns_type type;
	unsigned rcode;
	struct record records[RECORDS];
	enum dns_state state; /* asked with sec = 2: DNS_SECURE or DNS_FAILED */
	size_t count;
	bool via_cname, cut, nxdomain;
	uint32_t ttl;
	const char *end;   /* NULL: the question */
	const char *first; /* MX and CNAME: the first name */
	const char *why;
};

/* clang-format off */
static const struct row rows[] = {
	{ .title = "R-DNS-04 NODATA", .name = "example", .type = DNS_TLSA, .state = DNS_SECURE },
	{ .title = "R-DNS-04 NXDOMAIN", .name = "example", .type = DNS_TLSA, .rcode = NXDOMAIN,
	  .state = DNS_SECURE, .nxdomain = true },
	{ .title = "R-DNS-02 header SERVFAIL", .name = "example", .type = DNS_MX, .rcode = SERVFAIL,
	  .state = DNS_FAILED, .why = "error" },
	{ .title = "R-DNS-02 header REFUSED", .name = "example", .type = DNS_MX, .rcode = REFUSED,
	  .state = DNS_FAILED, .why = "REFUSED" },
	{ .title = "NXDOMAIN with data", .name = "example", .type = DNS_A, .rcode = NXDOMAIN,
	  .records = {{ "example", DNS_A, IN, 60, RD("\300\0\2\1") }}, .state = DNS_FAILED, .why = "NXDOMAIN" },
	{ .title = "one address", .name = "mx1.example", .type = DNS_A,
	  .records = {{ "mx1.example", DNS_A, IN, 60, RD("\300\0\2\1") }},
	  .state = DNS_SECURE, .count = 1, .ttl = 60 },
	{ .title = "owner in other letters", .name = "mx1.example", .type = DNS_A,
	  .records = {{ "MX1.eXample", DNS_A, IN, 60, RD("\300\0\2\1") }},
	  .state = DNS_SECURE, .count = 1, .ttl = 60 },
	{ .title = "a type without a reader", .name = "a.example", .type = DNS_NS,
	  .records = {{ "a.example", DNS_NS, IN, 60, RD(MX1) }, { "a.example", DNS_NS, IN, 50, RD(MX2) }},
	  .state = DNS_SECURE, .count = 2, .ttl = 50 },
	{ .title = "the root", .name = ".", .type = DNS_SOA,
	  .records = {{ ".", DNS_SOA, IN, 86400, RD("\0\0\0\0\0\1\0\0\0\1\0\0\0\1\0\0\0\1\0\0\0\1") }},
	  .state = DNS_SECURE, .count = 1, .ttl = 86400 },

	/* R-DNS-19, -20: what is no link and no data */
	{ .title = "R-DNS-20 RRSIG skipped", .name = "mx1.example", .type = DNS_A,
	  .records = {{ "mx1.example", DNS_A, IN, 60, RD("\300\0\2\1") },
		      { "mx1.example", RRSIG, IN, 5, RD("\0\1\10\2signature") }},
	  .state = DNS_SECURE, .count = 1, .ttl = 60 },
	{ .title = "R-DNS-19 DNAME skipped, its CNAME followed", .name = "a.old", .type = DNS_A,
	  .records = {{ "old", DNAME, IN, 10, RD("\3new\0") },
		      { "a.old", DNS_CNAME, IN, 50, RD("\1a\3new\0") },
		      { "a.new", DNS_A, IN, 60, RD("\300\0\2\1") }},
	  .state = DNS_SECURE, .count = 1, .via_cname = true, .ttl = 50, .end = "a.new" },
	{ .title = "R-DNS-20 records of other names and types", .name = "mx1.example", .type = DNS_A,
	  .records = {{ "evil.example", DNS_A, IN, 5, RD("\300\0\2\66") },
		      { "mx1.example", DNS_AAAA, IN, 5, RD("\40\1\15\270\0\0\0\0\0\0\0\0\0\0\0\1") },
		      { "mx1.example", DNS_A, IN, 60, RD("\300\0\2\1") }},
	  .state = DNS_SECURE, .count = 1, .ttl = 60 },
	{ .title = "R-DNS-20 class CH", .name = "mx1.example", .type = DNS_A,
	  .records = {{ "mx1.example", DNS_A, CH, 60, RD("\300\0\2\1") }}, .state = DNS_SECURE },
	{ .title = "R-DNS-21 an address in the answer to MX", .name = "example", .type = DNS_MX,
	  .records = {{ "example", DNS_MX, IN, 60, RD("\0\12" MX1) },
		      { "mx1.example", DNS_A, IN, 60, RD("\300\0\2\66") }},
	  .state = DNS_SECURE, .count = 1, .ttl = 60, .first = "mx1.example" },

	/* chains */
	{ .title = "chain, links in reverse", .name = "a", .type = DNS_A,
	  .records = {{ "c", DNS_A, IN, 60, RD("\300\0\2\1") },
		      { "b", DNS_CNAME, IN, 70, RD("\1c\0") },
		      { "a", DNS_CNAME, IN, 40, RD("\1b\0") }},
	  .state = DNS_SECURE, .count = 1, .via_cname = true, .ttl = 40, .end = "c" },
	{ .title = "chain to nothing", .name = "a", .type = DNS_TLSA, .rcode = NXDOMAIN,
	  .records = {{ "a", DNS_CNAME, IN, 40, RD("\1b\0") }},
	  .state = DNS_SECURE, .via_cname = true, .nxdomain = true, .end = "b" },
	{ .title = "D-10 loop", .name = "a", .type = DNS_A,
	  .records = {{ "a", DNS_CNAME, IN, 40, RD("\1b\0") }, { "b", DNS_CNAME, IN, 40, RD("\1a\0") }},
	  .state = DNS_FAILED, .why = "endless" },
	{ .title = "chain to no host name", .name = "a", .type = DNS_A,
	  .records = {{ "a", DNS_CNAME, IN, 40, RD("\3b c\0") }, { "b c", DNS_A, IN, 60, RD("\300\0\2\1") }},
	  .state = DNS_FAILED, .why = "no host name" },
	{ .title = "chain to the root", .name = "a", .type = DNS_A,
	  .records = {{ "a", DNS_CNAME, IN, 40, RD("\0") }}, .state = DNS_FAILED, .why = "no host name" },
	{ .title = "R-DNS-12 CNAME asked for", .name = "a.example", .type = DNS_CNAME,
	  .records = {{ "a.example", DNS_CNAME, IN, 40, RD(MX1) }},
	  .state = DNS_SECURE, .count = 1, .ttl = 40, .first = "mx1.example" },
	{ .title = "two CNAMEs of one name", .name = "a.example", .type = DNS_CNAME,
	  .records = {{ "a.example", DNS_CNAME, IN, 40, RD(MX1) }, { "a.example", DNS_CNAME, IN, 40, RD(MX2) }},
	  .state = DNS_FAILED, .why = "several" },

	/* TTL */
	{ .title = "D-17 TTL 2^31", .name = "a", .type = DNS_A,
	  .records = {{ "a", DNS_A, IN, 0x80000000, RD("\300\0\2\1") }}, .state = DNS_SECURE, .count = 1 },
	{ .title = "D-17 TTL 2^32-1", .name = "a", .type = DNS_A,
	  .records = {{ "a", DNS_A, IN, 0xffffffff, RD("\300\0\2\1") }}, .state = DNS_SECURE, .count = 1 },
	{ .title = "TTL 2^31-1", .name = "a", .type = DNS_A,
	  .records = {{ "a", DNS_A, IN, 0x7fffffff, RD("\300\0\2\1") }},
	  .state = DNS_SECURE, .count = 1, .ttl = 604800 },

	/* MX */
	{ .title = "R-DNS-25 ascending, equal ones in order", .name = "example", .type = DNS_MX,
	  .records = {{ "example", DNS_MX, IN, 60, RD("\0\24" MX2) },
		      { "example", DNS_MX, IN, 30, RD("\0\12" MX1) }},
	  .state = DNS_SECURE, .count = 2, .ttl = 30, .first = "mx1.example" },
	{ .title = "R-DNS-26 null MX", .name = "example", .type = DNS_MX,
	  .records = {{ "example", DNS_MX, IN, 60, RD("\0\0\0") }},
	  .state = DNS_SECURE, .count = 1, .ttl = 60, .first = "" },
	{ .title = "R-DNS-26 D-12 null MX beside a host", .name = "example", .type = DNS_MX,
	  .records = {{ "example", DNS_MX, IN, 60, RD("\0\0\0") }, { "example", DNS_MX, IN, 60, RD("\0\12" MX1) }},
	  .state = DNS_SECURE, .count = 1, .ttl = 60, .cut = true, .first = "mx1.example" },
	{ .title = "R-DNS-24 null MX twice is not absence", .name = "example", .type = DNS_MX,
	  .records = {{ "example", DNS_MX, IN, 60, RD("\0\0\0") }, { "example", DNS_MX, IN, 60, RD("\0\1\0") }},
	  .state = DNS_SECURE, .cut = true },
	{ .title = "D-11 address as exchange", .name = "example", .type = DNS_MX,
	  .records = {{ "example", DNS_MX, IN, 60, RD("\0\1\003192\0010\0012\0011\0") },
		      { "example", DNS_MX, IN, 60, RD("\0\12" MX1) }},
	  .state = DNS_SECURE, .count = 1, .ttl = 60, .cut = true, .first = "mx1.example" },
	{ .title = "D-11 localhost as exchange", .name = "example", .type = DNS_MX,
	  .records = {{ "example", DNS_MX, IN, 60, RD("\0\1\11localhost\0") },
		      { "example", DNS_MX, IN, 60, RD("\0\12" MX1) }},
	  .state = DNS_SECURE, .count = 1, .ttl = 60, .cut = true, .first = "mx1.example" },
	{ .title = "D-11 NUL in exchange", .name = "example", .type = DNS_MX,
	  .records = {{ "example", DNS_MX, IN, 60, RD("\0\1\5mx1\0x\7example\0") },
		      { "example", DNS_MX, IN, 60, RD("\0\12" MX1) }},
	  .state = DNS_SECURE, .count = 1, .ttl = 60, .cut = true, .first = "mx1.example" },
	{ .title = "D-11 space in exchange", .name = "example", .type = DNS_MX,
	  .records = {{ "example", DNS_MX, IN, 60, RD("\0\1\5mx1 x\7example\0") },
		      { "example", DNS_MX, IN, 60, RD("\0\12" MX1) }},
	  .state = DNS_SECURE, .count = 1, .ttl = 60, .cut = true, .first = "mx1.example" },
	{ .title = "D-11 dot inside a label", .name = "example", .type = DNS_MX,
	  .records = {{ "example", DNS_MX, IN, 60, RD("\0\1\5mx1.x\7example\0") },
		      { "example", DNS_MX, IN, 60, RD("\0\12" MX1) }},
	  .state = DNS_SECURE, .count = 1, .ttl = 60, .cut = true, .first = "mx1.example" },
	{ .title = "D-11 R-DNS-24 only an unusable exchange", .name = "example", .type = DNS_MX,
	  .records = {{ "example", DNS_MX, IN, 60, RD("\0\1\11localhost\0") }},
	  .state = DNS_SECURE, .cut = true },
	{ .title = "exchange in capitals", .name = "example", .type = DNS_MX,
	  .records = {{ "example", DNS_MX, IN, 60, RD("\0\12\3MX1\7EXAMPLE\0") }},
	  .state = DNS_SECURE, .count = 1, .ttl = 60, .first = "mx1.example" },

	/* malformed RDATA fails the answer */
	{ .title = "D-17 address of 3 octets", .name = "a", .type = DNS_A,
	  .records = {{ "a", DNS_A, IN, 60, RD("\300\0\2") }}, .state = DNS_FAILED, .why = "malformed" },
	{ .title = "D-17 address of 17 octets", .name = "a", .type = DNS_AAAA,
	  .records = {{ "a", DNS_AAAA, IN, 60, RD("\40\1\15\270\0\0\0\0\0\0\0\0\0\0\0\1\1") }},
	  .state = DNS_FAILED, .why = "malformed" },
	{ .title = "D-17 MX shorter than its name", .name = "a", .type = DNS_MX,
	  .records = {{ "a", DNS_MX, IN, 60, RD("\0\1\3m") }, { "a", DNS_MX, IN, 60, RD("\0\1" MX1) }},
	  .state = DNS_FAILED, .why = "malformed" },
	{ .title = "D-17 MX longer than its name", .name = "a", .type = DNS_MX,
	  .records = {{ "a", DNS_MX, IN, 60, RD("\0\1" MX1 "\0") }}, .state = DNS_FAILED, .why = "malformed" },
	{ .title = "D-17 MX of 2 octets", .name = "a", .type = DNS_MX,
	  .records = {{ "a", DNS_MX, IN, 60, RD("\0\1") }, { "a", DNS_MX, IN, 60, RD("\0\1" MX1) }},
	  .state = DNS_FAILED, .why = "malformed" },
	{ .title = "D-17 CNAME longer than its name", .name = "a", .type = DNS_A,
	  .records = {{ "a", DNS_CNAME, IN, 60, RD("\1b\0\0") }}, .state = DNS_FAILED, .why = "malformed" },
	{ .title = "D-17 compression pointer to itself", .name = "a", .type = DNS_MX,
	  .records = {{ "a", DNS_MX, IN, 60, RD("\0\1\300\42") }}, .state = DNS_FAILED, .why = "malformed" },
	{ .title = "TLSA of 2 octets", .name = "a", .type = DNS_TLSA,
	  .records = {{ "a", DNS_TLSA, IN, 60, RD("\3\1") }}, .state = DNS_FAILED, .why = "malformed" },
	{ .title = "T-17 TLSA without data is somebody else's to judge", .name = "a", .type = DNS_TLSA,
	  .records = {{ "a", DNS_TLSA, IN, 60, RD("\3\1\1") }}, .state = DNS_SECURE, .count = 1, .ttl = 60 },
	{ .title = "D-17 TXT string overruns", .name = "a", .type = DNS_TXT,
	  .records = {{ "a", DNS_TXT, IN, 60, RD("\5v=S") }}, .state = DNS_FAILED, .why = "malformed" },
	{ .title = "TXT without a string", .name = "a", .type = DNS_TXT,
	  .records = {{ "a", DNS_TXT, IN, 60, RD("") }}, .state = DNS_FAILED, .why = "empty" },
};
/* clang-format on */

static size_t record_count(const struct row *row)
{
	size_t count = 0;

	while (count < RECORDS && row->records[count].owner)
		count++;
	return count;
}

static void write_row(struct packet *p, const struct row *row)
{
	begin(p, row->rcode, 1, (unsigned)record_count(row));
	put_question(p, row->name, (int)row->type, IN);
	for (size_t i = 0; i < record_count(row); i++)
		put_record(p, &row->records[i]);
}

static void check_failed(const struct dns_answer *answer)
{
	assert_int_equal(answer->state, DNS_FAILED);
	assert_int_equal(answer->count, 0);
	assert_false(answer->nxdomain);
	assert_false(answer->via_cname);
	assert_string_equal(answer->name, answer->question);
}

static void check_row(const struct row *row, const struct dns_answer *answer)
{
	if (row->state == DNS_FAILED) {
		check_failed(answer);
		assert_non_null(strstr(answer->why, row->why));
		return;
	}
	assert_int_equal(answer->state, row->state);
	assert_int_equal(answer->count, row->count);
	assert_int_equal(answer->via_cname, row->via_cname);
	assert_int_equal(answer->cut, row->cut);
	assert_int_equal(answer->nxdomain, row->nxdomain);
	assert_int_equal(answer->ttl, row->ttl);
	assert_string_equal(answer->question, row->name);
	assert_string_equal(answer->name, row->end ? row->end : row->name);
	if (row->first)
		assert_string_equal(
		    row->type == DNS_MX ? answer->mx[0].exchange : answer->names[0], row->first);
}

static void test_rows(void **state)
{
	struct packet *p = malloc(sizeof *p);

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		write_row(p, &rows[i]);
		struct dns_answer *answer = parse(rows[i].name, rows[i].type, SECURE, p);

		print_message("  %s: %s\n", rows[i].title, answer->why);
		check_row(&rows[i], answer);
		dns_answer_free(&answer);
		assert_null(answer);
	}
	free(p);
}

/* Each good packet cut anywhere is a failure, never a smaller answer. */
static void test_truncated(void **state)
{
	struct packet *p = malloc(sizeof *p);

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		write_row(p, &rows[i]);
		while (p->len-- > 0) {
			struct dns_answer *answer = parse(rows[i].name, rows[i].type, SECURE, p);

			check_failed(answer);
			dns_answer_free(&answer);
			if (p->len == 0)
				break;
		}
	}
	free(p);
}

/* ---- the verdict ---- */

static void test_verdict(void **state)
{
	/* clang-format off */
	static const struct {
		int rcode, sec;
		unsigned header;
		enum dns_state state;
		bool bogus;
	} verdicts[] = {
		{ NOERROR,  SECURE,   NOERROR,  DNS_SECURE,   false },
		{ NOERROR,  SECURE,   NXDOMAIN, DNS_SECURE,   false },
		{ NOERROR,  INSECURE, NOERROR,  DNS_INSECURE, false },
		{ NOERROR,  INSECURE, NXDOMAIN, DNS_INSECURE, false },
		{ NOERROR,  BOGUS,    NOERROR,  DNS_FAILED,   true },
		{ NOERROR,  BOGUS,    NXDOMAIN, DNS_FAILED,   true },
		{ SERVFAIL, INSECURE, NOERROR,  DNS_FAILED,   false },
		{ SERVFAIL, SECURE,   NOERROR,  DNS_FAILED,   false },
		{ REFUSED,  INSECURE, NOERROR,  DNS_FAILED,   false },
		{ NXDOMAIN, INSECURE, NXDOMAIN, DNS_FAILED,   false },
		{ -1,       INSECURE, NOERROR,  DNS_FAILED,   false },
		{ 99,       SECURE,   NOERROR,  DNS_FAILED,   false },
		{ NOERROR,  3,        NOERROR,  DNS_FAILED,   false },
		{ NOERROR,  -1,       NOERROR,  DNS_FAILED,   false },
		{ NOERROR,  SECURE,   SERVFAIL, DNS_FAILED,   false },
		{ NOERROR,  INSECURE, REFUSED,  DNS_FAILED,   false },
	};
	/* clang-format on */
	struct packet *p = malloc(sizeof *p);

	(void)state;
	for (size_t i = 0; i < sizeof verdicts / sizeof verdicts[0]; i++) {
		begin(p, verdicts[i].header, 1, 0);
		put_question(p, "example", DNS_TLSA, IN);
		struct dns_answer *answer = dns_answer_parse("example", DNS_TLSA, verdicts[i].rcode,
		    verdicts[i].sec, p->data, p->len, "validation failure");

		assert_int_equal(answer->state, verdicts[i].state);
		assert_int_equal(answer->bogus, verdicts[i].bogus);
		assert_int_equal(answer->nxdomain,
		    answer->state != DNS_FAILED && verdicts[i].header == NXDOMAIN);
		assert_int_equal(answer->why[0] != '\0', answer->state == DNS_FAILED);
		dns_answer_free(&answer);
	}
	free(p);
}

/* D-01: the library hands over what it found bogus. */
static void test_bogus_data(void **state)
{
	struct packet *p = malloc(sizeof *p);

	(void)state;
	begin(p, NOERROR, 1, 1);
	put_question(p, "example", DNS_MX, IN);
	put_record(p, &(struct record){"example", DNS_MX, IN, 60, RD("\0\12" MX1)});
	struct dns_answer *answer = dns_answer_parse(
	    "example", DNS_MX, 0, BOGUS, p->data, p->len, "signature expired from 192.0.2.1");

	check_failed(answer);
	assert_true(answer->bogus);
	assert_string_equal(answer->why, "signature expired from 192.0.2.1");
	dns_answer_free(&answer);
	free(p);
}

/* ---- header and question ---- */

static void test_header(void **state)
{
	/* clang-format off */
	static const struct {
		const char *title;
		unsigned flags, questions;
		const char *name;
		int type, class;
	} headers[] = {
		{ "no response",     0x0100, 1, "example", DNS_MX,   IN },
		{ "truncated",       0x8380, 1, "example", DNS_MX,   IN },
		{ "another opcode",  0xa180, 1, "example", DNS_MX,   IN },
		{ "no question",     0x8180, 0, "example", DNS_MX,   IN },
		{ "two questions",   0x8180, 2, "example", DNS_MX,   IN },
		{ "another name",    0x8180, 1, "other",   DNS_MX,   IN },
		{ "a longer name",   0x8180, 1, "example.example", DNS_MX, IN },
		{ "another type",    0x8180, 1, "example", DNS_TLSA, IN },
		{ "another class",   0x8180, 1, "example", DNS_MX,   CH },
	};
	/* clang-format on */
	struct packet *p = malloc(sizeof *p);

	(void)state;
	for (size_t i = 0; i < sizeof headers / sizeof headers[0]; i++) {
		begin(p, 0, headers[i].questions, 0);
		p->data[2] = (uint8_t)(headers[i].flags >> 8);
		p->data[3] = (uint8_t)headers[i].flags;
		for (unsigned q = 0; q < headers[i].questions; q++)
			put_question(p, headers[i].name, headers[i].type, headers[i].class);
		struct dns_answer *answer = parse("example", DNS_MX, SECURE, p);

		print_message("  %s: %s\n", headers[i].title, answer->why);
		check_failed(answer);
		dns_answer_free(&answer);
	}
	free(p);
}

static void test_no_packet(void **state)
{
	(void)state;
	struct dns_answer *answer = dns_answer_parse("a", DNS_A, 0, SECURE, NULL, 0, NULL);

	check_failed(answer);
	dns_answer_free(&answer);
	static const uint8_t big[70000];

	answer = dns_answer_parse("a", DNS_A, 0, SECURE, big, sizeof big, NULL);
	check_failed(answer);
	dns_answer_free(&answer);
}

/* The answer section counts more records than there are, and the other way round. */
static void test_counts(void **state)
{
	struct packet *p = malloc(sizeof *p);

	(void)state;
	for (unsigned claimed = 0; claimed < 4; claimed += 2) {
		begin(p, 0, 1, claimed);
		put_question(p, "a", DNS_A, IN);
		put_record(p, &(struct record){"a", DNS_A, IN, 60, RD("\300\0\2\1")});
		struct dns_answer *answer = parse("a", DNS_A, SECURE, p);

		check_failed(answer);
		dns_answer_free(&answer);
	}
	free(p);
}

/* R-DNS-21: authority and additional records of the very name and type asked for. */
static void test_other_sections(void **state)
{
	struct packet *p = malloc(sizeof *p);

	(void)state;
	begin(p, 0, 1, 0);
	p->data[9] = p->data[11] = 1;
	put_question(p, "a", DNS_A, IN);
	for (int i = 0; i < 2; i++)
		put_record(p, &(struct record){"a", DNS_A, IN, 60, RD("\300\0\2\1")});
	struct dns_answer *answer = parse("a", DNS_A, INSECURE, p);

	assert_int_equal(answer->state, DNS_INSECURE);
	assert_int_equal(answer->count, 0);
	dns_answer_free(&answer);
	free(p);
}

/* ---- many and large ---- */

static void put_many(
    struct packet *p, enum dns_type type, unsigned count, void (*write)(struct packet *, unsigned))
{
	begin(p, 0, 1, count);
	put_question(p, "a", (int)type, IN);
	for (unsigned i = 0; i < count; i++) {
		put_name(p, "a");
		put16(p, type);
		put16(p, IN);
		put32(p, 60);
		size_t at = p->len;

		put16(p, 0);
		write(p, i);
		p->data[at] = (uint8_t)((p->len - at - 2) >> 8);
		p->data[at + 1] = (uint8_t)(p->len - at - 2);
	}
}

/* The worst first, as an attacker who wants to push out the best would. */
static void write_mx(struct packet *p, unsigned i)
{
	char name[32];

	put16(p, 1000 - i);
	snprintf(name, sizeof name, "mx%u.example", i);
	put_name(p, name);
}

static void write_tlsa(struct packet *p, unsigned i)
{
	put(p, (uint8_t[]){3, 1, 1}, 3);
	put32(p, i);
}

static void write_large_tlsa(struct packet *p, unsigned i)
{
	static const uint8_t large[640];

	put(p, (uint8_t[]){3, 0, 0}, 3);
	put(p, large, i < 99 ? 640 : 300);
}

static void write_address(struct packet *p, unsigned i) { put32(p, 0xc0000200 + i); }

static void write_text(struct packet *p, unsigned i)
{
	char text[8];

	snprintf(text, sizeof text, "%c%02u%cz", 2, i, 1);
	put(p, text, 5);
}

static void test_many(void **state)
{
	struct packet *p = malloc(sizeof *p);
	struct dns_answer *answer;

	(void)state;
	put_many(p, DNS_MX, 300, write_mx);
	answer = parse("a", DNS_MX, SECURE, p);
	assert_int_equal(answer->state, DNS_SECURE);
	assert_int_equal(answer->count, DNS_MX_MAX);
	assert_true(answer->cut);
	assert_string_equal(answer->mx[0].exchange, "mx299.example");
	assert_int_equal(answer->mx[DNS_MX_MAX - 1].preference, 1000 - 299 + DNS_MX_MAX - 1);
	dns_answer_free(&answer);

	put_many(p, DNS_A, 41, write_address);
	answer = parse("a", DNS_A, SECURE, p);
	assert_int_equal(answer->count, DNS_ADDR_MAX);
	assert_true(answer->cut);
	assert_int_equal(ntohl(answer->addresses[39].in.sin_addr.s_addr), 0xc0000200 + 39);
	dns_answer_free(&answer);

	put_many(p, DNS_TXT, 21, write_text);
	answer = parse("a", DNS_TXT, SECURE, p);
	assert_int_equal(answer->count, DNS_TXT_MAX);
	assert_true(answer->cut);
	assert_int_equal(answer->text[7].len, 3);
	assert_memory_equal(answer->text[7].data, "07z", 3);
	dns_answer_free(&answer);
	free(p);
}

/* R-DNS-30: truncation could leave only the records that do not match. */
static void test_many_tlsa(void **state)
{
	struct packet *p = malloc(sizeof *p);
	struct dns_answer *answer;

	(void)state;
	put_many(p, DNS_TLSA, DNS_TLSA_MAX, write_tlsa);
	answer = parse("a", DNS_TLSA, SECURE, p);
	assert_int_equal(answer->count, DNS_TLSA_MAX);
	assert_false(answer->cut);
	for (unsigned i = 0; i < DNS_TLSA_MAX; i++) {
		assert_int_equal(answer->tlsa[i].len, 4);
		assert_int_equal(answer->tlsa[i].data[3], i);
	}
	dns_answer_free(&answer);
	put_many(p, DNS_TLSA, DNS_TLSA_MAX, write_large_tlsa);
	answer = parse("a", DNS_TLSA, SECURE, p);
	assert_int_equal(answer->count, DNS_TLSA_MAX);
	dns_answer_free(&answer);
	for (unsigned count = DNS_TLSA_MAX + 1; count <= 1000; count += 899) {
		put_many(p, DNS_TLSA, count, write_tlsa);
		answer = parse("a", DNS_TLSA, SECURE, p);
		check_failed(answer);
		assert_true(answer->excess);
		assert_string_equal(answer->why, "there are too many TLSA records, more than 100");
		dns_answer_free(&answer);
	}
	free(p);
}

static void test_texts(void **state)
{
	struct packet *p = malloc(sizeof *p);

	(void)state;
	begin(p, 0, 1, 2);
	put_question(p, "a", DNS_TXT, IN);
	put_record(p, &(struct record){"a", DNS_TXT, IN, 9, RD("\6v=STSv\0\5\61; i\0")});
	put_record(p, &(struct record){"a", DNS_TXT, IN, 9, RD("\0")});
	struct dns_answer *answer = parse("a", DNS_TXT, SECURE, p);

	assert_int_equal(answer->count, 2);
	assert_int_equal(answer->text[0].len, 11);
	assert_memory_equal(answer->text[0].data, "v=STSv1; i\0", 11);
	assert_int_equal(answer->text[1].len, 0);
	dns_answer_free(&answer);
	free(p);
}

/* 253 octets of text are a name, one label more is none; the exchange is skipped, not cut short. */
static void test_long_exchange(void **state)
{
	struct packet *p = malloc(sizeof *p);
	char name[400] = "";

	(void)state;
	for (int i = 0; i < 126; i++)
		strcat(name, i ? ".a" : "aa");
	assert_int_equal(strlen(name), 252);
	for (int longer = 0; longer < 2; longer++) {
		struct packet *rdata = malloc(sizeof *rdata);

		rdata->len = 0;
		put16(rdata, 10);
		put_name(rdata, name);
		begin(p, 0, 1, 1);
		put_question(p, "a", DNS_MX, IN);
		put_record(
		    p, &(struct record){"a", DNS_MX, IN, 60, (char *)rdata->data, rdata->len});
		struct dns_answer *answer = parse("a", DNS_MX, SECURE, p);

		assert_int_equal(answer->state, longer ? DNS_FAILED : DNS_SECURE);
		dns_answer_free(&answer);
		free(rdata);
		strcat(name, ".aa");
	}
	free(p);
}

static void test_mapped_address(void **state)
{
	struct packet *p = malloc(sizeof *p);

	(void)state;
	begin(p, 0, 1, 1);
	put_question(p, "a", DNS_AAAA, IN);
	put_record(p,
	    &(struct record){"a", DNS_AAAA, IN, 9, RD("\0\0\0\0\0\0\0\0\0\0\377\377\177\0\0\1")});
	struct dns_answer *answer = parse("a", DNS_AAAA, SECURE, p);

	assert_int_equal(answer->count, 1);
	assert_int_equal(answer->addresses[0].sa.sa_family, AF_INET);
	assert_int_equal(addr_classify(&answer->addresses[0]), ADDR_SPECIAL);
	dns_answer_free(&answer);
	free(p);
}

#define SOA(minimum)                                                                               \
	"\0\0"                                                                                     \
	"\0\0\0\1\0\0\0\1\0\0\0\1\0\0\0\1" minimum

/* RFC 2308 section 5: the SOA record tells how long there is nothing, by its TTL or its last field.
 */
static void test_absence(void **state)
{
	static const struct {
		struct record chain, authority;
		uint32_t ttl;
	} cases[] = {
	    {{0}, {"example", DNS_SOA, IN, 900, RD(SOA("\0\0\0\74"))}, 60},
	    {{0}, {"example", DNS_SOA, IN, 30, RD(SOA("\0\0\0\74"))}, 30},
	    {{"a.example", DNS_CNAME, IN, 7, RD(MX1)},
		{"example", DNS_SOA, IN, 900, RD(SOA("\0\0\0\74"))}, 7},
	    {{0}, {"example", DNS_SOA, IN, 900, RD(SOA("\200\0\0\0"))}, 0},
	    {{0}, {"example", DNS_SOA, IN, 900, RD("\0\0\0\0")}, 0},
	    {{0}, {"example", DNS_NS, IN, 900, RD(MX1)}, 0},
	    {{"a.example", DNS_CNAME, IN, 7, RD(MX1)}, {"example", DNS_NS, IN, 9, RD(MX2)}, 0},
	};
	static struct packet p;

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		bool has_chain = cases[i].chain.owner != NULL;

		begin(&p, 0, 1, has_chain);
		p.data[9] = 1; /* NSCOUNT */
		put_question(&p, "a.example", DNS_AAAA, IN);
		if (has_chain)
			put_record(&p, &cases[i].chain);
		put_record(&p, &cases[i].authority);
		struct dns_answer *answer = parse("a.example", DNS_AAAA, 2, &p);

		assert_int_equal(answer->state, DNS_SECURE);
		assert_int_equal(answer->count, 0);
		assert_int_equal(answer->ttl, cases[i].ttl);
		dns_answer_free(&answer);
	}
}

static void test_names(void **state)
{
	enum dns_type type;

	(void)state;
	assert_true(dns_type_from_name(&type, "tlsa"));
	assert_int_equal(type, DNS_TLSA);
	assert_string_equal(dns_type_name(type), "TLSA");
	assert_false(dns_type_from_name(&type, "RRSIG"));
	assert_false(dns_type_from_name(&type, ""));
	assert_string_equal(dns_state_name(DNS_SECURE), "secure");
	assert_string_equal(dns_state_name(DNS_INSECURE), "insecure");
	assert_string_equal(dns_state_name(DNS_FAILED), "failed");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    {"R-DNS-19 R-DNS-20 R-DNS-24 R-DNS-26 D-11 D-17: packets", test_rows, 0, 0, 0},
	    {"D-17: packets cut anywhere fail", test_truncated, 0, 0, 0},
	    {"R-DNS-01 R-DNS-02 R-DNS-04: one of five results", test_verdict, 0, 0, 0},
	    {"D-01: bogus data is no data", test_bogus_data, 0, 0, 0},
	    {"D-17: header and question", test_header, 0, 0, 0},
	    {"R-DNS-02: no packet, too large a packet", test_no_packet, 0, 0, 0},
	    {"D-17: wrong record counts", test_counts, 0, 0, 0},
	    {"R-DNS-21 D-18: other sections", test_other_sections, 0, 0, 0},
	    {"R-DNS-30 D-15: 300 MX, 41 addresses, 21 TXT", test_many, 0, 0, 0},
	    {"R-DNS-30 D-15: 100 TLSA, 101, 1000", test_many_tlsa, 0, 0, 0},
	    {"TXT: strings joined, any octet", test_texts, 0, 0, 0},
	    {"D-11: exchange of 254 octets", test_long_exchange, 0, 0, 0},
	    {"RFC 2308: how long there is nothing", test_absence, 0, 0, 0},
	    {"D-13: IPv4-mapped address", test_mapped_address, 0, 0, 0},
	    {"names of types and states", test_names, 0, 0, 0},
	};

	return cmocka_run_group_tests_name("answer", tests, NULL, NULL);
}
