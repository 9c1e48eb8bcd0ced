/*
 * test_sandbox.c - conf/sandbox.h, proxy/worker_sandbox.h and conf/child.h: what each kind of
 * process may do once it is in its sandbox, and what ends it (R-NET-14).
 *
 * Each attempt is made in a process of its own that entered by the function that the program uses.
 * A sanitizer's build has no filter, an old kernel no Landlock: what only they forbid is then not
 * asked for.
 */
#include "conf/child.h"
#include "conf/conf.h"
#include "conf/landlock.h"
#include "conf/mem.h"
#include "conf/sandbox.h"
#include "conf/syscalls.h"
#include "dnsval/context.h"
#include "proxy/worker_sandbox.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <linux/netlink.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#define COUNT(a) (sizeof(a) / sizeof *(a))

/* ---- the stage ---- */

static char folder[] = "/tmp/danelaw-sandbox-XXXXXX";
static char state[64], ca_file[96], beside[96], outside[64];
static int listening, bound; /* one listens, one could begin to */
static uint16_t allowed_port, other_port;
static struct conf *conf;

static void write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);

	assert_true(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
	close(fd);
}

static int bind_one(uint16_t *port)
{
	struct sockaddr_in address = {.sin_family = AF_INET};
	socklen_t len = sizeof address;
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
	*port = ntohs(address.sin_port);
	return fd;
}

static int set_stage(void **unused)
{
	struct conf_report report;
	char directory[64], options[3][128];
	const char *given[3] = {options[0], options[1], options[2]};

	(void)unused;
	assert_non_null(mkdtemp(folder));
	snprintf(state, sizeof state, "%s/state", folder);
	snprintf(directory, sizeof directory, "%s/ca", folder);
	snprintf(ca_file, sizeof ca_file, "%s/ca.pem", directory);
	snprintf(beside, sizeof beside, "%s/new.pem", directory);
	snprintf(outside, sizeof outside, "%s/outside", folder);
	assert_int_equal(mkdir(state, 0700) | mkdir(directory, 0700), 0);
	write_file(ca_file, "old");
	write_file(outside, "secret");
	listening = bind_one(&allowed_port);
	assert_int_equal(listen(listening, 5), 0);
	bound = bind_one(&other_port);
	snprintf(options[0], sizeof options[0], "server.state_dir=%s", state);
	snprintf(options[1], sizeof options[1], "tls.ca_file=%s", ca_file);
	snprintf(options[2], sizeof options[2], "policy.next_hop=[127.0.0.1]:%u", allowed_port);
	conf = conf_load_file(NULL, "", given, 3, &report);
	assert_non_null(conf);
	conf_report_free(&report);
	return 0;
}

static int clear_stage(void **unused)
{
	char command[128];

	(void)unused;
	snprintf(command, sizeof command, "rm -rf %s", folder);
	conf_free(&conf);
	close(listening);
	close(bound);
	return system(command);
}

/* ---- attempts: 0, or the errno that stopped it ---- */

typedef int attempt_fn(void);

static int result(long value) { return value < 0 ? errno : 0; }

static int start_a_program(void)
{
	char *const args[] = {NULL};

	return result(execve("/bin/true", args, args));
}

static int start_a_program_by_descriptor(void)
{
	char *const args[] = {NULL};

	return result(syscall(SYS_execveat, STDIN_FILENO, "", args, args, AT_EMPTY_PATH));
}

static int map_code(void)
{
	void *at = mmap(
	    NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return at == MAP_FAILED ? errno : 0;
}

static int make_code(void)
{
	void *at = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return result(mprotect(at, 4096, PROT_READ | PROT_EXEC));
}

static int change_our_image(void) { return result(syscall(SYS_personality, 0x0400000)); }
static int trace(void) { return result(ptrace(PTRACE_TRACEME, 0, NULL, NULL)); }

static int read_another_process(void)
{
	char octet;
	struct iovec here = {&octet, 1}, there = {&octet, 1};

	return result(process_vm_readv(getppid(), &here, 1, &there, 1, 0));
}

static int begin_to_listen(void) { return result(listen(bound, 5)); }
static int open_unix_socket(void) { return result(socket(AF_UNIX, SOCK_STREAM, 0)); }
static int open_packet_socket(void) { return result(socket(AF_PACKET, SOCK_RAW, 0)); }
static int open_raw_socket(void) { return result(socket(AF_INET, SOCK_RAW, IPPROTO_ICMP)); }
static int open_vsock(void) { return result(socket(AF_VSOCK, SOCK_STREAM, 0)); }

static int open_netfilter_socket(void)
{
	return result(socket(AF_NETLINK, SOCK_RAW, NETLINK_NETFILTER));
}

static int mount_something(void) { return result(mount("none", state, "tmpfs", 0, NULL)); }
static int new_user_namespace(void) { return result(unshare(CLONE_NEWUSER)); }
static int enter_namespace(void) { return result(setns(listening, 0)); }

static int fork_into_namespace(void)
{
	return result(syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, NULL, NULL, NULL, NULL));
}

