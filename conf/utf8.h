/*
 * utf8.h - the one UTF-8 decoder: strict (RFC 3629), for everything that strangers sent.
 */
#ifndef CONF_UTF8_H
#define CONF_UTF8_H

#include <stddef.h>
#include <stdint.h>

/*
 * Octets of the valid sequence at the front of text[0..len), len > 0, its character in *character;
 * 0: none. Overlong forms, surrogates and what lies beyond U+10FFFF are invalid, so that no laxer
 * decoder further on can find in it a control, a quote or a dot that was not seen here.
 */
size_t utf8_decode(const char *text, size_t len, uint32_t *character);

#endif
