/*
 * secret.h - what the processes of one danelaw know and nobody else, over restarts.
 */
#ifndef PROXY_SHARED_SECRET_H
#define PROXY_SHARED_SECRET_H

#include <stdbool.h>

enum { SECRET_SIZE = 32 };

/* At random. Without a source of randomness the program ends. */
void secret_make(unsigned char secret[SECRET_SIZE]);

/*
 * That of DIRECTORY/secret; where there is none yet, or a damaged one, `secret` becomes it,
 * readable for this user alone. Blocks. false, with errno: it could not be kept, and is another one
 * after a restart.
 */
bool secret_keep(const char *directory, unsigned char secret[SECRET_SIZE]);

#endif
