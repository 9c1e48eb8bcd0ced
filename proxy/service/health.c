/*
 * health.c - see health.h.
 *
 * Only what keeps this node from relaying makes it unready: another one could then do better. As
 * long as one worker has working DNSSEC there is mail that is relayed.
 */
#include "proxy/service/health.h"

#include "conf/clock.h"
#include "conf/escape.h"
#include "proxy/metrics.h"
#include "proxy/shared/shared.h"

#include <stdio.h>
#include <string.h>

/* Whether any worker that accepts clients says this; seat: one that does. */
static bool says_any(
    const struct health *health, enum worker_dnssec dnssec, const struct seat **found)
{
	for (unsigned i = 0; i < SHARED_SEATS; i++) {
		const struct seat *seat = shared_seat(health->shared, i);

		if (shared_look(&seat->state) != WORKER_SERVES ||
		    shared_look(&seat->dnssec) != dnssec)
			continue;
		*found = seat;
		return true;
	}
	return false;
}

static void say_broken(const struct seat *seat, char why[HEALTH_WHY])
{
	char words[SHARED_WHY], clean[SHARED_WHY * 2];

	memcpy(words, seat->dnssec_why, sizeof words);
	words[sizeof words - 1] = '\0';
	escape(clean, sizeof clean, ESCAPE_TEXT, words, strlen(words), NULL);
	snprintf(why, HEALTH_WHY, "DNSSEC does not work: %.900s", clean);
}

bool health_is_ready(const struct health *health, char why[HEALTH_WHY])
{
	const struct seat *seat;

	if (health->is_draining)
		snprintf(why, HEALTH_WHY, "draining");
	else if (says_any(health, DNSSEC_WORKING, &seat))
		return true;
	else if (says_any(health, DNSSEC_BROKEN, &seat))
		say_broken(seat, why);
	else if (says_any(health, DNSSEC_PENDING, &seat))
		snprintf(why, HEALTH_WHY, "DNSSEC: not known yet whether it works");
	else
		snprintf(why, HEALTH_WHY, "no worker");
	return false;
}

char *health_metrics(const struct health *health, size_t *len)
{
	static _Alignas(64) unsigned char sum[METRICS_SIZE];

	shared_sum_metrics(health->shared, sum);
	metrics_count_into(sum);
	return metrics_render(health->conf, clock_wall(), len);
}
