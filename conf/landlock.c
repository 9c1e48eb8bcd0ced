/*
 * landlock.c - see landlock.h; landlock(7), Documentation/userspace-api/landlock.rst of Linux.
 *
 * glibc has no wrapper, and the distribution's header ends with the first version of the interface:
 * what came later is defined here. An older kernel refuses rights that it does not know, so each
 * version is asked for what it has.
 */
#include "conf/landlock.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <stddef.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
	FS_FIRST = (1 << 13) - 1,  /* all of version 1 */
	FS_REFER = 1 << 13,        /* rename to another directory; version 2 */
	FS_TRUNCATE = 1 << 14,     /* 3 */
	FS_IOCTL_DEVICE = 1 << 15, /* 5 */

	NET_BIND = 1 << 0, /* 4 */
	NET_CONNECT = 1 << 1,

	SCOPE_ABSTRACT_SOCKET = 1 << 0, /* connecting to one of somebody else; 6 */
	SCOPE_SIGNAL = 1 << 1,

	RULE_PORT = 2,
};

enum {
	FILE_READ = LANDLOCK_ACCESS_FS_READ_FILE,
	FILE_WRITE = FILE_READ | LANDLOCK_ACCESS_FS_WRITE_FILE | FS_TRUNCATE,
	DIRECTORY_READ = LANDLOCK_ACCESS_FS_READ_DIR,
	DIRECTORY_WRITE = DIRECTORY_READ | LANDLOCK_ACCESS_FS_MAKE_REG |
			  LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_REMOVE_FILE |
			  LANDLOCK_ACCESS_FS_REMOVE_DIR | FS_REFER,
};

/* struct landlock_ruleset_attr of version 6; earlier ones end sooner. */
struct ruleset {
	uint64_t fs, net, scope;
};

struct port_rule {
	uint64_t rights, port;
};

static uint64_t fs_of(int version)
{
	return FS_FIRST | (version >= 2 ? FS_REFER : 0) | (version >= 3 ? FS_TRUNCATE : 0) |
	       (version >= 5 ? FS_IOCTL_DEVICE : 0);
}

int landlock_version(void)
{
	long version =
	    syscall(SYS_landlock_create_ruleset, NULL, (size_t)0, LANDLOCK_CREATE_RULESET_VERSION);

	return version > 0 ? (int)version : 0;
}

void landlock_open(struct landlock *landlock)
{
	struct ruleset wanted = {0};
	size_t size = sizeof wanted.fs;

	*landlock = (struct landlock){.version = landlock_version(), .ruleset = -1};
	if (!landlock->version)
		return;
	wanted.fs = fs_of(landlock->version);
	if (landlock->version >= 4) {
		wanted.net = NET_BIND | NET_CONNECT;
		size = offsetof(struct ruleset, scope);
	}
	if (landlock->version >= 6) {
		wanted.scope = SCOPE_ABSTRACT_SOCKET | SCOPE_SIGNAL;
		size = sizeof wanted;
	}
	landlock->ruleset = (int)syscall(SYS_landlock_create_ruleset, &wanted, size, 0);
	landlock->error = landlock->ruleset < 0 ? errno : 0;
}

static void add_rule(struct landlock *landlock, int type, const void *rule)
{
	if (syscall(SYS_landlock_add_rule, landlock->ruleset, type, rule, 0) && !landlock->error)
		landlock->error = errno;
}

void landlock_allow_path(struct landlock *landlock, const char *path, enum landlock_use use)
{
	struct landlock_path_beneath_attr rule = {0};
	struct stat status;

	if (landlock->ruleset < 0)
		return;
	rule.parent_fd = open(path, O_PATH | O_CLOEXEC);
	if (rule.parent_fd < 0)
		return; /* cppcheck-suppress memleak ; nothing was opened */
	rule.allowed_access = use == LANDLOCK_WRITE ? FILE_WRITE : FILE_READ;
	if (fstat(rule.parent_fd, &status) == 0 && S_ISDIR(status.st_mode))
		rule.allowed_access |= use == LANDLOCK_WRITE ? DIRECTORY_WRITE : DIRECTORY_READ;
	rule.allowed_access &= fs_of(landlock->version);
	add_rule(landlock, LANDLOCK_RULE_PATH_BENEATH, &rule);
	close(rule.parent_fd);
}

static void allow_port(struct landlock *landlock, uint64_t rights, uint16_t port)
{
	struct port_rule rule = {.rights = rights, .port = port};

	if (landlock->ruleset >= 0 && landlock->version >= 4)
		add_rule(landlock, RULE_PORT, &rule);
}

void landlock_allow_connect(struct landlock *landlock, uint16_t port)
{
	allow_port(landlock, NET_CONNECT, port);
}

void landlock_allow_bind(struct landlock *landlock, uint16_t port)
{
	allow_port(landlock, NET_BIND, port);
}

bool landlock_restrict(struct landlock *landlock)
{
	bool done = !landlock->version;

	if (landlock->error)
		errno = landlock->error;
	else if (landlock->version)
		done = syscall(SYS_landlock_restrict_self, landlock->ruleset, 0) == 0;
	int error = errno;

	landlock_close(landlock);
	errno = error;
	return done;
}

void landlock_close(struct landlock *landlock)
{
	if (landlock->ruleset >= 0)
		close(landlock->ruleset);
	landlock->ruleset = -1;
}
