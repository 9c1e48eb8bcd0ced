/*
 * smtp_header.c - the header section on its way: Received fields, ours among them; Message-ID.
 *
 * Every relay puts one on top (RFC 5321 section 4.4), so their number betrays a loop (section 6.3).
 * Nothing is kept: one octet at a time, a name or a mark as far as it fits. Lenient where senders
 * are sloppy (blanks before the colon, a continuation as first line): a loop is stopped by counting
 * too much, never by counting too little.
 */
#include "proxy/smtp/smtp_header.h"

#include "conf/join.h"

#include <assert.h>
#include <string.h>

enum state { LINE_START, NAME, NAME_BLANK, VALUE, BODY };

static const char received_name[] = "received", message_id_name[] = "message-id";
enum {
	RECEIVED_LEN = sizeof received_name - 1,
	MESSAGE_ID_LEN = sizeof message_id_name - 1,
	NO_MATCH,
};

void smtp_header_init(struct smtp_header *header, const char *own_mark)
{
	*header = (struct smtp_header){.state = LINE_START};
	if (!*own_mark)
		return;
	header->mark_len = text_join(header->own_mark, sizeof header->own_mark, " ", own_mark);
	assert(header->mark_len < sizeof header->own_mark);
}

bool smtp_header_is_open(const struct smtp_header *header) { return header->state != BODY; }

bool smtp_header_skips_line(const struct smtp_header *header)
{
	return header->state == VALUE && !(header->in_received && header->mark_len);
}

/* RFC 5322 section 3.6.8: printable ASCII without colon, of any length. */
static bool is_of_name(char c) { return c > ' ' && c < 0x7f && c != ':'; }

size_t smtp_header_skips_name(const struct smtp_header *header, const char *in, size_t len)
{
	size_t n = 0;

	if (header->state != NAME || header->match != NO_MATCH || header->id_match != NO_MATCH)
		return 0;
	while (n < len && is_of_name(in[n]))
		n++;
	return n;
}

static bool is_blank(char c) { return c == ' ' || c == '\t'; }

static char lower(char c) { return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c; }

/*
 * Length of the longest beginning of mark that is also the end of its first len octets, shorter
 * than those.
 */
static size_t border(const char *mark, size_t len)
{
	for (size_t n = len - 1; n > 0; n--)
		if (!memcmp(mark, mark + len - n, n))
			return n;
	return 0;
}

/* Looks for own_mark in the unfolded value: any white space, folds included, is one blank. */
static enum smtp_header_event value_octet(struct smtp_header *header, char c)
{
	if (!header->in_received || !header->mark_len)
		return HEADER_NOTHING;
	bool blank = is_blank(c);
	bool again = blank && header->after_blank;

	header->after_blank = blank;
	if (again)
		return HEADER_NOTHING;
	if (blank)
		c = ' ';
	while (header->match > 0 && header->own_mark[header->match] != c)
		header->match = border(header->own_mark, header->match);
	if (header->own_mark[header->match] == c)
		header->match++;
	if (header->match < header->mark_len)
		return HEADER_NOTHING;
	header->in_received = false;
	return HEADER_OWN;
}

static enum smtp_header_event name_ends(struct smtp_header *header)
{
	header->state = VALUE;
	header->in_received = header->match == RECEIVED_LEN;
	/* The value of "Received:by" begins as after a blank. */
	header->after_blank = true;
	header->match = 1;
	if (header->in_received)
		return HEADER_RECEIVED;
	return header->id_match == MESSAGE_ID_LEN ? HEADER_MESSAGE_ID : HEADER_NOTHING;
}

/* matched octets of name so far, with c. */
static size_t match_name(size_t matched, const char *name, size_t len, char c)
{
	return matched < len && lower(c) == name[matched] ? matched + 1 : NO_MATCH;
}

static enum smtp_header_event name_octet(struct smtp_header *header, char c)
{
	if (c == ':')
		return name_ends(header);
	if (is_blank(c)) {
		header->state = NAME_BLANK;
		return HEADER_NOTHING;
	}
	if (!is_of_name(c) || header->state == NAME_BLANK) {
		header->state = BODY;
		return HEADER_NOTHING;
	}
	header->match = match_name(header->match, received_name, RECEIVED_LEN, c);
	header->id_match = match_name(header->id_match, message_id_name, MESSAGE_ID_LEN, c);
	return HEADER_NOTHING;
}

static enum smtp_header_event first_octet(struct smtp_header *header, char c)
{
	if (is_blank(c)) {
		header->state = VALUE;
		return value_octet(header, c);
	}
	header->in_received = false;
	header->match = header->id_match = 0;
	header->state = c == '\n' || c == ':' ? BODY : NAME;
	return header->state == NAME ? name_octet(header, c) : HEADER_NOTHING;
}

enum smtp_header_event smtp_header_octet(struct smtp_header *header, char c)
{
	switch ((enum state)header->state) {
	case LINE_START:
		return first_octet(header, c);
	case NAME:
	case NAME_BLANK:
		return name_octet(header, c);
	case VALUE:
		if (c != '\n')
			return value_octet(header, c);
		header->state = LINE_START;
		return HEADER_NOTHING;
	case BODY:
		break;
	}
	return HEADER_NOTHING;
}
