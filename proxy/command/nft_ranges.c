/*
 * nft_ranges.c - see nft_ranges.h. Of two ranges one holds the other or they are apart, so leaving
 * out what another holds is all that an interval set of nftables asks for. Called by nft_rules.c.
 */
#include "proxy/command/nft_ranges.h"

#include "conf/mem.h"

#include <string.h>

enum { RANGES_A_LINE = 4 };

const char *nft_family(int family) { return family == AF_INET ? "ip" : "ip6"; }

char nft_digit(int family) { return family == AF_INET ? '4' : '6'; }

bool nft_has_family(const struct cidr_list *list, int family)
{
	for (size_t i = 0; i < list->count; i++)
		if (list->items[i].family == family)
			return true;
	return false;
}

static void add_range(struct cidr_list *list, const struct cidr *range)
{
	list->items = mem_resize(list->items, list->count + 1, sizeof *list->items);
	list->items[list->count++] = *range;
}

void nft_add_ranges(struct cidr_list *list, const struct cidr_list *more)
{
	for (size_t i = 0; i < more->count; i++)
		add_range(list, &more->items[i]);
}

void nft_add_address(struct cidr_list *list, const struct addr *address)
{
	bool is_4 = address->sa.sa_family == AF_INET;
	struct cidr range = {.family = address->sa.sa_family, .prefix = is_4 ? 32 : 128};

	if (is_4)
		memcpy(range.bytes, &address->in.sin_addr, 4);
	else
		memcpy(range.bytes, &address->in6.sin6_addr, 16);
	add_range(list, &range);
}

/* Of equal ranges the first stays. */
static bool is_within_another(const struct cidr_list *list, size_t index)
{
	const struct cidr *range = &list->items[index];
	struct addr first;

	addr_from_bytes(&first, range->family, range->bytes, 0);
	for (size_t i = 0; i < list->count; i++) {
		const struct cidr *other = &list->items[i];

		if (i != index && other->family == range->family && cidr_contains(other, &first) &&
		    (other->prefix < range->prefix ||
			(other->prefix == range->prefix && i < index)))
			return true;
	}
	return false;
}

static void write_range(FILE *out, const struct cidr *range)
{
	struct addr first;
	char text[ADDR_TEXT];

	addr_from_bytes(&first, range->family, range->bytes, 0);
	fputs(addr_ip(&first, text), out);
	if (range->prefix != (range->family == AF_INET ? 32u : 128u))
		fprintf(out, "/%u", range->prefix);
}

static void write_elements(FILE *out, int family, const struct cidr_list *list)
{
	size_t written = 0;

	for (size_t i = 0; i < list->count; i++) {
		if (list->items[i].family != family || is_within_another(list, i))
			continue;
		fputs(!written                       ? "\t\telements = {\n\t\t\t"
		      : written % RANGES_A_LINE == 0 ? ",\n\t\t\t"
						     : ", ",
		    out);
		write_range(out, &list->items[i]);
		written++;
	}
	if (written)
		fputs("\n\t\t}\n", out);
}

void nft_write_set(FILE *out, const char *name, size_t n, int family, const struct cidr_list *list)
{
	fprintf(out, "\tset %s%c_%zu {\n\t\ttype ipv%c_addr\n\t\tflags interval\n", name,
	    nft_digit(family), n, nft_digit(family));
	write_elements(out, family, list);
	fputs("\t}\n", out);
}
