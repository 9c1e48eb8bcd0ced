/*
 * rfc5011.c - keeps the root's trust anchor up to date in state_dir, in one process of all.
 *
 * libunbound does the state table of RFC 5011, but it calls exit() when it cannot write its file: a
 * full disk would end a proxy with thousands of sessions (F-02); or it leaves an empty file. It
 * also forgets a name altogether, and so calls it insecure, once all its keys are revoked. So it
 * works on a draft, in a child process that lives for one lookup, and the draft is read and judged
 * before it takes the place of root.key. The child's words come back through a pipe. Called by
 * resolver.c.
 */
#include "dnsval/rfc5011.h"

#include "conf/child.h"
#include "conf/conf.h"
#include "conf/log.h"
#include "conf/mem.h"
#include "conf/sandbox.h"
#include "dnsval/anchor.h"
#include "dnsval/context.h"
#include "dnsval/lookup.h"
#include "dnsval/ub_log.h"

#include <errno.h>
#include <ev.h>
#include <fcntl.h>
#include <glob.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

/* RFC 5011 section 2.3: half the TTL of the root's keys, which is two days; never within an hour.
 */
static const double refresh_interval = 86400;
static const double retry_interval = 3600;
static const double lookup_timeout = 30;

/* Until files are tried again that could not be written: nobody was asked anything. */
static const double files_interval = 10;

enum { CHILD_SECONDS = 60, CHILD_PIPE = 3 };

static const char done[] = "\ndone\n";
static const char unanswered[] = "no secure answer: ";

struct rfc5011 {
	struct ev_loop *loop;
	const struct conf *conf;
	rfc5011_fn *report;
	void *arg;
	char why[512]; /* of this attempt; "": nothing went wrong with the files */
	ev_timer timer;
	int lock; /* held for as long as we live; -1: another process keeps the file */
	pid_t child;
	ev_io pipe;
	size_t heard_len;
	char heard[4096]; /* the first words count; later ones are consequences */
};

/* ---- files ---- */

static bool fail(struct rfc5011 *keeper, const char *what, const char *why)
{
	snprintf(keeper->why, sizeof keeper->why,
	    "cannot keep up %s: %s; the keys in use stay, but a key roll of the root would be "
	    "missed",
	    what, why);
	return false;
}

/* A crash leaves the old file or the new one. */
static bool write_file(struct rfc5011 *keeper, const char *path, const char *text)
{
	char *fresh = mem_printf("%s.new", path);
	int fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	size_t len = strlen(text);
	bool written = fd >= 0 && write(fd, text, len) == (ssize_t)len && fsync(fd) == 0;

	if (fd >= 0 && close(fd) < 0)
		written = false;
	written = written && rename(fresh, path) == 0;
	if (!written) {
		fail(keeper, path, strerror(errno));
		unlink(fresh);
	}
	free(fresh);
	return written;
}

static bool take_lock(struct rfc5011 *keeper)
{
	if (keeper->lock >= 0)
		return true;
	char *path = anchors_state_path(keeper->conf, ".lock");
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);

	if (fd < 0) {
		fail(keeper, path, strerror(errno));
	} else if (flock(fd, LOCK_EX | LOCK_NB) == 0) {
		keeper->lock = fd;
	} else {
		log_debug("trust anchor: another process keeps %s", path);
		close(fd);
	}
	free(path);
	return keeper->lock >= 0;
}

/* The copy before the memory of its seed: after a crash in between, it is copied once more. */
static bool begin_anew(struct rfc5011 *keeper, const char *seed, const char *source)
{
	char *copy = anchors_state_path(keeper->conf, "");
	char *memory = anchors_state_path(keeper->conf, ".seed");
	bool begun = write_file(keeper, copy, seed) && write_file(keeper, memory, seed);

	if (begun)
		log_info("trust anchor: %s begins with the root keys of %s", copy, source);
	free(memory);
	free(copy);
	return begun;
}

static bool copy_to_draft(struct rfc5011 *keeper)
{
	char *copy = anchors_state_path(keeper->conf, "");
	char *draft = anchors_state_path(keeper->conf, ".draft");
	char *text = anchors_read_text(copy);
	bool copied = text ? write_file(keeper, draft, text) : fail(keeper, copy, strerror(errno));

	free(text);
	free(draft);
	free(copy);
	return copied;
}

/* Whether what anchor.c uses is the copy: it is there, sound, and grew from the present seed. */
static bool is_copy_in_use(const struct conf *conf)
{
	char *path = anchors_state_path(conf, "");
	char *error = NULL;
	struct anchors *anchors = anchors_load(conf, &error);
	bool in_use = anchors && strcmp(anchors->source, path) == 0;

	anchors_free(&anchors);
	free(error);
	free(path);
	return in_use;
}