static int start_a_thread(void)
{
	return result(syscall(SYS_clone, CLONE_VM | SIGCHLD, NULL, NULL, NULL, NULL));
}

static int clone_with_hidden_flags(void) { return result(syscall(SYS_clone3, NULL, 0)); }
static int load_bpf(void) { return result(syscall(SYS_bpf, 0, NULL, 0)); }
static int count_events(void) { return result(syscall(SYS_perf_event_open, NULL, 0, -1, -1, 0)); }
static int handle_faults(void) { return result(syscall(SYS_userfaultfd, 0)); }
static int set_up_io_uring(void) { return result(syscall(SYS_io_uring_setup, 1, NULL)); }
static int use_a_key(void) { return result(syscall(SYS_keyctl, 0, 0, 0, 0, 0)); }
static int load_a_module(void) { return result(syscall(SYS_init_module, NULL, 0, "")); }
static int become_root(void) { return result(syscall(SYS_setuid, 0)); }
static int change_a_mode(void) { return result(chmod(outside, 04755)); }
static int make_a_link(void) { return result(symlink("/etc", "/tmp/danelaw-never")); }
static int make_a_device(void) { return result(mknod("/tmp/danelaw-never", S_IFCHR, 0)); }
static int change_root(void) { return result(chroot("/")); }
static int forget_mark_of_parent(void) { return result(prctl(PR_SET_DUMPABLE, 1)); }
static int type_into_terminal(void) { return result(syscall(SYS_ioctl, 0, 0x5412, "x")); }

static int raise_limits(void)
{
	struct rlimit limit = {1024, 1024};

	return result(setrlimit(RLIMIT_NOFILE, &limit));
}

static int open_with(const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC, 0600);

	if (fd >= 0)
		close(fd);
	return result(fd);
}

static int read_a_foreign_file(void) { return open_with(outside, O_RDONLY); }
static int read_accounts(void) { return open_with("/etc/passwd", O_RDONLY); }
static int read_shadow(void) { return open_with("/etc/shadow", O_RDONLY); }
static int list_a_folder(void) { return open_with(folder, O_RDONLY | O_DIRECTORY); }
static int write_the_ca_file(void) { return open_with(ca_file, O_WRONLY); }
static int put_beside_the_ca_file(void) { return open_with(beside, O_WRONLY | O_CREAT); }
static int remove_the_ca_file(void) { return result(unlink(ca_file)); }
static int shorten_a_foreign_file(void) { return result(truncate(outside, 0)); }
static int signal_the_parent(void) { return result(kill(getppid(), 0)); }
static int read_the_ca_file(void) { return open_with(ca_file, O_RDONLY); }
static int read_randomness(void) { return open_with("/dev/urandom", O_RDONLY); }
static int open_null(void) { return open_with("/dev/null", O_RDWR); }

static int move_out_of_state(void)
{
	char from[80], to[80];

	snprintf(from, sizeof from, "%s/moved", state);
	snprintf(to, sizeof to, "%s/moved", folder);
	return open_with(from, O_WRONLY | O_CREAT) ? EIO : result(rename(from, to));
}

static int work_in_state(void)
{
	char draft[80], below[80], mail[96];
	int fd;

	snprintf(draft, sizeof draft, "%s/draft", state);
	snprintf(below, sizeof below, "%s/%d", state, (int)getpid());
	snprintf(mail, sizeof mail, "%s/mail", below);
	fd = open(draft, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0 || mkdir(below, 0700) || write(fd, "mail", 4) != 4 || ftruncate(fd, 2) ||
	    fsync(fd) || rename(draft, mail) || close(fd) || unlink(mail) || rmdir(below))
		return errno;
	return open_with(state, O_RDONLY | O_DIRECTORY);
}

static int connect_to(uint16_t port)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	return result(connect(fd, (struct sockaddr *)&to, sizeof to));
}

