/*
 * ub_log.h - where libunbound's own words go.
 */
#ifndef DNSVAL_UB_LOG_H
#define DNSVAL_UB_LOG_H

#include <stdio.h>

/*
 * For ub_ctx_debugout(). Each line goes to our log at debug. One stream for the whole process,
 * never closed: the library holds it in a global variable that outlives the context it was given
 * for.
 */
FILE *ub_log_stream(void);

/* Lines go to this descriptor instead; for a child process. */
void ub_log_redirect(int fd);

/* The first line since ub_log_forget(), without newline, the others follow from it; "": none. */
const char *ub_log_first(void);
void ub_log_forget(void);

#endif
