/*
 * smtp_dsn.c - see smtp_dsn.h. Called by smtp_parse.c for what clients ask, by smtp_script.c for
 * what is passed on.
 */
#include "proxy/smtp/smtp_dsn.h"

#include "conf/mem.h"
#include "conf/utf8.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

static bool is_keyword(const char *text, size_t len, const char *keyword)
{
	return len == strlen(keyword) && !strncasecmp(text, keyword, len);
}

static bool is_visible(unsigned char c) { return c > ' ' && c < 0x7f; }

/* ---- xtext ---- */

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/*
 * RFC 3461 4: "+" and two upper-case hexadecimal digits, or a visible character but "+" and "=".
 * What it decodes to must be printable ASCII (4.2, 4.4): it will stand in a header field.
 */
static bool is_xtext(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		int high, low;

		if (text[i] != '+') {
			if (!is_visible((unsigned char)text[i]) || text[i] == '=')
				return false;
			continue;
		}
		if (len - i < 3)
			return false;
		high = hex_digit(text[i + 1]);
		low = hex_digit(text[i + 2]);
		if (high < 2 || high > 7 || low < 0 || (high == 7 && low == 15))
			return false;
		i += 2;
	}
	return len > 0;
}

/* ---- addresses of type utf-8 ---- */

/* "\x{" 2 to 6 upper-case digits "}": octets taken, 0: none. Controls are no part of an address. */
static size_t embedded_character(const char *text, size_t len)
{
	unsigned value = 0;
	size_t i;

	if (len < 3 || memcmp(text, "\\x{", 3) != 0)
		return 0;
	for (i = 3; i < len && i < 9 && hex_digit(text[i]) >= 0; i++)
		value = value * 16 + (unsigned)hex_digit(text[i]);
	if (i < 5 || i == len || text[i] != '}')
		return 0;
	if (value < ' ' || (value >= 0x7f && value < 0xa0) || value > 0x10ffff ||
	    (value >= 0xd800 && value < 0xe000))
		return 0;
	return i + 1;
}

/* RFC 6533 3: all three forms; the one of plain addresses may hold a "+". */
static bool is_utf8_address(const char *text, size_t len)
{
	for (size_t i = 0, n; i < len; i += n) {
		uint32_t c;

		if (text[i] == '\\') {
			n = embedded_character(text + i, len - i);
		} else {
			n = utf8_decode(text + i, len - i, &c);
			if (n == 1 && (!is_visible((unsigned char)text[i]) || text[i] == '='))
				return false;
			if (n > 1 && c < 0xa0)
				return false;
		}
		if (n == 0)
			return false;
	}
	return len > 0;
}

/* RFC 5322 3.2.3. */
static bool is_atom(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (!isalnum((unsigned char)text[i]) &&
		    (!text[i] || !strchr("!#$%&'*+-/=?^_`{|}~", text[i])))
			return false;
	}
	return len > 0;
}

/* ---- reading ---- */

const char *smtp_dsn_read_ret(const char *value, size_t len, enum smtp_ret *ret)
{
	if (is_keyword(value, len, "FULL"))
		*ret = SMTP_RET_FULL;
	else if (is_keyword(value, len, "HDRS"))
		*ret = SMTP_RET_HDRS;
	else
		return "RET may be FULL or HDRS";
	return NULL;
}

const char *smtp_dsn_read_envid(const char *value, size_t len, char envid[SMTP_ENVID_MAX + 1])
{
	if (len > SMTP_ENVID_MAX)
		return "ENVID has at most 100 octets";
	if (!is_xtext(value, len))
		return "ENVID wants xtext of printable ASCII (RFC 3461 4)";
	memcpy(envid, value, len);
	envid[len] = '\0';
	return NULL;
}