static int connect_to_next_hop(void) { return connect_to(allowed_port); }
static int connect_elsewhere(void) { return connect_to(other_port); }

/* Nobody serves these here: refused by the host, and not by the sandbox. */
static int connect_refused(uint16_t port)
{
	int code = connect_to(port);

	return code == ECONNREFUSED ? 0 : code;
}

static int connect_to_mail_host(void) { return connect_refused(25); }
static int connect_to_policy_host(void) { return connect_refused(443); }
static int connect_to_name_server(void) { return connect_refused(53); }

static int bind_to_any(int type)
{
	struct sockaddr_in any = {.sin_family = AF_INET};

	return result(
	    bind(socket(AF_INET, type | SOCK_CLOEXEC, 0), (struct sockaddr *)&any, sizeof any));
}

static int bind_tcp(void) { return bind_to_any(SOCK_STREAM); }
static int ask_over_udp(void) { return bind_to_any(SOCK_DGRAM); }

static int accept_a_client(void)
{
	int code = connect_to(allowed_port);

	return code ? code : result(accept4(listening, NULL, NULL, SOCK_CLOEXEC));
}

static int open_client_socket(void) { return result(socket(AF_INET, SOCK_STREAM, 0)); }

static int fork_a_child(void)
{
	int status;
	pid_t child = fork();

	if (child == 0)
		_exit(0);
	return child < 0 || waitpid(child, &status, 0) != child ? errno : status;
}

static int begin_the_disk_process(void);

static int make_a_socket_pair(void)
{
	int ends[2];

	return result(socketpair(AF_UNIX, SOCK_STREAM, 0, ends));
}

static int list_interfaces(void)
{
	struct ifaddrs *all;

	if (getifaddrs(&all))
		return errno;
	freeifaddrs(all);
	return 0;
}

static int tell_local_time(void)
{
	time_t now = time(NULL);
	struct tm tm;

	tzset();
	return localtime_r(&now, &tm) ? 0 : EINVAL;
}

static int use_memory(void)
{
	char octets[16], *block = mem_zero(1 << 20, 16);

	block[123456] = 1;
	free(block);
	return result(getrandom(octets, sizeof octets, 0));
}

static int hand_text_to_libunbound(void)
{
	int fd = memfd_create("text", MFD_CLOEXEC);
	char path[64];

	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	return fd < 0 ? errno : open_with(path, O_RDONLY);
}

/* ---- each in a process of its own ---- */

enum { KILLED = -1, ALLOWED = 0 }; /* else the errno that stops it */
enum { BY_FILTER, BY_LANDLOCK_FILES, BY_LANDLOCK_PORTS, BY_LANDLOCK_SIGNALS };

static void enter_as_supervisor(void)
{
	struct sandbox *sandbox = sandbox_new(SANDBOX_SUPERVISOR);
	char *error = NULL;

	if (!sandbox_enter(&sandbox, &error))
		_exit(255);
}

static void enter_as_worker(void)
{
	char *error = NULL;

	enter_as_supervisor();
	if (!worker_sandbox_enter(conf, &error))
		_exit(255);
}

static void enter_as_lookup(void)
{
	struct sandbox *sandbox = sandbox_new(SANDBOX_LOOKUP);
	char *error = NULL;

	sandbox_let_write(sandbox, conf->server.state_dir);
	context_let_in(sandbox, conf);
	if (!sandbox_enter(&sandbox, &error))
		_exit(255);
}

static int outcome_of(pid_t child)
{
	int status;

	assert_true(child > 0);
	assert_int_equal(waitpid(child, &status, 0), child);
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS)
		return KILLED;
	assert_true(WIFEXITED(status));
	assert_int_not_equal(WEXITSTATUS(status), 255);
	return WEXITSTATUS(status);
}

static int outcome_in(void (*enter)(void), attempt_fn *attempt)
{
	pid_t child = fork();

	if (child == 0) {
		enter();
		_exit(attempt());
	}
	return outcome_of(child);
}

static attempt_fn *childs_attempt;

static void run_attempt(const char *path)
{
	(void)path;
	_exit(childs_attempt());
}

static int outcome_in_disk_process(attempt_fn *attempt)
{
	char path[80];
	int fd;

	childs_attempt = attempt;
	snprintf(path, sizeof path, "%s/spool", state);
	pid_t child = child_start("test-disk", run_attempt, path, -1, &fd);

	close(fd);
	return outcome_of(child);
}

