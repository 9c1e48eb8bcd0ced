/*
 * join.c - see join.h. Called for commands to next hops, the Received field and copies of names.
 */
#include "conf/join.h"

#include <string.h>

size_t text_join_all(char *out, size_t size, const char *const *pieces)
{
	size_t wanted = 0, len = 0;

	for (; *pieces; pieces++) {
		size_t piece = strlen(*pieces);
		size_t room = size - 1 - len;
		size_t fits = piece < room ? piece : room;

		memcpy(out + len, *pieces, fits);
		len += fits;
		wanted += piece;
	}
	out[len] = '\0';
	return wanted;
}
