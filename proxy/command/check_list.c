/*
 * check_list.c - see check_list.h. Pure but for reading.
 *
 * A log holds whatever strangers wrote into envelopes: only what is a domain in normal form leaves
 * here, and how many different ones is bounded.
 */
#include "proxy/command/check_list.h"

#include "conf/domain.h"
#include "conf/mem.h"

#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

/* The default function falls through between cases, which clang does not let pass. */
#define HASH_FUNCTION HASH_OAT
#include <uthash.h>

enum { NAMES_MAX = 100000 };

struct check_seen {
	UT_hash_handle hh;
	char name[];
};

void check_list_add(struct check_list *list, const char *name)
{
	if (list->count == list->size) {
		list->size = list->size ? 2 * list->size : 64;
		list->names = mem_resize(list->names, list->size, sizeof *list->names);
	}
	list->names[list->count++] = mem_strdup(name);
}

static void add_once(struct check_list *list, const char *domain)
{
	struct check_seen *seen;

	HASH_FIND_STR(list->seen, domain, seen);
	if (seen || list->count >= NAMES_MAX)
		return;
	seen = mem_alloc(sizeof *seen + strlen(domain) + 1);
	memcpy(seen->name, domain, strlen(domain) + 1);
	HASH_ADD_STR(list->seen, name, seen);
	check_list_add(list, domain);
}

/* Of an address the part behind its last @. */
static void add_text(struct check_list *list, const char *text, size_t len)
{
	const char *at = memrchr(text, '@', len);
	char domain[DOMAIN_SIZE];

	if (at) {
		len -= (size_t)(at + 1 - text);
		text = at + 1;
	}
	if (len > 1 && text[len - 1] == '.')
		len--;
	if (domain_normalize(domain, text, len) && domain_is_mx_host(domain))
		add_once(list, domain);
}

/* to=<a@x.example>,<b@y.example>:refused as danelaw has it, to=<a@x.example>, as Postfix has it. */
static const char *add_recipients(struct check_list *list, const char *at)
{
	while (*at == '<') {
		size_t len = strcspn(at + 1, ">");

		if (at[1 + len] != '>')
			return at + 1 + len;
		if (memchr(at + 1, '@', len))
			add_text(list, at + 1, len);
		at += len + 2;
		if (*at == ':')
			at += strcspn(at, ", ");
		if (*at == ',')
			at++;
	}
	return at;
}

static bool is_log_line(const char *line)
{
	return strstr(line, " to=<") || strstr(line, " from=<") || !strncmp(line, "to=<", 4);
}

static void read_log_line(struct check_list *list, const char *line)
{
	static const char key[] = "to=<";
	const char *at = line;

	while ((at = strstr(at, key))) {
		bool is_key = at == line || at[-1] == ' ';

		at += sizeof key - 2;
		if (is_key)
			at = add_recipients(list, at);
	}
}

void check_list_read(struct check_list *list, FILE *file)
{
	char *line = NULL;
	size_t size = 0;

	while (getline(&line, &size, file) >= 0) {
		const char *word = line + strspn(line, " \t");
		size_t word_len = strcspn(word, " \t\r\n,;#");

		if (is_log_line(line))
			read_log_line(list, line);
		else if (word_len)
			add_text(list, word, word_len);
	}
	free(line);
}

void check_list_release(struct check_list *list)
{
	struct check_seen *seen, *next;

	HASH_ITER(hh, list->seen, seen, next)
	{
		HASH_DEL(list->seen, seen);
		free(seen);
	}
	for (size_t i = 0; i < list->count; i++)
		free(list->names[i]);
	free(list->names);
	*list = (struct check_list){0};
}
