/*
 * health.h - how the whole service is, from what its workers say: for /metrics, /readyz and the
 * service manager. Owner: the supervisor.
 */
#ifndef PROXY_SERVICE_HEALTH_H
#define PROXY_SERVICE_HEALTH_H

#include <stdbool.h>
#include <stddef.h>

struct conf;
struct shared;

struct health {
	struct shared *shared;
	const struct conf *conf; /* what is in force; NULL: nothing any more */
	bool is_draining;
};

enum { HEALTH_WHY = 1024 };

/* Whether this node can relay. false: why not, in words without controls. */
bool health_is_ready(const struct health *health, char why[HEALTH_WHY]);

/* The page as Prometheus reads it; malloc'd. */
char *health_metrics(const struct health *health, size_t *len);

#endif
