/*
 * loop_test.h - proves at start that our own connections to port 25 are not intercepted again
 * (R-NET-05): one to an address of nobody, made like those of mail, must not come to us.
 *
 * Owner: serve.
 */
#ifndef PROXY_LOOP_TEST_H
#define PROXY_LOOP_TEST_H

#include "conf/addr.h"

#include <stdbool.h>

struct ev_loop;
struct loop_test;
struct proxy;

/* Our rules are wrong: mail would go in circles. */
typedef void loop_test_fn(void *arg);

/* Called back only if it fails, within a second. */
struct loop_test *loop_test_start(struct proxy *proxy, loop_test_fn *callback, void *arg);
void loop_test_free(struct loop_test **test); /* NULL inside is welcome */

/* For listeners: is the accepted connection between these the test's own? Then it has failed. */
bool loop_test_hears(
    struct loop_test *test, const struct addr *client, const struct addr *original);

#endif
