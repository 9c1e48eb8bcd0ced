/*
 * check_findings.h - the pieces of check_find().
 */
#ifndef PROXY_CHECK_FINDINGS_H
#define PROXY_CHECK_FINDINGS_H

#include "proxy/command/check.h"

/* host NULL: of the domain. The finding is valid until the next one is added. */
struct check_finding *check_add_finding(struct check_findings *findings, const char *code,
    enum check_severity severity, const struct check_host *host, const char *format, ...)
    __attribute__((format(printf, 5, 6)));

void check_find_sts(const struct check *check, struct check_findings *findings);

#endif
