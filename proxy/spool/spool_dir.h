/*
 * spool_dir.h - the directory of the spool, state_dir/spool: a file for each message, named after
 * its id; `damaged`, for what was set aside; `lock`, held by who works the spool off.
 *
 * Used by spool*.c and by `danelaw queue show`.
 */
#ifndef PROXY_SPOOL_DIR_H
#define PROXY_SPOOL_DIR_H

#include "proxy/spool/spool.h"
#include "proxy/spool/spool_file.h"

/* "STATE_DIR/spool"; free() releases. */
char *spool_dir_path(const struct conf *conf);

/* Makes it, on the disk, where it is not there. */
bool spool_dir_make(const char *directory, char why[SPOOL_WHY]);

/*
 * Whether the directory is still the one whose lock file this is. An unmounted state_dir is not:
 * what is missing there is not lost. false: why.
 */
bool spool_dir_is_there(const char *directory, int lock, char why[SPOOL_WHY]);
void spool_dir_say_gone(const char *directory, char why[SPOOL_WHY]); /* its words alone */

/* A message's file, close-on-exec. < 0: errno; ELOOP: what has that name is no regular file. */
int spool_dir_open(const char *directory, const char *id, int flags);

/* A message's body: a descriptor at its first octet. -1: why; the file is damaged or missing where
 * *is_damaged (NULL is welcome), else it could just not be read now. */
int spool_dir_open_body(const char *directory, const struct spool_message *message,
    bool *is_damaged, char why[SPOOL_WHY]);

/* The envelope in a file, and what its first line says. NULL: why, *is_damaged as above. */
struct spool_message *spool_dir_read(const char *directory, const char *id, struct spool_file *file,
    bool *is_damaged, char why[SPOOL_WHY]);

/* What a file's first line says; one that holds nothing yet has begun. false: why, *is_damaged as
 * above. */
bool spool_dir_read_line(const char *directory, const char *id, struct spool_file *file,
    bool *is_damaged, char why[SPOOL_WHY]);

/*
 * Changes the mark of a file, which is on its way to the disk then; one that is done stays so.
 * spool_dir_sync_file() waits until it is there. false: errno.
 */
bool spool_dir_mark(const char *directory, const char *id, enum spool_mark mark);
bool spool_dir_sync_file(const char *directory, const char *id);

/* Reads the whole body: whether it is complete, and as it was written. */
bool spool_dir_check_body(
    const char *directory, const struct spool_message *message, const struct spool_file *file);

/* Calls for each message file. false: errno. */
typedef void spool_dir_fn(const char *id, void *arg);
bool spool_dir_each(const char *directory, spool_dir_fn *each, void *arg);

/* Moves a message's file into `damaged`, with a text beside it that tells what is known; both are
 * on the disk then. A file that is not there: the text alone. */
bool spool_dir_set_aside(
    const char *directory, const char *id, const char *text, char why[SPOOL_WHY]);

/* Octets that mail may take, so that the index can still say what is done. *error: 0, or why
 * nothing can be written at all. */
uint64_t spool_dir_room(const char *directory, int *error);

/* Makes the names in a directory last. */
bool spool_dir_sync(const char *directory);

#endif
