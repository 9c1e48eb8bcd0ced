/*
 * opaque.h - what list and hash macros do, for analysers: somebody changes the container, and the
 * element is its from now on, or no longer.
 *
 * They cannot follow such a macro: each deleted element counts as still in its list, each added one
 * as leaked, and gcc 12 does not come to an end with a hash of 32 octets. So tests/lint/run gives them
 * the headers of this folder in front of the real ones. No program is built with them.
 */
#ifndef TESTS_LINT_MODELS_OPAQUE_H
#define TESTS_LINT_MODELS_OPAQUE_H

/* The head as it is afterwards. */
void *opaque_add(void *head, void *element);
void *opaque_delete(void *head, void *element);
void *opaque_find(const void *head, const void *key);

#endif
