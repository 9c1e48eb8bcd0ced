/*
 * raw.h - which options of Unbound [unbound] may hand over (R-DNS-36, -41).
 */
#ifndef CONF_RAW_H
#define CONF_RAW_H

#include "conf/draft.h"

/* Looks at each setting of [unbound]; complains about those that weaken validation or are ours. */
void raw_check(struct draft *draft);

#endif
