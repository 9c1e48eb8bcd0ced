/*
 * smtp_text.h - which octets are text in SMTP: printable ASCII, and UTF-8 where it was agreed.
 * Pure.
 */
#ifndef PROXY_SMTP_TEXT_H
#define PROXY_SMTP_TEXT_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Whether text holds printable characters only: ASCII from blank to tilde, and valid UTF-8 (RFC
 * 3629: nothing overlong, no surrogates) but C1 controls.
 */
bool smtp_text_is_printable(const char *text, size_t len);

/*
 * Copies len octets to out, which has room for as many, with "?" for each octet that is not part of
 * a printable character (R-SMTP-20); without utf8 for each octet >= 0x80. The length never changes.
 */
void smtp_text_filter(char *out, const char *text, size_t len, bool utf8);

/*
 * Where to cut text so that at most max octets are left and no character is split; 0 only for len
 * or max 0.
 */
size_t smtp_text_cut(const char *text, size_t len, size_t max);

#endif
