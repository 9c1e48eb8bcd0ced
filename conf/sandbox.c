/*
 * sandbox.c - see sandbox.h. Used by the worker, by child.c and by rfc5011.c.
 */
#include "conf/sandbox.h"

#include "conf/landlock.h"
#include "conf/log.h"
#include "conf/mem.h"
#include "conf/syscalls.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>

struct sandbox {
	enum sandbox_role role;
	struct landlock landlock;
};

/* What libraries and libc open while we serve: time zones for syslog's local time. */
static const char *const everybody_reads[] = {
    "/dev/urandom", "/etc/localtime", "/usr/share/zoneinfo"};

struct sandbox *sandbox_new(enum sandbox_role role)
{
	struct sandbox *sandbox = mem_zero(1, sizeof *sandbox);

	sandbox->role = role;
	sandbox->landlock.ruleset = -1;
	if (role == SANDBOX_SUPERVISOR)
		return sandbox;
	landlock_open(&sandbox->landlock);
	for (size_t i = 0; i < sizeof everybody_reads / sizeof *everybody_reads; i++)
		sandbox_let_read(sandbox, everybody_reads[i]);
	landlock_allow_path(&sandbox->landlock, "/dev/null", LANDLOCK_WRITE);
	/* The leak test of a sanitizer looks at the process's own maps. */
	if (!syscalls_are_limited_in_this_build())
		sandbox_let_read(sandbox, "/proc");
	return sandbox;
}

/* ---- files and ports ---- */

void sandbox_let_read(struct sandbox *sandbox, const char *path)
{
	landlock_allow_path(&sandbox->landlock, path, LANDLOCK_READ);
}

/* NULL: the root directory, which is no file's own. */
static char *directory_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	if (!slash)
		return mem_strdup(".");
	return slash == path ? NULL : mem_printf("%.*s", (int)(slash - path), path);
}

static void let_read_directory_of(struct sandbox *sandbox, const char *path)
{
	char *directory = directory_of(path);

	if (directory)
		sandbox_let_read(sandbox, directory);
	free(directory);
}

/* A link may lead elsewhere; then both the link and what it leads to may be replaced. */
void sandbox_let_read_anew(struct sandbox *sandbox, const char *path)
{
	char *target = realpath(path, NULL);

	sandbox_let_read(sandbox, path);
	let_read_directory_of(sandbox, path);
	if (target)
		let_read_directory_of(sandbox, target);
	free(target);
}

static bool is_mount_point(const char *directory, const char *parent)
{
	struct stat inner, outer;

	return stat(directory, &inner) == 0 && stat(parent, &outer) == 0 &&
	       inner.st_dev != outer.st_dev;
}

/* A rule goes with the file system that it was made on: a disk that was away and is back is another
 * one. */
void sandbox_let_write(struct sandbox *sandbox, const char *directory)
{
	char *parent = mem_printf("%s/..", directory);

	landlock_allow_path(&sandbox->landlock, directory, LANDLOCK_WRITE);
	if (is_mount_point(directory, parent))
		landlock_allow_path(&sandbox->landlock, parent, LANDLOCK_WRITE);
	free(parent);
}

void sandbox_let_connect(struct sandbox *sandbox, uint16_t port)
{
	landlock_allow_connect(&sandbox->landlock, port);
}

void sandbox_let_bind_any_port(struct sandbox *sandbox)
{
	landlock_allow_bind(&sandbox->landlock, 0);
}

/* ---- entering ---- */

bool sandbox_enter(struct sandbox **sandbox, char **error)
{
	struct sandbox *s = *sandbox;
	bool done = prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && landlock_restrict(&s->landlock);

	if (!done)
		*error = mem_printf("cannot limit files and ports (Landlock): %s", strerror(errno));
	landlock_close(&s->landlock);
	done = done && syscalls_limit(s->role, error);
	free(s);
	*sandbox = NULL;
	return done;
}

void sandbox_log(void)
{
	int version = landlock_version();

	log_info("sandbox: system calls %s (seccomp), files %s, TCP ports %s (Landlock version %d)",
	    syscalls_are_limited_in_this_build() ? "limited" : "free in this sanitizer build",
	    version >= 1 ? "limited" : "as the user's rights allow",
	    version >= 4 ? "limited" : "free", version);
}

const char *sandbox_library_version(void) { return syscalls_library_version(); }
