/*
 * context.h - one libunbound context, made from the configuration and checked.
 *
 * The resolver has one for all lookups, the probe a fresh one for each attempt, the keeper of the
 * root anchor one in a child process. All validate in the same way; only the source of the anchor
 * differs. Owner: who made it. One thread, one process: never across a fork.
 */
#ifndef DNSVAL_CONTEXT_H
#define DNSVAL_CONTEXT_H

#include <stddef.h>

struct anchors;
struct conf;
struct context;
struct ev_loop;
struct sandbox;
struct ub_ctx;

/* The anchors are copied. NULL: *error (malloc'd) names the setting. */
struct context *context_new(
    struct ev_loop *loop, const struct conf *conf, const struct anchors *anchors, char **error);

/*
 * The same with the root keys in a file that the library itself keeps up (RFC 5011). It ends the
 * process when it cannot write the file: only for a child process that may end.
 */
struct context *context_new_keeping(
    struct ev_loop *loop, const struct conf *conf, const char *anchor_file, char **error);

/* Files and ports that contexts need, also those made later. */
void context_let_in(struct sandbox *sandbox, const struct conf *conf);

/* No lookup may be under way, and never from inside one of libunbound's callbacks. */
void context_free(struct context **context);

/* Class of every question: the Internet. */
enum { CLASS_IN = 1 };

/* For lookup.c, which counts what is under way. */
struct ev_loop *context_loop(const struct context *context);
struct ub_ctx *context_ub(const struct context *context);
void context_enter(struct context *context);
void context_leave(struct context *context);
size_t context_lookups(const struct context *context);

#endif
