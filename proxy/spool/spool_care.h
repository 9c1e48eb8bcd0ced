/*
 * spool_care.h - keeps index and files of the spool in step: opens the index, takes up again from
 * the files what it has lost, removes drafts of processes that died, sets damaged messages aside.
 * In the disk process alone.
 */
#ifndef PROXY_SPOOL_CARE_H
#define PROXY_SPOOL_CARE_H

#include "conf/log.h"
#include "proxy/spool/spool_index.h"

struct spool_care {
	const char *directory;
	bool is_worker; /* works the spool off: may make, repair and remove */
	struct spool_index *index;
	double swept;                                         /* clock_steady() */
	void (*tell)(enum log_level level, const char *text); /* for the log */
};

/* Makes care->index usable, where that can be. */
enum spool_result spool_care_open(struct spool_care *care, char why[SPOOL_WHY]);

/* After a result of the index that is not SPOOL_DONE: what is to be done with the connection. true:
 * it was repaired, so that it can be tried again. */
bool spool_care_after(struct spool_care *care, enum spool_result result, char why[SPOOL_WHY]);

/* Files without a row whose writer is gone: taken up again where they are marked as promised, else
 * removed. Now and then, and at once where `now`. */
void spool_care_sweep(struct spool_care *care, bool now);

/* Makes the damaged rows of a message again from its file; reported at error. false: it is not
 * there, or damaged as well. */
bool spool_care_mend(struct spool_care *care, const char *id, const char *reason);

/* Out of the index and the directory, into `damaged`; reported at error. */
bool spool_care_set_aside(
    struct spool_care *care, const char *id, const char *reason, char why[SPOOL_WHY]);

#endif
