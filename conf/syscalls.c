/*
 * syscalls.c - see syscalls.h.
 *
 * Named are the calls of the code, and of the libraries in the versions of Debian 12 and later: a
 * fix of the distribution must not need one of ours. So both forms of a call are named where libc
 * may choose. What is not here kills the process, and the kernel's audit log has the call's number:
 * execve, ptrace, mount, unshare, setns, bpf, keyctl, io_uring and all the rest.
 *
 * Memory is never executable once we serve, so nobody loads a library then: OpenSSL, curl, the user
 * data base and the locale are ready before.
 *
 * bind() stays: libunbound binds a random UDP source port for each question, and a filter cannot
 * see the address. What it could be abused for is listen(), which is banned; for TCP Landlock bans
 * bind itself where the kernel can. Netlink stays for getifaddrs(), with its routing family alone.
 */
#include "conf/syscalls.h"

#include "conf/mem.h"

#include <errno.h>
#include <linux/netlink.h>
#include <linux/sockios.h>
#include <sched.h>
#include <seccomp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define WITH_SANITIZER 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#define WITH_SANITIZER 1
#endif
#ifndef WITH_SANITIZER
#define WITH_SANITIZER 0
#endif

/* Debian 12 lacks it; later versions of libc name their memory so. */
#ifndef PR_SET_VMA
#define PR_SET_VMA 0x53564d41
#endif

enum {
	WORKER = 1 << SANDBOX_WORKER,
	LOOKUP = 1 << SANDBOX_LOOKUP,
	DISK = 1 << SANDBOX_DISK,
	ALL = WORKER | LOOKUP | DISK,
};

/* ---- calls that need no look at their arguments ---- */

static const char *const memory_and_time[] = {"brk", "munmap", "mremap", "madvise", "membarrier",
    "futex", "futex_time64", "sched_yield", "sched_getaffinity", "set_robust_list", "rseq",
    "getrandom", "clock_gettime", "clock_gettime64", "clock_getres", "clock_getres_time64",
    "clock_nanosleep", "clock_nanosleep_time64", "nanosleep", "gettimeofday", "time", NULL};

static const char *const itself[] = {"rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "sigreturn",
    "sigaltstack", "restart_syscall", "exit", "exit_group", "getpid", "getppid", "gettid", "tgkill",
    "getuid", "getuid32", "geteuid", "geteuid32", "getgid", "getgid32", "getegid", "getegid32",
    "getrlimit", "ugetrlimit", "getrusage", "uname", "sysinfo", "alarm", "setitimer", NULL};

static const char *const descriptors[] = {"read", "readv", "write", "writev", "close",
    "close_range", "dup", "dup2", "dup3", "fcntl", "fcntl64", "lseek", "_llseek", "poll", "ppoll",
    "ppoll_time64", "recv", "recvfrom", "recvmsg", "send", "sendto", "sendmsg", "shutdown", NULL};

static const char *const files[] = {"open", "openat", "stat", "stat64", "lstat", "lstat64", "fstat",
    "fstat64", "newfstatat", "fstatat64", "statx", "statfs", "statfs64", "fstatfs", "fstatfs64",
    "access", "faccessat", "faccessat2", "readlink", "readlinkat", "getcwd", "getdents",
    "getdents64", "unlink", "unlinkat", "rename", "renameat", "renameat2", "mkdir", "mkdirat",
    "rmdir", "ftruncate", "ftruncate64", "fallocate", "pread64", "preadv", "pwrite64", "pwritev",
    "fsync", "fdatasync", "sync_file_range", "flock", "fchmod", "fchown", "fchown32", "fadvise64",
    "fadvise64_64", "umask", NULL};

static const char *const loop[] = {"epoll_create", "epoll_create1", "epoll_ctl", "epoll_wait",
    "epoll_pwait", "epoll_pwait2", "eventfd2", "timerfd_create", "timerfd_settime",
    "timerfd_settime64", "signalfd4", "pipe", "pipe2", "select", "_newselect", "pselect6",
    "pselect6_time64", NULL};

static const char *const network[] = {"connect", "bind", "getsockname", "getpeername", "getsockopt",
    "setsockopt", "sendmmsg", "recvmmsg", "recvmmsg_time64", "memfd_create", NULL};