/* The worker's sandbox must leave what its children need to enter theirs. */
static int begin_the_disk_process(void) { return outcome_in_disk_process(work_in_state); }

struct scene {
	const char *name;
	attempt_fn *attempt;
	int outcome;
	int by;
};

static bool is_in_force(const struct scene *scene)
{
	static const int version[] = {
	    [BY_LANDLOCK_FILES] = 1, [BY_LANDLOCK_PORTS] = 4, [BY_LANDLOCK_SIGNALS] = 6};

	if (scene->outcome == KILLED || scene->outcome == ENOSYS)
		return syscalls_are_limited_in_this_build();
	return scene->outcome == ALLOWED || landlock_version() >= version[scene->by];
}

/* clang-format off */
static const struct scene banned_everywhere[] = {
	{ "ptrace", trace, KILLED, 0 },
	{ "process_vm_readv", read_another_process, KILLED, 0 },
	{ "mount", mount_something, KILLED, 0 },
	{ "unshare", new_user_namespace, KILLED, 0 },
	{ "setns", enter_namespace, KILLED, 0 },
	{ "clone into a namespace", fork_into_namespace, KILLED, 0 },
	{ "clone3", clone_with_hidden_flags, ENOSYS, 0 },
	{ "bpf", load_bpf, KILLED, 0 },
	{ "perf", count_events, KILLED, 0 },
	{ "userfaultfd", handle_faults, KILLED, 0 },
	{ "io_uring", set_up_io_uring, KILLED, 0 },
	{ "keyctl", use_a_key, KILLED, 0 },
	{ "module", load_a_module, KILLED, 0 },
	{ "mknod", make_a_device, KILLED, 0 },
	{ "chroot", change_root, KILLED, 0 },
};

static const struct scene banned_while_serving[] = {
	{ "execve", start_a_program, KILLED, 0 },
	{ "execveat", start_a_program_by_descriptor, KILLED, 0 },
	{ "mmap of code", map_code, KILLED, 0 },
	{ "mprotect to code", make_code, KILLED, 0 },
	{ "personality", change_our_image, KILLED, 0 },
	{ "listen", begin_to_listen, KILLED, 0 },
	{ "AF_UNIX", open_unix_socket, KILLED, 0 },
	{ "AF_PACKET", open_packet_socket, KILLED, 0 },
	{ "SOCK_RAW", open_raw_socket, KILLED, 0 },
	{ "AF_VSOCK", open_vsock, KILLED, 0 },
	{ "netfilter", open_netfilter_socket, KILLED, 0 },
	{ "thread", start_a_thread, KILLED, 0 },
	{ "setuid", become_root, KILLED, 0 },
	{ "chmod", change_a_mode, KILLED, 0 },
	{ "symlink", make_a_link, KILLED, 0 },
	{ "PR_SET_DUMPABLE", forget_mark_of_parent, KILLED, 0 },
	{ "TIOCSTI", type_into_terminal, KILLED, 0 },
	{ "setrlimit", raise_limits, KILLED, 0 },
	{ "truncate", shorten_a_foreign_file, KILLED, 0 },
	{ "foreign file", read_a_foreign_file, EACCES, BY_LANDLOCK_FILES },
	{ "accounts", read_accounts, EACCES, BY_LANDLOCK_FILES },
	{ "shadow", read_shadow, EACCES, BY_LANDLOCK_FILES },
	{ "folder", list_a_folder, EACCES, BY_LANDLOCK_FILES },
	{ "writing the CA file", write_the_ca_file, EACCES, BY_LANDLOCK_FILES },
	{ "beside the CA file", put_beside_the_ca_file, EACCES, BY_LANDLOCK_FILES },
	{ "removing the CA file", remove_the_ca_file, EACCES, BY_LANDLOCK_FILES },
	{ "moving out of state_dir", move_out_of_state, EACCES, BY_LANDLOCK_FILES },
};

static const struct scene allowed_everywhere[] = {
	{ "memory, randomness", use_memory, ALLOWED, 0 },
	{ "work in state_dir", work_in_state, ALLOWED, 0 },
	{ "/dev/null", open_null, ALLOWED, 0 },
	{ "/dev/urandom", read_randomness, ALLOWED, 0 },
	{ "local time", tell_local_time, ALLOWED, 0 },
};

