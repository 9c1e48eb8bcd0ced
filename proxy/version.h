/*
 * version.h - what this program calls itself, and the libraries it runs with.
 */
#ifndef PROXY_VERSION_H
#define PROXY_VERSION_H

extern const char danelaw_version[]; /* "0.1.0" */
extern const char danelaw_commit[];

/* On stdout, a line for each library. */
void version_print(void);

#endif
