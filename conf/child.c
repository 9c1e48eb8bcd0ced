/*
 * child.c - see child.h. Used by the MTA-STS store and by the spool.
 */
#include "conf/child.h"

#include "conf/log.h"
#include "conf/mem.h"
#include "conf/sandbox.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static void ignore_orders(void)
{
	static const int ignored[] = {SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGPIPE,
	    SIGXFSZ}; /* a file that may not grow is an error to report, not to die of */

	for (size_t i = 0; i < sizeof ignored / sizeof *ignored; i++)
		signal(ignored[i], SIG_IGN);
	signal(SIGCHLD, SIG_DFL);
}

/* Out of the way of all places first, so that one move cannot overwrite the other's descriptor. */
static void keep_only(int socket, int keep)
{
	int last = keep < 0 ? CHILD_SOCKET : CHILD_KEPT;

	socket = fcntl(socket, F_DUPFD, CHILD_KEPT + 1);
	if (keep >= 0)
		keep = fcntl(keep, F_DUPFD, CHILD_KEPT + 1);
	if (socket < 0 || dup2(socket, CHILD_SOCKET) < 0 ||
	    (last == CHILD_KEPT && (keep < 0 || dup2(keep, CHILD_KEPT) < 0)))
		_exit(1);
	close_range((unsigned)last + 1, ~0U, 0);
}

static void close_standard(void)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (null < 0 || dup2(null, STDIN_FILENO) < 0 || dup2(null, STDOUT_FILENO) < 0)
		_exit(1);
	close(null);
}

/* All that it works on lies beside path, and path itself may have to be made. */
static void enter_sandbox(const char *name, const char *path)
{
	struct sandbox *sandbox = sandbox_new(SANDBOX_DISK);
	char *directory = mem_strdup(path);
	char *error = NULL;

	*strrchr(directory, '/') = '\0';
	sandbox_let_write(sandbox, directory);
	free(directory);
	if (sandbox_enter(&sandbox, &error))
		return;
	dprintf(STDERR_FILENO, "%s: %s\n", name, error);
	_exit(1);
}

static void be_child(const char *name, const char *path, int socket, int keep)
{
	ignore_orders();
	prctl(PR_SET_NAME, name);
	keep_only(socket, keep);
	close_standard();
	enter_sandbox(name, path);
}

pid_t child_start(const char *name, child_fn *run, const char *path, int keep, int *fd)
{
	int ends[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
		return -1;
	fflush(NULL); /* else the child's copy of a buffer might be written, too */
	pid_t child = fork();

	if (child == 0) {
		be_child(name, path, ends[1], keep);
		run(path);
		_exit(0);
	}
	close(ends[1]);
	if (child < 0) {
		close(ends[0]);
		return -1;
	}
	fcntl(ends[0], F_SETFL, O_NONBLOCK);
	*fd = ends[0];
	return child;
}

const char *child_end(int status, char out[CHILD_END])
{
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS)
		snprintf(out, CHILD_END,
		    "was killed by the sandbox (SIGSYS) for a system call that danelaw never "
		    "makes: "
		    "somebody may have taken it over, or a library has changed; the kernel's log "
		    "names the call (journalctl -k -g seccomp)");
	else if (WIFSIGNALED(status))
		snprintf(out, CHILD_END, "was killed by signal %d (%s)", WTERMSIG(status),
		    strsignal(WTERMSIG(status)));
	else
		snprintf(out, CHILD_END, "ended with status %d", WEXITSTATUS(status));
	return out;
}

/* libev's own SIGCHLD handler may have been faster. */
void child_bury(pid_t *child, const char *name)
{
	char words[CHILD_END];
	int status;

	if (*child > 0 && waitpid(*child, &status, WNOHANG) == *child && status)
		log_error("%s %s", name, child_end(status, words));
	*child = 0;
}
