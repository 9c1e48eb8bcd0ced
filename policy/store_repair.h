/*
 * store_repair.h - a damaged file of policies is set aside, and what it still gives is copied into
 * a new one (R-STS-22, S-12).
 */
#ifndef POLICY_STORE_REPAIR_H
#define POLICY_STORE_REPAIR_H

#include "policy/store_db.h"

/*
 * Blocks. No connection of this process to the file may be open. why: what is wrong with the file,
 * in; out: one line of what was done, for the log at error. Not STORE_DONE: nothing can be done, as
 * why says. Several processes may find the same damage; one of them repairs it.
 */
enum store_result store_repair(const char *path, char why[STORE_WHY]);

#endif