static const struct {
	const char *name;
	unsigned bit;
} notify_names[] = {
    {"NEVER", SMTP_NOTIFY_NEVER},
    {"SUCCESS", SMTP_NOTIFY_SUCCESS},
    {"FAILURE", SMTP_NOTIFY_FAILURE},
    {"DELAY", SMTP_NOTIFY_DELAY},
};
enum { NOTIFY_NAMES = sizeof notify_names / sizeof *notify_names };

static unsigned notify_bit(const char *word, size_t len)
{
	for (size_t i = 0; i < NOTIFY_NAMES; i++) {
		if (is_keyword(word, len, notify_names[i].name))
			return notify_names[i].bit;
	}
	return 0;
}

const char *smtp_dsn_read_notify(const char *value, size_t len, unsigned *notify)
{
	unsigned set = 0;

	for (size_t at = 0; at <= len;) {
		const char *comma = len > at ? memchr(value + at, ',', len - at) : NULL;
		size_t end = comma ? (size_t)(comma - value) : len;
		unsigned bit = notify_bit(value + at, end - at);

		if (!bit || set & bit)
			return "NOTIFY may be NEVER, or of SUCCESS, FAILURE and DELAY each once";
		set |= bit;
		at = end + 1;
	}
	if (set & SMTP_NOTIFY_NEVER && set != SMTP_NOTIFY_NEVER)
		return "NOTIFY=NEVER stands alone";
	*notify = set;
	return NULL;
}

const char *smtp_dsn_read_orcpt(const char *value, size_t len, char **orcpt)
{
	const char *semicolon = len ? memchr(value, ';', len) : NULL;
	size_t type = semicolon ? (size_t)(semicolon - value) : len;

	if (len > SMTP_ORCPT_MAX)
		return "ORCPT has at most 500 octets";
	if (!semicolon || !is_atom(value, type))
		return "ORCPT wants an address type, a semicolon and the address";
	semicolon++;
	if (is_keyword(value, type, "utf-8")) {
		if (!is_utf8_address(semicolon, len - type - 1))
			return "ORCPT wants an address of RFC 6533 3 behind utf-8;";
	} else if (!is_xtext(semicolon, len - type - 1)) {
		return "ORCPT wants xtext of printable ASCII (RFC 3461 4)";
	}
	*orcpt = mem_strndup(value, len);
	return NULL;
}

/* ---- writing ---- */

const char *smtp_dsn_notify_text(char out[SMTP_NOTIFY_SIZE], unsigned notify)
{
	size_t len = 0;

	out[0] = '\0';
	for (size_t i = 0; i < NOTIFY_NAMES; i++) {
		if (notify & notify_names[i].bit)
			len += (size_t)snprintf(out + len, SMTP_NOTIFY_SIZE - len, "%s%s",
			    len ? "," : "", notify_names[i].name);
	}
	return out;
}

const char *smtp_dsn_mail_text(char out[SMTP_DSN_MAIL_SIZE], const struct smtp_dsn_mail *dsn)
{
	static const char *const rets[] = {
	    [SMTP_RET_UNSET] = "",
	    [SMTP_RET_FULL] = " RET=FULL",
	    [SMTP_RET_HDRS] = " RET=HDRS",
	};

	snprintf(out, SMTP_DSN_MAIL_SIZE, "%s%s%s", rets[dsn->ret], dsn->envid[0] ? " ENVID=" : "",
	    dsn->envid);
	return out;
}

const char *smtp_dsn_rcpt_text(char out[SMTP_DSN_RCPT_SIZE], const struct smtp_dsn_rcpt *dsn)
{
	char notify[SMTP_NOTIFY_SIZE];

	smtp_dsn_notify_text(notify, dsn->notify);
	snprintf(out, SMTP_DSN_RCPT_SIZE, "%s%s%s%.*s", notify[0] ? " NOTIFY=" : "", notify,
	    dsn->orcpt ? " ORCPT=" : "", SMTP_ORCPT_MAX, dsn->orcpt ? dsn->orcpt : "");
	return out;
}
