/*
 * anchor.c - which trust anchors are used, and from which file (RFC 5011, RFC 7958).
 *
 * The seed is the distribution's root key, or ours where that is missing. rfc5011.c keeps a copy of
 * it up to date in state_dir, and remembers the seed beside it: a seed that has changed starts
 * anew. The copy is read here and handed to libunbound as static keys, because the library ends the
 * whole process when it cannot write a file that it keeps up itself. Called by resolver.c and
 * probe.c.
 */
#include "dnsval/anchor.h"

#include "conf/conf.h"
#include "conf/log.h"
#include "conf/mem.h"
#include "conf/sandbox.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FILE_MAX = 1 << 20 };

static const char distribution_file[] = "/usr/share/dns/root.key";

/* KSK-2017 and KSK-2024 (R-DNS-38); data.iana.org/root-anchors/root-anchors.xml has both. */
static const char built_in[] =
    ". IN DS 20326 8 2 E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D\n"
    ". IN DS 38696 8 2 683D2D0ACB8C9B712A1948B27F741219298D0A450D612C483AF444A4C0FB2B16\n";

/* NULL with errno set. Files of more than FILE_MAX octets are none of ours. */
static char *read_file(const char *path, size_t *len)
{
	FILE *file = fopen(path, "re");

	if (!file)
		return NULL;
	char *text = mem_alloc(FILE_MAX + 1);

	*len = fread(text, 1, FILE_MAX + 1, file);
	if (ferror(file) || *len > FILE_MAX) {
		errno = ferror(file) ? EIO : EFBIG;
		free(text);
		text = NULL;
	} else {
		text = mem_resize(text, *len + 1, 1);
		text[*len] = '\0';
	}
	int saved = errno;

	fclose(file);
	errno = saved;
	return text;
}

char *anchors_read_text(const char *path)
{
	size_t len;

	return read_file(path, &len);
}

struct anchors *anchors_read(const char *path, char **error)
{
	size_t len;
	char *text = read_file(path, &len);

	if (!text) {
		*error = mem_printf("%s: %s", path, strerror(errno));
		return NULL;
	}
	struct anchors *anchors = anchors_parse(text, len, path, error);

	free(text);
	return anchors;
}

char *anchors_seed(const char **source, char **error)
{
	size_t len;
	char *text = read_file(distribution_file, &len);

	*source = distribution_file;
	if (!text && errno == ENOENT) {
		*source = "built in";
		return mem_strdup(built_in);
	}
	if (!text)
		*error = mem_printf("%s: %s", distribution_file, strerror(errno));
	return text;
}

char *anchors_state_path(const struct conf *conf, const char *suffix)
{
	const char *dir = conf->server.state_dir;

	return dir && dir[0] ? mem_printf("%s/root.key%s", dir, suffix) : NULL;
}

bool anchors_grew_from(const struct conf *conf, const char *seed)
{
	char *path = anchors_state_path(conf, ".seed");
	size_t len;
	char *remembered = path ? read_file(path, &len) : NULL;
	bool same = remembered && len == strlen(seed) && memcmp(remembered, seed, len) == 0;

	free(remembered);
	free(path);
	return same;
}

/* The seed is as good as the copy where that is missing or damaged: RFC 5011 begins with it again.
 */
static struct anchors *load_state(const struct conf *conf, const char *seed)
{
	char *path = anchors_state_path(conf, "");
	char *error = NULL;
	struct anchors *anchors = NULL;

	if (path && anchors_grew_from(conf, seed))
		anchors = anchors_read(path, &error);
	if (error)
		log_warning("trust anchor: %s; beginning anew", error);
	free(error);
	free(path);
	return anchors;
}

static struct anchors *load_root(const struct conf *conf, char **error)
{
	const char *source;
	char *seed = anchors_seed(&source, error);

	if (!seed)
		return NULL;
	struct anchors *anchors = load_state(conf, seed);

	if (!anchors)
		anchors = anchors_parse(seed, strlen(seed), source, error);
	free(seed);
	return anchors;
}

static bool is_static(const struct conf *conf)
{
	return conf->dns.trust_anchor && conf->dns.trust_anchor[0];
}

struct anchors *anchors_load(const struct conf *conf, char **error)
{
	struct anchors *anchors =
	    is_static(conf) ? anchors_read(conf->dns.trust_anchor, error) : load_root(conf, error);

	if (!anchors) {
		char *cause = *error;

		*error = mem_printf("[dns] trust_anchor: %s", cause);
		free(cause);
	}
	return anchors;
}

void anchors_let_in(struct sandbox *sandbox, const struct conf *conf)
{
	sandbox_let_read_anew(
	    sandbox, is_static(conf) ? conf->dns.trust_anchor : distribution_file);
}

void anchors_free(struct anchors **anchors)
{
	if (!*anchors)
		return;
	for (size_t i = 0; i < (*anchors)->count; i++) {
		free((*anchors)->items[i].record);
		free((*anchors)->items[i].owner);
	}
	free((*anchors)->items);
	free((*anchors)->source);
	free(*anchors);
	*anchors = NULL;
}

bool anchors_equal(const struct anchors *a, const struct anchors *b)
{
	bool equal = a->count == b->count;

	for (size_t i = 0; equal && i < a->count; i++)
		equal = strcmp(a->items[i].record, b->items[i].record) == 0;
	return equal;
}

bool anchors_refresh(struct anchors **anchors, const struct conf *conf, char **error)
{
	struct anchors *fresh = is_static(conf) ? NULL : anchors_load(conf, error);
	bool changed = fresh && !anchors_equal(*anchors, fresh);

	if (changed) {
		anchors_free(anchors);
		*anchors = fresh;
	} else {
		anchors_free(&fresh);
	}
	return changed;
}

void anchors_log(const struct anchors *anchors)
{
	struct log_line line;
	char *keys = mem_strdup("");

	for (size_t i = 0; i < anchors->count; i++) {
		const struct anchor *anchor = &anchors->items[i];
		char *more = mem_printf(
		    "%s%s%s %u", keys, i ? ", " : "", anchor->owner, (unsigned)anchor->tag);

		free(keys);
		keys = more;
	}
	log_begin(&line, LOG_LEVEL_INFO, "trust-anchor");
	log_value(&line, "keys", keys);
	log_value(&line, "source", anchors->source);
	log_end(&line);
	free(keys);
}
