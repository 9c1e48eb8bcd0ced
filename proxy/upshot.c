/*
 * upshot.c - see upshot.h.
 */
#include "proxy/upshot.h"

enum upshot upshot_of(const struct outcome *const *outcomes, size_t count)
{
	size_t good = 0;

	for (size_t i = 0; i < count; i++) {
		if (!outcome_is_known(outcomes[i]))
			return UPSHOT_OPEN;
		good += outcome_is_good(outcomes[i]);
	}
	return good == count ? UPSHOT_ACCEPTED : good ? UPSHOT_MIXED : UPSHOT_REFUSED;
}

static int severity(const struct outcome *outcome)
{
	if (outcome_is_good(outcome))
		return 0;
	if (outcome->code / 100 == 5)
		return 1;
	return outcome->reason == REASON_OUTCOME_UNKNOWN ? 3 : 2;
}

const struct outcome *upshot_worst(const struct outcome *const *outcomes, size_t count)
{
	const struct outcome *worst = outcomes[0];

	for (size_t i = 1; i < count; i++) {
		if (severity(outcomes[i]) > severity(worst))
			worst = outcomes[i];
	}
	return worst;
}
