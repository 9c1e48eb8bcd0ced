/*
 * spool.h - the messages that we answer for: files and an SQLite index under state_dir/spool,
 * crash-safe at every instruction.
 *
 * A message file holds the envelope, so that a lost index can be made again, and the body as it
 * goes over the wire; the index holds what is true of each recipient. A file is a draft until its
 * row is in the index: nobody was promised anything. Whoever writes a draft holds a lock on the
 * file; one without row and without lock is removed by who comes next, unless it is marked as
 * promised (spool_file.h): the index has lost it then, and it is taken up again.
 *
 * The loop writes bodies into the page cache; everything that may wait for a disk (fsync, SQLite,
 * unlink) is done by one child process, the disk process. Answers come on a later turn, exactly one
 * each, none after free or spool_forget(). Several processes may share the spool; one of them works
 * it off. Owner: machine.
 */
#ifndef PROXY_SPOOL_H
#define PROXY_SPOOL_H

#include "proxy/spool/spool_message.h"

#include <stdbool.h>
#include <stddef.h>
#include <time.h>

struct conf;
struct ev_loop;
struct spool;

/*
 * Forks the disk process: after privileges were dropped, before the resolver exists. Never NULL:
 * trouble is logged at error, once for each change of state, and told by spool_is_ready(). A
 * damaged index is set aside, reported, and made again from the files.
 */
struct spool *spool_open(struct ev_loop *loop, const struct conf *conf);
void spool_close(struct spool **spool); /* waits at most 2 s for what is under way */

enum { SPOOL_WHY = 256 };

/* Whether a message can be taken now: the disk process lives, the directory can be written, more
 * than a reserve of the disk is free. false: why. */
bool spool_is_ready(struct spool *spool, char why[SPOOL_WHY]);

/* A new id: unique among all processes that share the spool. */
void spool_make_id(struct spool *spool, char id[SPOOL_ID_SIZE]);

/* ---- writing one (transaction, notices) ---- */

struct spool_draft;

/*
 * Begins a file for message (id set; borrowed for the call, recipients: all that the message is
 * accepted for so far). NULL: why.
 */
struct spool_draft *spool_draft_new(
    struct spool *spool, const struct spool_message *message, char why[SPOOL_WHY]);

/* More of the body, dot-stuffed. false: it failed, and will for ever; spool_draft_error(). */
bool spool_draft_write(struct spool_draft *draft, const void *data, size_t len);
const char *spool_draft_error(const struct spool_draft *draft);

/*
 * ok false: why says what went wrong; nothing may be promised. At most 60 s after the request. A
 * commit that the disk completes after that is undone as soon as it has; it still becomes mail,
 * and the client's next try a second copy, if this process ends before, or if another danelaw on
 * the same spool gave it out in the moment between.
 */
typedef void spool_draft_fn(bool ok, const char *why, void *arg);

/* All octets are on the disk, file and directory entry. One request at a time. */
void spool_draft_sync(struct spool_draft *draft, spool_draft_fn *callback, void *arg);

/*
 * message (id of the draft, recipients: those that remain; borrowed for the call) is in the index
 * and the file is complete, both on the disk: from ok on it is ours. Syncs the file first where
 * that was not done.
 */
void spool_draft_commit(struct spool_draft *draft, const struct spool_message *message,
    spool_draft_fn *callback, void *arg);

/* Unless it was committed, the file goes. A commit under way is taken back as above. */
void spool_draft_free(struct spool_draft **draft);

/* ---- working it off (runner) ---- */

/* message: handed over, NULL: no more in this answer. */
typedef void spool_due_fn(struct spool_message *message, void *arg);

/* Which of them first: those that are due longest, or those that came last, of the last quarter of
 * an hour, where others fill all room. */
enum spool_order { SPOOL_LONGEST_DUE, SPOOL_LATEST };

/*
 * Messages with a recipient whose next_try has passed or that was ordered to bounce, in this order,
 * at most max, each with all its recipients; a message is not given again before
 * spool_settle() or spool_give_back(). Nothing while another process works the spool off; it takes
 * over within seconds after that one ended. Ends with one callback of NULL.
 */
void spool_ask_due(
    struct spool *spool, enum spool_order order, size_t max, spool_due_fn *callback, void *arg);

/* When spool_ask_due() will have something, as far as known now; 0: not known. */
time_t spool_next_due(const struct spool *spool);

/* To be called back when something may be due earlier: a commit, an order of the operator, the
 * spool of a process that ended. One watcher; NULL: none any more. */
void spool_watch(struct spool *spool, void (*on_change)(void *arg), void *arg);

/*
 * The body: a descriptor at its first octet, readable; the caller closes it. -1: why; the file is
 * damaged or missing where *is_damaged (NULL is welcome), else errno says why it could not be read
 * now.
 */
int spool_open_body(struct spool *spool, const struct spool_message *message, bool *is_damaged,
    char why[SPOOL_WHY]);

/* Sets a message aside whose file is damaged or missing: reported at error, never lost in silence.
 */
void spool_set_aside(struct spool *spool, struct spool_message **message, const char *why);

/*
 * Stores what became of the recipients: done ones leave, the others are updated; with the last one
 * the message and its file go. The message is handed over. Retried until the disk takes it; until
 * then the message is not given out again. callback may be NULL.
 */
void spool_settle(
    struct spool *spool, struct spool_message **message, spool_draft_fn *callback, void *arg);
void spool_give_back(struct spool *spool, struct spool_message **message); /* unchanged */

/* ---- what was accepted, for the duplicate guard ---- */

enum { SPOOL_DIGEST_SIZE = 32 };
typedef void spool_memory_fn(
    const unsigned char digest[SPOOL_DIGEST_SIZE], time_t until, void *arg);

void spool_remember(
    struct spool *spool, const unsigned char digest[SPOOL_DIGEST_SIZE], time_t until);
/* Those that are not over; at start, blocks. */
void spool_recall(struct spool *spool, spool_memory_fn *each, void *arg);

/* Whoever is freed: no callback with this arg comes any more (drafts have spool_draft_free()). Due
 * messages on their way to it count as given back; what is being settled is settled. */
void spool_forget(struct spool *spool, const void *arg);

/* For metrics: messages in the index, as last heard. */
size_t spool_count(const struct spool *spool);

#endif
