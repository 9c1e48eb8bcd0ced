/*
 * derive.h - defaults that depend on the machine and on other settings.
 */
#ifndef CONF_DERIVE_H
#define CONF_DERIVE_H

#include "conf/conf.h"

/* Fills hostname, greeting_name and state_dir where they are empty. Asks no network. */
void derive_defaults(struct conf *conf);

#endif
