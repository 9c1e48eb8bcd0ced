/*
 * value_addr.c - the types of settings that name addresses: next hop, ranges, listeners, servers.
 *
 * Only what can be dialled at all is taken: an unspecified or multicast address is a mistake under
 * every setting (R-DNS-28), a range with bits beyond its prefix is one that was not meant so.
 * Called by conf.c through the table.
 */
#include "conf/value.h"

#include "conf/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- next_hop ---- */

enum { SMTP_PORT = 25 };

/* Within the brackets: an address as RFC 5321 4.1.3 writes it, or a host that is taken as it is. */
static bool parse_bracketed(struct conf_next_hop *hop, const char *text)
{
	const char *ip = strncasecmp(text, "IPv6:", 5) ? text : text + 5;

	hop->is_address = addr_parse_ip(&hop->address, ip, SMTP_PORT) && *ip != '[';
	if (hop->is_address)
		return addr_classify(&hop->address) != ADDR_NEVER;
	return domain_normalize(hop->host, text, strlen(text)) && domain_is_host(hop->host);
}

static bool split_next_hop(struct conf_next_hop *hop, const char *text)
{
	bool bracketed = *text == '[';
	size_t len = bracketed ? strcspn(text, "]") : strcspn(text, ":");
	const char *rest = text + len + (bracketed && text[len]);
	char host[4 * DOMAIN_SIZE];

	if (len >= sizeof host || (bracketed && !text[len]))
		return false;
	memcpy(host, text + bracketed, len - bracketed);
	host[len - bracketed] = '\0';
	hop->lookup_mx = !bracketed;
	if (*rest && (*rest != ':' || !addr_parse_port(rest + 1, &hop->port)))
		return false;
	if (bracketed)
		return parse_bracketed(hop, host);
	return domain_normalize(hop->host, host, strlen(host)) && domain_is_host(hop->host);
}

static bool parse_next_hop(void *field, const char *text, const struct value_rule *rule,
			   char why[VALUE_WHY])
{
	struct conf_next_hop hop = {.set = true, .port = SMTP_PORT};
	struct conf_next_hop *place = field;

	(void)rule;
	*place = (struct conf_next_hop){0};
	if (!*text)
		return true;
	if (!split_next_hop(&hop, text))
		return value_refuse(
		    why,
		    "%.80s is none of host, host:port, [host]:port, [192.0.2.1]:25, "
		    "[IPv6:2001:db8::1]:25",
		    text);
	if (hop.is_address)
		addr_set_port(&hop.address, hop.port);
	*place = hop;
	return true;
}

const struct value_type value_next_hop = {.parse = parse_next_hop};

/* ---- lists ---- */

static const char list_separators[] = " \t,";

/* The next word of a list into word; false at its end. An over-long one is cut, thus no address. */
static bool next_word(const char **text, char *word, size_t size)
{
	const char *start = *text + strspn(*text, list_separators);
	size_t len = strcspn(start, list_separators);

	*text = start + len;
	snprintf(word, size, "%.*s", (int)len, start);
	return len > 0;
}

static bool enough(size_t count, const struct value_rule *rule, char why[VALUE_WHY])
{
	return count >= rule->least || value_refuse(why, "must name at least one");
}

static bool parse_ranges(void *field, const char *text, const struct value_rule *rule,
			 char why[VALUE_WHY])
{
	struct cidr_list *list = field;
	char word[80];

	while (next_word(&text, word, sizeof word)) {
		struct cidr range;

		if (!cidr_parse(&range, word))
			return value_refuse(
			    why,
			    "%s is not an address range such as 10.0.0.0/8 or 2001:db8::/32"
			    " (no bits beyond the prefix)",
			    word);
		list->items = mem_resize(list->items, list->count + 1, sizeof *list->items);
		list->items[list->count++] = range;
	}
	return enough(list->count, rule, why);
}

static void release_ranges(void *field)
{
	struct cidr_list *list = field;

	free(list->items);
	*list = (struct cidr_list){0};
}

static void append_addr(struct conf_addrs *list, const struct addr *a)
{
	list->items = mem_resize(list->items, list->count + 1, sizeof *list->items);
	list->items[list->count++] = *a;
}

static bool parse_listen(void *field, const char *text, const struct value_rule *rule,
			 char why[VALUE_WHY])
{
	struct conf_addrs *list = field;
	struct addr a;
	char word[80];

	while (next_word(&text, word, sizeof word)) {
		if (!addr_parse(&a, word, 0))
			return value_refuse(
			    why, "%s is not an address with port such as 127.0.0.1:25 or [::1]:25",
			    word);
		append_addr(list, &a);
	}
	return enough(list->count, rule, why);
}

static bool parse_hosts(void *field, const char *text, const struct value_rule *rule,
			char why[VALUE_WHY])
{
	struct conf_addrs *list = field;
	struct addr a;
	char word[80];

	while (next_word(&text, word, sizeof word)) {
		if ((!addr_parse(&a, word, SMTP_PORT) && !addr_parse_ip(&a, word, SMTP_PORT)) ||
		    addr_classify(&a) == ADDR_NEVER)
			return value_refuse(
			    why,
			    "%s is not the address of a host such as 192.0.2.7 or [2001:db8::7]:25",
			    word);
		append_addr(list, &a);
	}
	return enough(list->count, rule, why);
}

/* 192.0.2.53 or 192.0.2.54@5353, as Unbound writes them. */
static bool parse_server(struct addr *a, char *word)
{
	char *at = strchr(word, '@');
	uint16_t port = 53;

	if (at && !addr_parse_port(at + 1, &port))
		return false;
	if (at)
		*at = '\0';
	bool good = addr_parse_ip(a, word, port) && addr_classify(a) != ADDR_NEVER;

	if (at)
		*at = '@';
	return good;
}

static bool parse_servers(void *field, const char *text, const struct value_rule *rule,
			  char why[VALUE_WHY])
{
	struct conf_addrs *list = field;
	struct addr a;
	char word[80];

	while (next_word(&text, word, sizeof word)) {
		if (!parse_server(&a, word))
			return value_refuse(
			    why, "%s is not an address such as 192.0.2.53 or 192.0.2.53@5353",
			    word);
		append_addr(list, &a);
	}
	return enough(list->count, rule, why);
}

static void release_addrs(void *field)
{
	struct conf_addrs *list = field;

	free(list->items);
	*list = (struct conf_addrs){0};
}

const struct value_type value_ranges = {parse_ranges, release_ranges, true};
const struct value_type value_listen = {parse_listen, release_addrs, true};
const struct value_type value_hosts = {parse_hosts, release_addrs, true};
const struct value_type value_servers = {parse_servers, release_addrs, true};
