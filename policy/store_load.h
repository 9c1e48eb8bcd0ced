/*
 * store_load.h - the policies of a file, once, before danelaw serves. Used by store.c alone.
 */
#ifndef POLICY_STORE_LOAD_H
#define POLICY_STORE_LOAD_H

#include "policy/store_db.h"

/*
 * Blocks. Makes the file where there is none, repairs a damaged one, drops damaged entries; each is
 * logged at error. Not STORE_DONE: it could not be written, as why says; what could be read was
 * given all the same.
 */
enum store_result store_file_load(
    const char *path, store_entry_fn *each, void *arg, char why[STORE_WHY]);

/* What can be read of it, without a trace on disk or in the log. */
void store_file_look(const char *path, store_entry_fn *each, void *arg);

#endif
