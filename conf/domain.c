/*
 * domain.c - domain names in the one form used everywhere: lower-case A-labels, no trailing dot.
 *
 * The only user of libidn2. Plain ASCII names, nearly all of them, never reach it. Refusing a bad
 * name here is cheap; handing it to libunbound leaks memory each time (R-DNS-32), and two spellings
 * of one destination would have two policies (R-DNS-31). Called for every name from a peer.
 */
#include "conf/domain.h"

#include <idn2.h>
#include <stdlib.h>
#include <string.h>

enum {
	LABEL_MAX = 63,
	/* A code point that ends up as one octet of an A-label may come in as four of UTF-8. */
	INPUT_MAX = 4 * DOMAIN_MAX,
	IDN_FLAGS = IDN2_NONTRANSITIONAL | IDN2_NFC_INPUT,
};

static bool is_ascii(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)text[i] >= 0x80)
			return false;
	return true;
}

/* As <ctype.h> would, but never by locale. */
static char lower(char c) { return c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c; }

static bool is_label_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

/*
 * An "xn--" label must stand for a U-label whose A-label it is; otherwise the same octets could be
 * shown, and be configured, as a name that never leads to them.
 */
static bool is_a_label(const char *label)
{
	char *unicode = NULL;
	char *back = NULL;
	bool same =
	    idn2_to_unicode_8z8z(label, &unicode, 0) == IDN2_OK &&
	    !is_ascii(unicode, strlen(unicode)) &&
	    idn2_lookup_u8((const uint8_t *)unicode, (uint8_t **)&back, IDN_FLAGS) == IDN2_OK &&
	    !strcmp(back, label);

	idn2_free(unicode);
	idn2_free(back);
	return same;
}

static bool is_label(const char *label, size_t len)
{
	char text[LABEL_MAX + 1];

	if (len == 0 || len > LABEL_MAX || label[0] == '-' || label[len - 1] == '-')
		return false;
	for (size_t i = 0; i < len; i++)
		if (!is_label_char(label[i]))
			return false;
	if (len < 4 || memcmp(label, "xn--", 4) != 0)
		return true;
	memcpy(text, label, len);
	/* cppcheck-suppress arrayIndexOutOfBoundsCond ; len is LABEL_MAX at most, text is larger */
	text[len] = '\0';
	return is_a_label(text);
}

static bool all_labels_good(const char *name)
{
	for (;;) {
		size_t len = strcspn(name, ".");

		if (!is_label(name, len))
			return false;
		if (!name[len])
			return true;
		name += len + 1;
	}
}

static bool normalize_ascii(char out[DOMAIN_SIZE], const char *text, size_t len)
{
	if (len && text[len - 1] == '.')
		len--;
	if (len == 0 || len > DOMAIN_MAX)
		return false;
	for (size_t i = 0; i < len; i++)
		out[i] = lower(text[i]);
	out[len] = '\0';
	return all_labels_good(out);
}

/* The mapping may itself bring dots (U+3002), upper case or junk: its result is checked like input.
 */
static bool normalize_utf8(char out[DOMAIN_SIZE], const char *text, size_t len)
{
	uint8_t input[INPUT_MAX + 1];
	uint8_t *ascii = NULL;

	if (len > INPUT_MAX)
		return false;
	memcpy(input, text, len);
	input[len] = '\0';
	bool good = idn2_lookup_u8(input, &ascii, IDN_FLAGS) == IDN2_OK &&
		    is_ascii((char *)ascii, strlen((char *)ascii)) &&
		    normalize_ascii(out, (char *)ascii, strlen((char *)ascii));

	idn2_free(ascii);
	return good;
}

bool domain_normalize(char out[DOMAIN_SIZE], const char *text, size_t len)
{
	bool good = false;

	if (memchr(text, '\0', len) == NULL)
		good = is_ascii(text, len) ? normalize_ascii(out, text, len)
					   : normalize_utf8(out, text, len);
	if (!good)
		out[0] = '\0';
	return good;
}

/* A numeric last label would be an address to whoever reads it as text (RFC 1123 2.1). */
bool domain_is_host(const char *name)
{
	char normal[DOMAIN_SIZE];
	size_t len = strlen(name);

	if (!is_ascii(name, len) || !domain_normalize(normal, name, len))
		return false;
	const char *dot = strrchr(normal, '.');
	const char *label = dot ? dot + 1 : normal;

	return label[strspn(label, "0123456789")] != '\0';
}

bool domain_is_mx_host(const char *name)
{
	char normal[DOMAIN_SIZE];

	return domain_is_host(name) && domain_normalize(normal, name, strlen(name)) &&
	       strchr(normal, '.');
}

bool domain_is_below(const char *name, const char *parent)
{
	size_t name_len = strlen(name);
	size_t parent_len = strlen(parent);

	if (parent_len == 0)
		return name_len > 0;
	if (name_len <= parent_len + 1)
		return false;
	const char *tail = name + name_len - parent_len;

	return tail[-1] == '.' && !strcmp(tail, parent);
}
