/*
 * escape.h - text from strangers, made safe for terminals, log parsers and JSON (R-SMTP-20).
 */
#ifndef CONF_ESCAPE_H
#define CONF_ESCAPE_H

#include <stdbool.h>
#include <stddef.h>

/* What stands before the two digits of an escaped octet: JSON (RFC 8259 7) knows no \x. */
#define ESCAPE_TEXT "\\x"
#define ESCAPE_JSON "\\\\x"

/*
 * Controls, invalid UTF-8 and invisible characters octet by octet as prefix and two hexadecimal
 * digits; backslash and double quote with a backslash before them; the rest stays. Writes at most
 * size octets with the ending NUL (size > 0), never half a character or escape. Returns the length
 * written; *whole, where not NULL: whether all of text found room.
 */
size_t escape(char *out, size_t size, const char *prefix, const char *text, size_t len,
	      bool *whole);

#endif
