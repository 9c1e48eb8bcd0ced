/*
 * ub_conf.h - our configuration in libunbound's terms.
 */
#ifndef DNSVAL_UB_CONF_H
#define DNSVAL_UB_CONF_H

#include <stdbool.h>

struct conf;
struct ub_ctx;

/* All but the trust anchors, before the first lookup. false: *error (malloc'd) names the setting.
 */
bool ub_conf_apply(struct ub_ctx *ub, const struct conf *conf, char **error);

#endif