/* A new program must be able to start. */
static const struct scene of_supervisor[] = {
	{ "execve", start_a_program, ALLOWED, 0 },
	{ "mmap of code", map_code, ALLOWED, 0 },
	{ "listen", begin_to_listen, ALLOWED, 0 },
	{ "AF_UNIX", open_unix_socket, ALLOWED, 0 },
	{ "accounts", read_accounts, ALLOWED, 0 },
	{ "fork", fork_a_child, ALLOWED, 0 },
};

static const struct scene of_worker[] = {
	{ "next hop", connect_to_next_hop, ALLOWED, 0 },
	{ "port 25", connect_to_mail_host, ALLOWED, 0 },
	{ "port 443", connect_to_policy_host, ALLOWED, 0 },
	{ "port 53", connect_to_name_server, ALLOWED, 0 },
	{ "other port", connect_elsewhere, EACCES, BY_LANDLOCK_PORTS },
	{ "binding TCP", bind_tcp, EACCES, BY_LANDLOCK_PORTS },
	{ "binding UDP", ask_over_udp, ALLOWED, 0 },
	{ "accept", accept_a_client, ALLOWED, 0 },
	{ "fork", fork_a_child, ALLOWED, 0 },
	{ "disk process", begin_the_disk_process, ALLOWED, 0 },
	{ "socketpair", make_a_socket_pair, ALLOWED, 0 },
	{ "interfaces", list_interfaces, ALLOWED, 0 },
	{ "memfd", hand_text_to_libunbound, ALLOWED, 0 },
	{ "CA file", read_the_ca_file, ALLOWED, 0 },
	{ "signal to the parent", signal_the_parent, EPERM, BY_LANDLOCK_SIGNALS },
};

static const struct scene of_lookup[] = {
	{ "port 53", connect_to_name_server, ALLOWED, 0 },
	{ "port 25", connect_to_mail_host, EACCES, BY_LANDLOCK_PORTS },
	{ "binding UDP", ask_over_udp, ALLOWED, 0 },
	{ "interfaces", list_interfaces, ALLOWED, 0 },
	{ "memfd", hand_text_to_libunbound, ALLOWED, 0 },
	{ "CA file", read_the_ca_file, EACCES, BY_LANDLOCK_FILES },
	{ "fork", fork_a_child, KILLED, 0 },
	{ "socketpair", make_a_socket_pair, KILLED, 0 },
	{ "signal to the parent", signal_the_parent, KILLED, 0 },
};

static const struct scene of_disk[] = {
	{ "socket", open_client_socket, KILLED, 0 },
	{ "netlink", list_interfaces, KILLED, 0 },
	{ "socketpair", make_a_socket_pair, KILLED, 0 },
	{ "memfd", hand_text_to_libunbound, KILLED, 0 },
	{ "fork", fork_a_child, KILLED, 0 },
	{ "signal to the parent", signal_the_parent, KILLED, 0 },
	{ "CA file", read_the_ca_file, EACCES, BY_LANDLOCK_FILES },
};
/* clang-format on */

static void expect(const struct scene *scenes, size_t count, int (*outcome)(attempt_fn *attempt))
{
	int wrong = 0;

	for (size_t i = 0; i < count; i++) {
		int seen = is_in_force(&scenes[i]) ? outcome(scenes[i].attempt) : scenes[i].outcome;

		if (seen == scenes[i].outcome)
			continue;
		print_error("%s: %d, and not %d\n", scenes[i].name, seen, scenes[i].outcome);
		wrong++;
	}
	assert_int_equal(wrong, 0);
}

static int in_supervisor(attempt_fn *attempt) { return outcome_in(enter_as_supervisor, attempt); }
static int in_worker(attempt_fn *attempt) { return outcome_in(enter_as_worker, attempt); }
static int in_lookup(attempt_fn *attempt) { return outcome_in(enter_as_lookup, attempt); }

static void supervisor(void **unused)
{
	(void)unused;
	expect(banned_everywhere, COUNT(banned_everywhere), in_supervisor);
	expect(allowed_everywhere, COUNT(allowed_everywhere), in_supervisor);
	expect(of_supervisor, COUNT(of_supervisor), in_supervisor);
}

/* As it is begun: from the supervisor's. */
static void worker(void **unused)
{
	(void)unused;
	expect(banned_everywhere, COUNT(banned_everywhere), in_worker);
	expect(banned_while_serving, COUNT(banned_while_serving), in_worker);
	expect(allowed_everywhere, COUNT(allowed_everywhere), in_worker);
	expect(of_worker, COUNT(of_worker), in_worker);
}

