/*
 * check.h - what must hold between settings.
 */
#ifndef CONF_CHECK_H
#define CONF_CHECK_H

#include "conf/draft.h"

#include <time.h>

/* Complains in the draft, at the position of the setting concerned. */
void check_conf(const struct conf *conf, struct draft *draft, time_t now);

#endif
