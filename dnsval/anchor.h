/*
 * anchor.h - the trust anchors: which keys everything else is proven with (RFC 4033, RFC 5011).
 *
 * With no anchor libunbound calls every answer insecure, silently; so what is empty, unreadable or
 * of an algorithm that the library cannot verify is an error here, before it gets there (D-23).
 */
#ifndef DNSVAL_ANCHOR_H
#define DNSVAL_ANCHOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct conf;
struct sandbox;

struct anchor {
	char *record; /* "OWNER IN DS ..." or "OWNER IN DNSKEY ...", for ub_ctx_add_ta() */
	char *owner;
	uint16_t tag;
};

struct anchors {
	char *source; /* file name, or "built in" */
	size_t count; /* never 0 */
	struct anchor *items;
};

/*
 * [dns] trust_anchor; or the root keys that RFC 5011 has kept up in state_dir, if they grew from
 * the present seed; or the seed itself. NULL: *error (malloc'd) says why; the program ends with 78.
 */
struct anchors *anchors_load(const struct conf *conf, char **error);
void anchors_free(struct anchors **anchors);

/* What anchors_load() reads, but for state_dir. */
void anchors_let_in(struct sandbox *sandbox, const struct conf *conf);

/*
 * Loads again what RFC 5011 may have changed meanwhile; whether it did. Keys that cannot be loaded
 * change nothing: *error (malloc'd, NULL before) says why. [dns] trust_anchor is static and not
 * read again.
 */
bool anchors_refresh(struct anchors **anchors, const struct conf *conf, char **error);

/* The same records in the same order. */
bool anchors_equal(const struct anchors *a, const struct anchors *b);

/* One line at info with the key tags (R-DNS-38). */
void anchors_log(const struct anchors *anchors);

/*
 * DS and DNSKEY records in zone-file form, absolute names, parentheses and comments allowed. Of a
 * file that RFC 5011 keeps, only keys that it trusts by now. Pure. NULL: *error says why.
 */
struct anchors *anchors_parse(const char *text, size_t len, const char *source, char **error);

/* The same from a file. */
struct anchors *anchors_read(const char *path, char **error);

/* The whole text of a file; NULL with errno set. */
char *anchors_read_text(const char *path);

/* The root keys to begin with: the distribution's, else built in. NULL: *error says why. */
char *anchors_seed(const char **source, char **error);

/* What rfc5011.c keeps: state_dir/root.key and the seed that it grew from. NULL: there is no
 * state_dir. */
char *anchors_state_path(const struct conf *conf, const char *suffix);

/* Whether the keys in state_dir grew from this seed. */
bool anchors_grew_from(const struct conf *conf, const char *seed);

#endif