static bool prepare_copy(struct rfc5011 *keeper)
{
	const char *source;
	char *error = NULL;

	if (is_copy_in_use(keeper->conf))
		return copy_to_draft(keeper);
	char *seed = anchors_seed(&source, &error);
	bool good = seed && begin_anew(keeper, seed, source) && copy_to_draft(keeper);

	if (error)
		fail(keeper, "the root anchor", error);
	free(error);
	free(seed);
	return good;
}

/* libunbound writes root.key.draft.PID-... and renames it; a child that was ended may leave one. */
static void remove_drafts(struct rfc5011 *keeper)
{
	char *path = anchors_state_path(keeper->conf, ".draft*");
	glob_t found = {0};

	if (glob(path, GLOB_NOSORT, NULL, &found) == 0)
		for (size_t i = 0; i < found.gl_pathc; i++)
			unlink(found.gl_pathv[i]);
	globfree(&found);
	free(path);
}

/* An empty file, or one without a key that is trusted, must not become our anchor. */
static bool adopt_draft(struct rfc5011 *keeper)
{
	char *copy = anchors_state_path(keeper->conf, "");
	char *draft = anchors_state_path(keeper->conf, ".draft");
	char *error = NULL;
	struct anchors *anchors = anchors_read(draft, &error);
	bool adopted = anchors && rename(draft, copy) == 0;

	if (error || !adopted)
		fail(keeper, copy, error ? error : strerror(errno));
	anchors_free(&anchors);
	free(error);
	free(draft);
	free(copy);
	return adopted;
}

/* ---- the child ---- */

static void leave_at_once(void)
{
	_exit(1); /* exit() inside libunbound must not run handlers that are the parent's */
}

static void on_child_answer(const struct dns_answer *answer, void *loop)
{
	if (answer->state == DNS_SECURE)
		dprintf(CHILD_PIPE, "%s", done);
	else
		dprintf(CHILD_PIPE, "%s%s\n", unanswered,
		    answer->why[0] ? answer->why : dns_state_name(answer->state));
	ev_break(loop, EVBREAK_ALL);
}

static bool enter_sandbox(const struct conf *conf, char **error)
{
	struct sandbox *sandbox = sandbox_new(SANDBOX_LOOKUP);

	sandbox_let_write(sandbox, conf->server.state_dir);
	context_let_in(sandbox, conf);
	return sandbox_enter(&sandbox, error);
}

static _Noreturn void run_child(const struct conf *conf, int pipe_fd)
{
	char *file = anchors_state_path(conf, ".draft");
	char *error = NULL;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	prctl(PR_SET_NAME, "danelaw-anchor"); /* for ps */
	signal(SIGALRM, SIG_DFL);
	alarm(CHILD_SECONDS);
	atexit(leave_at_once);
	/* Nothing of the parent's is to stay open here: clients wait for those connections to end.
	 */
	if (dup2(pipe_fd, CHILD_PIPE) < 0)
		_exit(1);
	close_range(CHILD_PIPE + 1, ~0U, 0);
	ub_log_redirect(CHILD_PIPE);

	bool is_limited = enter_sandbox(conf, &error);
	struct ev_loop *loop = is_limited ? ev_loop_new(EVFLAG_AUTO) : NULL;
	struct context *context = loop ? context_new_keeping(loop, conf, file, &error) : NULL;

	if (context) {
		lookup_start(context, ".", DNS_DNSKEY, lookup_timeout, on_child_answer, loop);
		ev_run(loop, 0);
	} else {
		dprintf(CHILD_PIPE, "%s\n", error ? error : "no event loop");
	}
	_exit(0);
}

/* ---- the parent ---- */

static void try_again_after(struct rfc5011 *keeper, double seconds)
{
	ev_timer_stop(keeper->loop, &keeper->timer);
	ev_timer_set(&keeper->timer, seconds, 0.);
	ev_timer_start(keeper->loop, &keeper->timer);
}

/* What waitpid() says; 0 where libev's own SIGCHLD handler was faster. Whether all is well is known
 * from the pipe. */
static int forget_child(struct rfc5011 *keeper)
{
	int status = 0;

	ev_io_stop(keeper->loop, &keeper->pipe);
	close(keeper->pipe.fd);
	while (waitpid(keeper->child, &status, 0) < 0 && errno == EINTR)
		;
	keeper->child = 0;
	return status;
}

