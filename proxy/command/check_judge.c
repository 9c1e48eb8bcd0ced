/*
 * check_judge.c - from what was collected to what mail would get, in the order in which approach.c
 * tries hosts. Pure; table-tested.
 *
 * Hosts of one preference are tried in random order: of those that are ready the least trustworthy
 * one counts, because any message may go there.
 */
#include "proxy/command/check.h"

#include <string.h>

const char *check_result_name(enum check_result result)
{
	static const char *const names[] = {[CHECK_AUTHENTICATED] = "authenticated",
	    [CHECK_UNAUTHENTICATED] = "not-authenticated",
	    [CHECK_REFUSED] = "refused",
	    [CHECK_UNKNOWN] = "unknown"};

	return names[result];
}

/* What the weather explains is no statement about the destination. */
enum check_result check_result_of(enum reason reason)
{
	switch (reason) {
	case REASON_DNS_FAILED:
	case REASON_BUSY:
	case REASON_CONNECT_FAILED:
	case REASON_CONNECTION_LOST:
		return CHECK_UNKNOWN;
	default:
		return CHECK_REFUSED;
	}
}

static struct check_verdict refused(const struct refusal *refusal)
{
	return (struct check_verdict){
	    .result = check_result_of(refusal->reason), .policy = "", .refusal = *refusal};
}

/* ---- a host ---- */

static struct check_verdict relaxed(const struct route *route, const struct refusal *refusal)
{
	return (struct check_verdict){.result = CHECK_UNAUTHENTICATED,
	    .policy = route->policy_label,
	    .is_assumed = true,
	    .would_refuse = refusal->reason};
}

static struct check_verdict ready(const struct route *route, const struct check_address *address)
{
	return (struct check_verdict){
	    .result = address->is_verified ? CHECK_AUTHENTICATED : CHECK_UNAUTHENTICATED,
	    .is_encrypted = address->is_encrypted,
	    .policy = route->policy_label};
}

/* Nobody was asked: the host is taken to prove what it must. */
static struct check_verdict assumed(const struct route *route)
{
	bool proves = route->rule.need == TLS_PKIX || route->rule.need == TLS_DANE;

	return (struct check_verdict){
	    .result = proves && route->secures_domain ? CHECK_AUTHENTICATED : CHECK_UNAUTHENTICATED,
	    .is_encrypted = route->rule.need > TLS_MAY,
	    .is_assumed = true,
	    .policy = route->policy_label};
}

static struct check_verdict failed(const struct route *route, const struct refusal *refusal)
{
	struct check_verdict verdict = refused(refusal);

	if (route->may_report_only && reason_is_tls(refusal->reason))
		verdict = relaxed(route, refusal);
	verdict.policy = route->policy_label;
	return verdict;
}

struct check_verdict check_judge_host(const struct check *check, size_t index)
{
	const struct check_host *host = &check->hosts[index];
	const struct check_address *last = NULL;
	struct check_verdict verdict;

	if (host->route->verdict != POLICY_CONNECT)
		return failed(host->route, &host->route->refusal);
	for (size_t i = 0; i < host->address_count; i++) {
		if (host->addresses[i].outcome == CHECK_READY)
			return ready(host->route, &host->addresses[i]);
		if (host->addresses[i].outcome == CHECK_FAILED)
			last = &host->addresses[i];
	}
	if (!last)
		return assumed(host->route);
	verdict = failed(host->route, &last->refusal);
	verdict.is_ourselves = last->is_ourselves;
	return verdict;
}

/* ---- a domain ---- */

static bool is_ready(const struct check_verdict *verdict)
{
	return verdict->result <= CHECK_UNAUTHENTICATED && verdict->would_refuse == REASON_NONE;
}

static bool is_worse(const struct check_verdict *verdict, const struct check_verdict *than)
{
	if (verdict->result != than->result)
		return verdict->result > than->result;
	return than->is_encrypted && !verdict->is_encrypted;
}

/* The hosts of one preference, from *index on, which moves behind them. false: none is ready, and
 * verdict is the last failure. */
static bool judge_preference(
    const struct check *check, size_t *index, struct check_verdict *verdict)
{
	unsigned preference = check->hosts[*index].route->preference;
	bool found = false;

	for (; *index < check->host_count; (*index)++) {
		struct check_verdict one;

		if (check->hosts[*index].route->preference != preference)
			break;
		one = check_judge_host(check, *index);
		if (is_ready(&one) && (!found || is_worse(&one, verdict))) {
			*verdict = one;
			found = true;
		} else if (!found) {
			*verdict = one;
		}
	}
	return found;
}

/* This preference and all worse ones would only bring the mail back (RFC 5321 5.1). */
static bool has_self(const struct check *check, size_t index)
{
	unsigned preference = check->hosts[index].route->preference;

	for (; index < check->host_count; index++) {
		if (check->hosts[index].route->preference != preference)
			break;
		if (check->hosts[index].route->is_self)
			return true;
	}
	return false;
}

static const struct refusal *self_refusal(const struct check *check, size_t index)
{
	while (!check->hosts[index].route->is_self)
		index++;
	return &check->hosts[index].route->refusal;
}

struct check_verdict check_judge(const struct check *check)
{
	struct check_verdict best = {.result = CHECK_UNKNOWN}, one;
	bool has_failed = false;

	if (check->bad_name.reason != REASON_NONE)
		return refused(&check->bad_name);
	if (check->destination->verdict != POLICY_CONNECT)
		return refused(&check->destination->refusal);
	for (size_t i = 0; i < check->host_count;) {
		if (has_self(check, i))
			return has_failed ? best : refused(self_refusal(check, i));
		if (judge_preference(check, &i, &one))
			return one;
		best = has_failed ? best : one;
		has_failed = true;
	}
	return best;
}
