/*
 * store_row.c - see store_row.h.
 */
#include "policy/store_row.h"

#include "conf/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

uint32_t store_row_size(size_t mx_len)
{
	return (uint32_t)((sizeof(struct store_row) + mx_len + 1 + 7) / 8 * 8);
}

static struct store_row *new_row(const char *domain, size_t mx_len)
{
	uint32_t size = store_row_size(mx_len);
	struct store_row *row = mem_zero(1, size);

	row->size = size;
	snprintf(row->domain, sizeof row->domain, "%s", domain);
	return row;
}

static size_t joined_len(const struct sts_policy *policy)
{
	size_t len = 0;

	for (size_t i = 0; i < policy->mx_count; i++)
		len += strlen(policy->mx[i]) + 1;
	return len;
}

static void join(char *out, const struct sts_policy *policy)
{
	for (size_t i = 0; i < policy->mx_count; i++) {
		if (i > 0)
			*out++ = ' ';
		out = stpcpy(out, policy->mx[i]);
	}
}

struct store_row *store_row_new(const struct sts_entry *entry)
{
	struct store_row *row = new_row(entry->domain, joined_len(&entry->policy));

	row->mode = entry->policy.mode;
	row->max_age = entry->policy.max_age;
	row->fetched = entry->fetched;
	row->expires = entry->expires;
	row->used = entry->used;
	snprintf(row->id, sizeof row->id, "%s", entry->id);
	join(row->mx, &entry->policy);
	return row;
}

struct store_row *store_row_delete(const char *domain)
{
	struct store_row *row = new_row(domain, 0);

	row->is_delete = true;
	return row;
}

static void add_pattern(struct sts_policy *policy, const char *pattern, size_t len)
{
	policy->mx = mem_resize(policy->mx, policy->mx_count + 1, sizeof *policy->mx);
	policy->mx[policy->mx_count++] = mem_strndup(pattern, len);
}

static void split(struct sts_policy *policy, const char *mx)
{
	while (*mx) {
		size_t len = strcspn(mx, " ");

		add_pattern(policy, mx, len);
		mx += len;
		mx += strspn(mx, " ");
	}
}

void store_row_entry(const struct store_row *row, struct sts_entry *entry)
{
	memset(entry, 0, sizeof *entry);
	memcpy(entry->domain, row->domain, sizeof entry->domain);
	memcpy(entry->id, row->id, sizeof entry->id);
	entry->policy.mode = row->mode;
	entry->policy.max_age = row->max_age;
	split(&entry->policy, row->mx);
	entry->fetched = row->fetched;
	entry->expires = row->expires;
	entry->used = row->used;
}