/* One that was killed has no last words of its own. */
static void note_violent_end(struct rfc5011 *keeper, int status)
{
	char words[CHILD_END];

	if (!WIFSIGNALED(status))
		return;
	keeper->heard_len = (size_t)snprintf(keeper->heard, sizeof keeper->heard,
	    "the process that asks for the keys %s", child_end(status, words));
}

/* A root that does not answer is nothing to mend here. */
static void take_failure(struct rfc5011 *keeper)
{
	const char *end = memchr(keeper->heard, '\n', keeper->heard_len);
	int len = end ? (int)(end - keeper->heard) : (int)keeper->heard_len;
	char words[256];

	snprintf(words, sizeof words, "%.*s", len, keeper->heard);
	if (memmem(keeper->heard, keeper->heard_len, unanswered, sizeof unanswered - 1))
		log_warning("trust anchor: not refreshed: %s", words);
	else
		fail(keeper, "the root anchor", words[0] ? words : "its process ended early");
}

static void on_child_end(struct rfc5011 *keeper)
{
	size_t done_len = sizeof done - 1;
	bool is_done = keeper->heard_len >= done_len &&
		       memcmp(keeper->heard + keeper->heard_len - done_len, done, done_len) == 0;

	note_violent_end(keeper, forget_child(keeper));
	bool good = is_done && adopt_draft(keeper);

	remove_drafts(keeper);
	if (!is_done)
		take_failure(keeper);
	keeper->report(good, keeper->why, keeper->arg);
	try_again_after(keeper, good ? refresh_interval : retry_interval);
}

static void on_pipe(struct ev_loop *loop, ev_io *w, int revents)
{
	struct rfc5011 *keeper = w->data;
	char more[256];
	ssize_t got = read(w->fd, more, sizeof more);

	(void)loop, (void)revents;
	if (got == 0 || (got < 0 && errno != EINTR && errno != EAGAIN)) {
		on_child_end(keeper);
		return;
	}
	size_t room = sizeof keeper->heard - keeper->heard_len;
	size_t kept = got < 0 ? 0 : (size_t)got < room ? (size_t)got : room;

	memcpy(keeper->heard + keeper->heard_len, more, kept);
	keeper->heard_len += kept;
}

static bool start_child(struct rfc5011 *keeper)
{
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) < 0)
		return fail(keeper, "the root anchor", strerror(errno));
	fflush(NULL); /* else the child's copy of a buffer might be written, too */
	keeper->child = fork();
	if (keeper->child == 0)
		run_child(keeper->conf, ends[1]);
	close(ends[1]);
	if (keeper->child < 0) {
		fail(keeper, "the root anchor", strerror(errno));
		close(ends[0]);
		keeper->child = 0;
		return false;
	}
	keeper->heard_len = 0;
	ev_io_set(&keeper->pipe, ends[0], EV_READ);
	ev_io_start(keeper->loop, &keeper->pipe);
	return true;
}

static void on_timer(struct ev_loop *loop, ev_timer *w, int revents)
{
	struct rfc5011 *keeper = w->data;

	(void)loop, (void)revents;
	keeper->why[0] = '\0';
	if (take_lock(keeper) && prepare_copy(keeper) && start_child(keeper))
		return;
	keeper->report(false, keeper->why, keeper->arg);
	try_again_after(keeper, keeper->why[0] ? files_interval : retry_interval);
}

struct rfc5011 *rfc5011_new(
    struct ev_loop *loop, const struct conf *conf, rfc5011_fn *report, void *arg)
{
	const char *file = conf->dns.trust_anchor;
	const char *dir = conf->server.state_dir;

	if ((file && file[0]) || !dir || !dir[0])
		return NULL;
	struct rfc5011 *keeper = mem_zero(1, sizeof *keeper);

	keeper->loop = loop;
	keeper->conf = conf;
	keeper->report = report;
	keeper->arg = arg;
	keeper->lock = -1;
	ev_init(&keeper->timer, on_timer);
	ev_init(&keeper->pipe, on_pipe);
	keeper->timer.data = keeper->pipe.data = keeper;
	try_again_after(keeper, 0);
	return keeper;
}

void rfc5011_free(struct rfc5011 **keeper)
{
	if (!*keeper)
		return;
	ev_timer_stop((*keeper)->loop, &(*keeper)->timer);
	if ((*keeper)->child > 0) {
		kill((*keeper)->child, SIGKILL);
		forget_child(*keeper);
		remove_drafts(*keeper);
	}
	if ((*keeper)->lock >= 0)
		close((*keeper)->lock);
	free(*keeper);
	*keeper = NULL;
}
