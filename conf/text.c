/*
 * text.c - see text.h. Called for the lines and options of settings, for command lines and for
 * MTA-STS policies.
 */
#include "conf/text.h"

static bool is_control(char c) { return (unsigned char)c < ' ' || c == 0x7f; }

bool text_has_control(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (is_control(text[i]))
			return true;
	return false;
}

bool text_has_control_but_tab(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (is_control(text[i]) && text[i] != '\t')
			return true;
	return false;
}