static void anchor_keeper(void **unused)
{
	(void)unused;
	expect(banned_everywhere, COUNT(banned_everywhere), in_lookup);
	expect(banned_while_serving, COUNT(banned_while_serving), in_lookup);
	expect(allowed_everywhere, COUNT(allowed_everywhere), in_lookup);
	expect(of_lookup, COUNT(of_lookup), in_lookup);
}

static void disk_process(void **unused)
{
	(void)unused;
	expect(banned_everywhere, COUNT(banned_everywhere), outcome_in_disk_process);
	expect(banned_while_serving, COUNT(banned_while_serving), outcome_in_disk_process);
	expect(allowed_everywhere, COUNT(allowed_everywhere), outcome_in_disk_process);
	expect(of_disk, COUNT(of_disk), outcome_in_disk_process);
}

/* ---- files that are replaced, and ends that are told ---- */

static int read_new_ca_file(void)
{
	char text[8] = "";
	int fd = open(ca_file, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || read(fd, text, sizeof text - 1) < 0)
		return errno;
	return strcmp(text, "new") ? ENODATA : 0;
}

static pid_t start_stopped(attempt_fn *attempt)
{
	int status;
	pid_t child = fork();

	if (child == 0) {
		enter_as_worker();
		raise(SIGSTOP);
		_exit(attempt());
	}
	return waitpid(child, &status, WUNTRACED) == child && WIFSTOPPED(status) ? child : 0;
}

/* An update of the distribution puts a new file in the old one's place. */
static void replaced_ca_file_is_read(void **unused)
{
	pid_t child = start_stopped(read_new_ca_file);

	(void)unused;
	assert_true(child > 0);
	write_file(beside, "new");
	assert_int_equal(rename(beside, ca_file), 0);
	kill(child, SIGCONT);
	assert_int_equal(outcome_of(child), 0);
}

static bool mount_state(void) { return mount("tmpfs", state, "tmpfs", 0, NULL) == 0; }

/* In mounts of its own. */
static int lose_and_find_disk(void)
{
	pid_t child;

	if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    !mount_state())
		return errno;
	child = start_stopped(work_in_state);
	if (!child || umount2(state, MNT_DETACH) || !mount_state())
		return errno;
	kill(child, SIGCONT);
	return outcome_of(child);
}

/* A rule ends with the file system that it was made on, and state_dir's must not. */
static void disk_that_is_back_is_used(void **unused)
{
	pid_t child;

	(void)unused;
	if (geteuid())
		skip(); /* mounting needs root, as the lab does */
	child = fork();
	if (child == 0)
		_exit(lose_and_find_disk());
	assert_int_equal(outcome_of(child), 0);
}

static int status_of(pid_t child)
{
	int status;

	assert_int_equal(waitpid(child, &status, 0), child);
	return status;
}

static void end_is_told(void **unused)
{
	char words[CHILD_END];
	pid_t child = fork();

	(void)unused;
	if (child == 0) {
		signal(SIGSYS, SIG_DFL); /* cmocka has a handler */
		raise(SIGSYS);
	}
	assert_non_null(strstr(child_end(status_of(child), words), "killed by the sandbox"));
	assert_non_null(strstr(words, "journalctl -k"));
	child = fork();
	if (child == 0)
		raise(SIGKILL);
	assert_string_equal(child_end(status_of(child), words), "was killed by signal 9 (Killed)");
	child = fork();
	if (child == 0)
		_exit(3);
	assert_string_equal(child_end(status_of(child), words), "ended with status 3");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    {"R-NET-14: the supervisor", supervisor, NULL, NULL, NULL},
	    {"R-NET-14: a worker", worker, NULL, NULL, NULL},
	    {"R-NET-14: the keeper of the root anchor", anchor_keeper, NULL, NULL, NULL},
	    {"R-NET-14: a process that waits for a disk", disk_process, NULL, NULL, NULL},
	    {"R-NET-14 F-10: a CA file that is replaced", replaced_ca_file_is_read, NULL, NULL,
		NULL},
	    {"R-NET-14: a disk that is back", disk_that_is_back_is_used, NULL, NULL, NULL},
	    {"how a process ended, in words", end_is_told, NULL, NULL, NULL},
	};

	setrlimit(RLIMIT_CORE, &(struct rlimit){0}); /* a hundred of them would be killed */
	return cmocka_run_group_tests(tests, set_stage, clear_stage);
}
