/*
 * answer.c - from a wire-format DNS answer to plain data (RFC 1035, RFC 2181, RFC 6698).
 *
 * Everything in the packet may come from an attacker. glibc's parser reads it; what that parser
 * does not check is checked here: the question, the class, lengths inside RDATA, TTLs, and that a
 * name is one we may ask for again. Only records on the CNAME chain of the question count
 * (R-DNS-20). Whatever is wrong makes the whole answer DNS_FAILED, never a smaller answer: a TLSA
 * record that got lost in parsing would be a downgrade. Called by lookup.c.
 */
#include "dnsval/answer.h"

#include "conf/mem.h"
#include "dnsval/rdata.h"

#include <arpa/nameser.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum {
	CHAIN_MAX = 16,
	TTL_MAX = 604800,
	SOA_LEAST = 22, /* octets of its data: two names, five numbers */
};

/* What callers see, and the octets that its TLSA and TXT records point into. */
struct owner {
	struct dns_answer answer; /* first: callers hold a pointer to it */
	struct rdata_store store;
};

struct reader {
	struct dns_answer *answer;
	ns_msg msg;
	char name[NS_MAXDNAME]; /* the owner we look for */
	uint32_t ttl;
};

/* ---- header and question ---- */

static const char *check_header(ns_msg *msg)
{
	int rcode = ns_msg_getflag(*msg, ns_f_rcode);

	if (!ns_msg_getflag(*msg, ns_f_qr) || ns_msg_getflag(*msg, ns_f_opcode) != ns_o_query)
		return "the answer is no answer to a query";
	if (ns_msg_getflag(*msg, ns_f_tc))
		return "the answer is truncated";
	if (rcode == ns_r_refused)
		return "REFUSED";
	if (rcode != ns_r_noerror && rcode != ns_r_nxdomain)
		return "the answer is an error";
	return NULL;
}

static const char *check_question(struct reader *r)
{
	ns_rr rr;

	if (ns_msg_count(r->msg, ns_s_qd) != 1 || ns_parserr(&r->msg, ns_s_qd, 0, &rr) < 0)
		return "the answer does not repeat one question";
	if (strcasecmp(ns_rr_name(rr), r->answer->question) != 0 ||
	    (int)ns_rr_type(rr) != (int)r->answer->type || ns_rr_class(rr) != ns_c_in)
		return "the answer is to another question";
	snprintf(r->name, sizeof r->name, "%s", ns_rr_name(rr));
	return NULL;
}

/* ---- the chain ---- */

/* RFC 2181 section 8: a TTL with the top bit set is zero. */
static void lower_ttl(struct reader *r, uint32_t ttl)
{
	ttl = ttl > INT32_MAX ? 0 : ttl;
	if (ttl < r->ttl)
		r->ttl = ttl;
}

static bool is_wanted(const struct reader *r, const ns_rr *rr, int type)
{
	return ns_rr_class(*rr) == ns_c_in && (int)ns_rr_type(*rr) == type &&
	       strcasecmp(ns_rr_name(*rr), r->name) == 0;
}

static struct rdata rdata_of(const struct reader *r, const ns_rr *rr)
{
	return (struct rdata){
	    .data = ns_rr_rdata(*rr),
	    .len = ns_rr_rdlen(*rr),
	    .packet = ns_msg_base(r->msg),
	    .packet_end = ns_msg_end(r->msg),
	};
}

/* One link from r->name. Order in the answer section is not relied on: a missed link hides data. */
static const char *follow_link(struct reader *r, bool *followed)
{
	char target[NS_MAXDNAME];
	ns_rr rr;

	*followed = false;
	for (int i = 0; i < ns_msg_count(r->msg, ns_s_an); i++) {
		if (ns_parserr(&r->msg, ns_s_an, i, &rr) < 0)
			return "the answer cannot be parsed";
		if (!is_wanted(r, &rr, ns_t_cname))
			continue;
		struct rdata rdata = rdata_of(r, &rr);

		if (!rdata_expand(&rdata, 0, target))
			return "the answer has a malformed CNAME";
		lower_ttl(r, ns_rr_ttl(rr));
		snprintf(r->name, sizeof r->name, "%s", target);
		*followed = true;
		return NULL;
	}
	return NULL;
}

static const char *follow_chain(struct reader *r)
{
	struct dns_answer *answer = r->answer;
	const char *wrong = NULL;
	bool followed = answer->type != DNS_CNAME;

	for (int links = 0; !wrong && followed; links++) {
		if (links > CHAIN_MAX)
			return "the CNAME chain is endless";
		wrong = follow_link(r, &followed);
		if (followed)
			answer->via_cname = true;
	}
	/* The end of the chain becomes a question, a TLSA base domain, a name to verify. */
	if (!wrong && answer->via_cname &&
	    !domain_normalize(answer->name, r->name, strlen(r->name)))
		return "the CNAME leads to what is no host name";
	return wrong;
}

/* ---- the records ---- */

static const char *take_records(struct reader *r, struct rdata_store *store)
{
	struct dns_answer *answer = r->answer;
	const struct rdata_kind *kind = rdata_kind(answer->type);
	const char *wrong = NULL;
	struct rdata rdata;
	ns_rr rr;

	if (kind->max > 0)
		answer->addresses = mem_zero(kind->max, kind->size); /* or whichever member it is */
	for (int i = 0; !wrong && i < ns_msg_count(r->msg, ns_s_an); i++) {
		if (ns_parserr(&r->msg, ns_s_an, i, &rr) < 0)
			return "the answer cannot be parsed";
		if (!is_wanted(r, &rr, (int)answer->type))
			continue;
		rdata = rdata_of(r, &rr);
		lower_ttl(r, ns_rr_ttl(rr));
		wrong = kind->add(store, &rdata);
	}
	if (!wrong && answer->type == DNS_MX)
		rdata_finish_mx(answer);
	return wrong; /* cppcheck-suppress returnDanglingLifetime ; the words are constants */
}

