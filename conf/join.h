/*
 * join.h - lines put together from pieces of text, where snprintf() would cost more than all else:
 * several for each message. Pure.
 */
#ifndef CONF_JOIN_H
#define CONF_JOIN_H

#include <stddef.h>

/*
 * Puts the pieces one behind the other into out, as snprintf() would: at most size - 1 octets and
 * a NUL. Returns the length that all of them have; not below size: they were cut. None may overlap
 * with out.
 */
#define text_join(out, size, ...) text_join_all(out, size, (const char *const[]){__VA_ARGS__, NULL})

size_t text_join_all(char *out, size_t size, const char *const *pieces);

#endif