/* A child enters a smaller sandbox of its own. */
static const char *const service[] = {"accept", "accept4", "wait4", "waitid", "waitpid", "kill",
    "seccomp", "landlock_create_ruleset", "landlock_add_rule", "landlock_restrict_self", NULL};

static const struct {
	unsigned roles;
	const char *const *names;
} groups[] = {
    {ALL, memory_and_time},
    {ALL, itself},
    {ALL, descriptors},
    {ALL, files},
    {WORKER | LOOKUP, loop},
    {WORKER | LOOKUP, network},
    {WORKER, service},
};

/* ---- calls with arguments that matter ---- */

enum {
	NEW_NAMESPACES = CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC |
			 CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET
};

/* The low bits of a socket's type: SOCK_NONBLOCK and SOCK_CLOEXEC are above them. */
enum { TYPE_MASK = 0xf };

/* clang-format off */
/* The kernel takes an int for these, and never looks at the upper half of the register. */
#define EQUAL(argument, value)     { argument, SCMP_CMP_MASKED_EQ, UINT32_MAX, value }
#define BITS_CLEAR(argument, bits) { argument, SCMP_CMP_MASKED_EQ, bits, 0 }
#define SOCKET(family, type)       { EQUAL(0, family), { 1, SCMP_CMP_MASKED_EQ, TYPE_MASK, type } }

static const struct {
	unsigned roles;
	const char *name;
	struct scmp_arg_cmp tests[2];
	unsigned count;
} conditional[] = {
	{ ALL,             "mmap",       { BITS_CLEAR(2, PROT_EXEC) }, 1 },
	{ ALL,             "mmap2",      { BITS_CLEAR(2, PROT_EXEC) }, 1 },
	{ ALL,             "mprotect",   { BITS_CLEAR(2, PROT_EXEC) }, 1 },
	{ ALL,             "prlimit64",  { { 2, SCMP_CMP_EQ, 0, 0 } }, 1 }, /* asks, sets nothing */
	{ ALL,             "prctl",      { EQUAL(0, PR_SET_NAME) }, 1 },
	{ ALL,             "prctl",      { EQUAL(0, PR_SET_VMA) }, 1 },
	{ ALL,             "ioctl",      { EQUAL(1, TCGETS) }, 1 }, /* isatty() of stdio */
	{ WORKER | LOOKUP, "ioctl",      { EQUAL(1, FIONREAD) }, 1 },
	{ WORKER | LOOKUP, "ioctl",      { EQUAL(1, FIONBIO) }, 1 },
	{ WORKER | LOOKUP, "ioctl",      { EQUAL(1, SIOCOUTQ) }, 1 },
	{ WORKER | LOOKUP, "socket",     SOCKET(AF_INET, SOCK_STREAM), 2 },
	{ WORKER | LOOKUP, "socket",     SOCKET(AF_INET, SOCK_DGRAM), 2 },
	{ WORKER | LOOKUP, "socket",     SOCKET(AF_INET6, SOCK_STREAM), 2 },
	{ WORKER | LOOKUP, "socket",     SOCKET(AF_INET6, SOCK_DGRAM), 2 },
	{ WORKER | LOOKUP, "socket",     { EQUAL(0, AF_NETLINK), EQUAL(2, NETLINK_ROUTE) }, 2 },
	{ WORKER,          "socketpair", { EQUAL(0, AF_UNIX) }, 1 },
	{ WORKER,          "prctl",      { EQUAL(0, PR_SET_PDEATHSIG) }, 1 },
	{ WORKER,          "prctl",      { EQUAL(0, PR_SET_NO_NEW_PRIVS) }, 1 },
	/* fork(); no thread, no new namespace */
	{ WORKER,          "clone",      { BITS_CLEAR(0, NEW_NAMESPACES | CLONE_VM) }, 1 },
};
/* clang-format on */

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* A name that this architecture does not have needs no rule. */
static int allow(
    scmp_filter_ctx filter, const char *name, unsigned count, const struct scmp_arg_cmp *tests)
{
	int call = seccomp_syscall_resolve_name(name);
	int code = call == __NR_SCMP_ERROR
		       ? 0
		       : seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, call, count, tests);

	return call < 0 ? 0 : code;
}

