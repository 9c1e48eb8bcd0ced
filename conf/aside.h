/*
 * aside.h - a damaged SQLite database makes way for a new one and is kept beside it, for whoever
 * wants to look what can be saved.
 */
#ifndef CONF_ASIDE_H
#define CONF_ASIDE_H

#include <stdbool.h>

/* PATH.damaged-TIME, where nothing is yet. To be freed. */
char *aside_name(const char *path);

/* With its log and index of the log. false: errno; some of it may have moved. */
bool aside_move(const char *path, const char *aside);

#endif
