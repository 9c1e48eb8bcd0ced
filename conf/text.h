/*
 * text.h - what lines from outside may not hold. Pure; lengths count, a NUL is a control.
 */
#ifndef CONF_TEXT_H
#define CONF_TEXT_H

#include <stdbool.h>
#include <stddef.h>

/* The controls of ASCII: below blank, and DEL. */
bool text_has_control(const char *text, size_t len);

/* The same for formats in which a tab is a blank. */
bool text_has_control_but_tab(const char *text, size_t len);

#endif