/* Its flags cannot be seen; libc does with clone() then. */
static int hide_clone3(scmp_filter_ctx filter)
{
	return seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
}

static int allow_all(scmp_filter_ctx filter, unsigned role)
{
	int code = 0;

	for (size_t i = 0; i < COUNT(groups); i++)
		for (size_t j = 0; groups[i].roles & role && groups[i].names[j] && !code; j++)
			code = allow(filter, groups[i].names[j], 0, NULL);
	for (size_t i = 0; i < COUNT(conditional) && !code; i++)
		if (conditional[i].roles & role)
			code = allow(filter, conditional[i].name, conditional[i].count,
			    conditional[i].tests);
	return code ? code : hide_clone3(filter);
}

/* ---- the supervisor ---- */

/* The other way round, since a new program must be able to start, whatever its libc needs for that:
 * the kernel's doors that no version of danelaw goes through. */
static const char *const banned[] = {"ptrace", "process_vm_readv", "process_vm_writev", "kcmp",
    "pidfd_getfd", "mount", "umount2", "pivot_root", "move_mount", "open_tree", "fsopen", "fsmount",
    "mount_setattr", "chroot", "unshare", "setns", "bpf", "perf_event_open", "userfaultfd",
    "io_uring_setup", "io_uring_enter", "io_uring_register", "add_key", "request_key", "keyctl",
    "init_module", "finit_module", "delete_module", "kexec_load", "kexec_file_load", "reboot",
    "swapon", "swapoff", "acct", "quotactl", "settimeofday", "clock_settime", "clock_adjtime",
    "adjtimex", "iopl", "ioperm", "open_by_handle_at", "mknod", "mknodat", "syslog", NULL};

static int ban(scmp_filter_ctx filter, const char *name)
{
	int call = seccomp_syscall_resolve_name(name);

	return call < 0 ? 0 : seccomp_rule_add(filter, SCMP_ACT_KILL_PROCESS, call, 0);
}

static int ban_namespace(scmp_filter_ctx filter, unsigned flag)
{
	return seccomp_rule_add(filter, SCMP_ACT_KILL_PROCESS, SCMP_SYS(clone), 1,
	    SCMP_A0(SCMP_CMP_MASKED_EQ, flag, flag));
}

static int ban_all(scmp_filter_ctx filter)
{
	int code = 0;

	for (size_t i = 0; banned[i] && !code; i++)
		code = ban(filter, banned[i]);
	for (unsigned bit = 0; bit < 32 && !code; bit++)
		if (NEW_NAMESPACES & 1U << bit)
			code = ban_namespace(filter, 1U << bit);
	return code ? code : hide_clone3(filter);
}

/* ---- loading ---- */

/* A tree of comparisons, not a list: some calls come with each message. */
static int build_and_load(enum sandbox_role role)
{
	bool is_open = role == SANDBOX_SUPERVISOR;
	scmp_filter_ctx filter = seccomp_init(is_open ? SCMP_ACT_ALLOW : SCMP_ACT_KILL_PROCESS);
	int code = -ENOMEM;

	if (filter)
		code = is_open ? ban_all(filter) : allow_all(filter, 1U << role);
	if (!code)
		code = seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	if (!code)
		code = seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);
	if (!code)
		code = seccomp_load(filter);
	if (filter)
		seccomp_release(filter);
	return code;
}

bool syscalls_limit(enum sandbox_role role, char **error)
{
	int code = WITH_SANITIZER ? 0 : build_and_load(role);

	if (code)
		*error = mem_printf("cannot limit system calls (seccomp): %s; the kernel must have "
				    "CONFIG_SECCOMP_FILTER",
		    strerror(-code));
	return code == 0;
}

bool syscalls_are_limited_in_this_build(void) { return !WITH_SANITIZER; }

const char *syscalls_library_version(void)
{
	static char *text;
	const struct scmp_version *version = seccomp_version();

	if (!text)
		text = mem_printf("%u.%u.%u", version->major, version->minor, version->micro);
	return text;
}