/* How long nothing stays nothing (RFC 2308 section 5): the SOA record's TTL, or its last field. */
static const char *read_absence(struct reader *r)
{
	bool found = false;
	ns_rr rr;

	for (int i = 0; i < ns_msg_count(r->msg, ns_s_ns); i++) {
		if (ns_parserr(&r->msg, ns_s_ns, i, &rr) < 0)
			return "the answer cannot be parsed";
		if (ns_rr_type(rr) != ns_t_soa || ns_rr_rdlen(rr) < SOA_LEAST)
			continue;
		lower_ttl(r, ns_rr_ttl(rr));
		lower_ttl(r, ns_get32(ns_rr_rdata(rr) + ns_rr_rdlen(rr) - NS_INT32SZ));
		found = true;
	}
	if (!found)
		r->ttl = 0;
	return NULL;
}

static const char *read_packet(struct owner *owner, const void *packet, size_t len)
{
	struct dns_answer *answer = &owner->answer;
	struct reader r = {.answer = answer, .ttl = TTL_MAX};
	const char *wrong;

	owner->store = (struct rdata_store){.answer = answer, .size = len};
	if (!packet || len > NS_MAXMSG || ns_initparse(packet, (int)len, &r.msg) < 0)
		return "the answer cannot be parsed";
	if ((wrong = check_header(&r.msg)) || (wrong = check_question(&r)) ||
	    (wrong = follow_chain(&r)) || (wrong = take_records(&r, &owner->store)))
		return wrong;
	answer->nxdomain = ns_msg_getflag(r.msg, ns_f_rcode) == ns_r_nxdomain;
	if (answer->nxdomain && answer->count > 0)
		return "the answer says NXDOMAIN and has data";
	if (answer->count == 0 && (wrong = read_absence(&r)))
		return wrong;
	answer->ttl = r.ttl;
	return NULL;
}

/* ---- making answers ---- */

static struct owner *new_owner(const char *question, enum dns_type type)
{
	struct owner *owner = mem_zero(1, sizeof *owner);
	struct dns_answer *answer = &owner->answer;

	answer->type = type;
	answer->state = DNS_FAILED;
	snprintf(answer->question, sizeof answer->question, "%s", question);
	snprintf(answer->name, sizeof answer->name, "%s", question);
	return owner;
}

struct dns_answer *dns_answer_failed(const char *question, enum dns_type type, const char *why)
{
	struct dns_answer *answer = &new_owner(question, type)->answer;

	snprintf(answer->why, sizeof answer->why, "%s", why);
	return answer;
}

static struct dns_answer *failed_by_rcode(
    const char *question, enum dns_type type, int rcode, const char *detail)
{
	static const char *const names[] = {
	    [ns_r_formerr] = "FORMERR",
	    [ns_r_servfail] = "SERVFAIL, no name server gave a usable answer",
	    [ns_r_nxdomain] = "NXDOMAIN as an error",
	    [ns_r_notimpl] = "NOTIMP",
	    [ns_r_refused] = "REFUSED",
	};
	const size_t count = sizeof names / sizeof names[0];
	const char *name = rcode > 0 && (size_t)rcode < count ? names[rcode] : NULL;
	struct dns_answer *answer = dns_answer_failed(question, type, "");

	snprintf(answer->why, sizeof answer->why, "%s%s%s", name ? name : "the lookup failed",
	    detail && detail[0] ? ": " : "", detail ? detail : "");
	return answer;
}

static struct dns_answer *failed_as_bogus(const char *question, enum dns_type type, const char *why)
{
	struct dns_answer *answer =
	    dns_answer_failed(question, type, why && why[0] ? why : "DNSSEC validation failed");

	answer->bogus = true;
	return answer;
}

/*
 * The order of the tests is the point: a bogus answer comes with rcode 0, with the bogus data, even
 * with NXDOMAIN in its header; and a failure comes with the same sec as an insecure answer.
 */
struct dns_answer *dns_answer_parse(const char *question, enum dns_type type, int resolver_rcode,
    int sec, const void *packet, size_t len, const char *why_bogus)
{
	enum { SEC_INSECURE = 0, SEC_BOGUS = 1, SEC_SECURE = 2 };
	struct dns_answer *answer;
	const char *wrong;

	if (resolver_rcode != 0)
		return failed_by_rcode(question, type, resolver_rcode, why_bogus);
	if (sec == SEC_BOGUS)
		return failed_as_bogus(question, type, why_bogus);
	if (sec != SEC_INSECURE && sec != SEC_SECURE)
		return dns_answer_failed(question, type, "the resolver's verdict is unknown");
	struct owner *owner = new_owner(question, type);

	answer = &owner->answer;
	wrong = read_packet(owner, packet, len);
	if (wrong) {
		bool excess = answer->excess;

		dns_answer_free(&answer);
		answer = dns_answer_failed(question, type, wrong);
		answer->excess = excess;
		return answer;
	}
	answer->state = sec == SEC_SECURE ? DNS_SECURE : DNS_INSECURE;
	return answer;
}

void dns_answer_free(struct dns_answer **answer)
{
	struct owner *owner = (struct owner *)*answer;

	if (!owner)
		return;
	free(owner->answer.addresses); /* or whichever member it is */
	free(owner->store.octets);
	free(owner);
	*answer = NULL;
}

/* ---- names ---- */

const char *dns_state_name(enum dns_state state)
{
	static const char *const names[] = {
	    [DNS_FAILED] = "failed",
	    [DNS_INSECURE] = "insecure",
	    [DNS_SECURE] = "secure",
	};

	return names[state];
}
