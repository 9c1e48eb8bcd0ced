/*
 * spool_message.c - see spool_message.h.
 */
#include "proxy/spool/spool_message.h"

#include <stdlib.h>

void spool_message_free(struct spool_message **message)
{
	struct spool_message *m = *message;

	if (!m)
		return;
	for (size_t i = 0; i < m->count; i++) {
		free(m->recipients[i].address);
		free(m->recipients[i].dsn.orcpt);
	}
	free(m->recipients);
	free(m->session);
	free(m);
	*message = NULL;
}
