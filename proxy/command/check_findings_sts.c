/*
 * check_findings_sts.c - what the owner of a destination could mend about MTA-STS (RFC 8461). Pure.
 */
#include "proxy/command/check_findings.h"

#include "proxy/command/check_keys.h"

#include <string.h>

static void find_sts_certificate(
    const struct check_host *host, enum check_severity severity, struct check_findings *findings)
{
	struct check_keys keys;

	check_list_keys(host, &keys);
	for (size_t i = 0; i < keys.count; i++) {
		const char *report = keys.items[i]->proof.report;

		if (!report[0])
			continue;
		check_add_finding(findings, "sts-certificate", severity, host,
		    "The MTA-STS policy covers this host, but its certificate (%s key) is not what "
		    "the policy asks, one of a trusted CA for the name %s: %s. Install one, with "
		    "its chain.",
		    keys.items[i]->chain.items[0].key, host->route->host, report);
		return;
	}
}

static void find_sts_hosts(
    const struct check *check, const struct sts_policy *policy, struct check_findings *findings)
{
	enum check_severity severity =
	    policy->mode == STS_MODE_ENFORCE ? CHECK_FAULT : CHECK_WARNING;

	for (size_t i = 0; i < check->host_count; i++) {
		const struct check_host *host = &check->hosts[i];

		if (sts_policy_matches(policy, host->route->host))
			find_sts_certificate(host, severity, findings);
		else
			check_add_finding(findings, "sts-mx", severity, host,
			    "The MTA-STS policy of %s does not list this MX host%s. Add it to the "
			    "policy and then change the id of the _mta-sts record, or point the MX "
			    "record at a host that is listed.",
			    check->destination->next_hop,
			    severity == CHECK_FAULT ? ": senders that honour it refuse the host"
						    : "");
	}
}

static bool covers_any(const struct check *check, const char *pattern)
{
	char *patterns[] = {(char *)pattern};
	const struct sts_policy one = {.mx_count = 1, .mx = patterns};

	for (size_t i = 0; i < check->host_count; i++)
		if (sts_policy_matches(&one, check->hosts[i].route->host))
			return true;
	return false;
}

static void find_sts_out_of_step(
    const struct check *check, const struct sts_policy *policy, struct check_findings *findings)
{
	for (size_t i = 0; i < policy->mx_count; i++)
		if (!covers_any(check, policy->mx[i])) {
			check_add_finding(findings, "sts-out-of-step", CHECK_WARNING, NULL,
			    "The MTA-STS policy lists %s, but no MX record names such a host. "
			    "Policy and DNS are out of step: correct the one that is old.",
			    policy->mx[i]);
			return;
		}
}

/* A new id asks for the policy to be fetched; it could not be, and the old one goes on. */
static void find_sts_old_id(
    const struct check *check, const struct sts_answer *answer, struct check_findings *findings)
{
	if (!answer->is_cached || check->sts.record != STS_RECORD_VALID ||
	    strcmp(answer->id, check->sts.id) == 0)
		return;
	check_add_finding(findings, "sts-out-of-step", CHECK_WARNING, NULL,
	    "The _mta-sts record has the id %s, but the policy that is known is still that of id "
	    "%s. Policy and DNS are out of step: senders go on with the old policy until the new "
	    "one can be fetched.",
	    check->sts.id, answer->id);
}

void check_find_sts(const struct check *check, struct check_findings *findings)
{
	const struct sts_answer *answer = check->sts.answer;

	if (!answer)
		return;
	if (answer->notice.reason != REASON_NONE)
		check_add_finding(findings, reason_code(answer->notice.reason), CHECK_WARNING, NULL,
		    "MTA-STS is announced, but of no use: %s. Correct what is wrong, or remove the "
		    "_mta-sts record.",
		    answer->notice.text);
	if (answer->state != STS_POLICY)
		return;
	find_sts_hosts(check, &answer->policy, findings);
	find_sts_out_of_step(check, &answer->policy, findings);
	find_sts_old_id(check, answer, findings);
	if (answer->policy.mode == STS_MODE_TESTING)
		check_add_finding(findings, "sts-testing", CHECK_HINT, NULL,
		    "The MTA-STS policy is in mode testing: it reports, and protects nobody. Once "
		    "no failures are reported, set mode: enforce and change the id.");
}
