/*
 * privileges.c - root binds and hands over; everything after that runs as somebody who owns nothing
 * but state_dir.
 */
#include "proxy/privileges.h"

#include "conf/conf.h"
#include "conf/log.h"
#include "conf/mem.h"
#include "proxy/intercept/intercept.h"

#include <cap-ng.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

/* For the rest: DNS sockets and idle next-hop connections above all. */
enum { DESCRIPTORS_A_SESSION = 2, DESCRIPTORS_FOR_THE_REST = 2100 };

static size_t further_next_hops(const struct rlimit *limit) { return limit->rlim_cur / 3; }

size_t privileges_raise_descriptors(void)
{
	struct rlimit limit;
	rlim_t left;

	if (getrlimit(RLIMIT_NOFILE, &limit))
		return 0;
	limit.rlim_cur = limit.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &limit))
		log_warning("cannot raise the limit of open files: %s", strerror(errno));
	if (getrlimit(RLIMIT_NOFILE, &limit))
		return 0;
	left = limit.rlim_cur - further_next_hops(&limit);
	if (left <= DESCRIPTORS_FOR_THE_REST)
		return 0;
	return (left - DESCRIPTORS_FOR_THE_REST) / DESCRIPTORS_A_SESSION;
}

size_t privileges_further_next_hops(void)
{
	struct rlimit limit;

	return getrlimit(RLIMIT_NOFILE, &limit) ? 0 : further_next_hops(&limit);
}

/* mkdir -p, the last one for its owner and group alone. */
static void make_directory(const char *path)
{
	char *copy = mem_strdup(path);

	for (char *p = copy + 1; *p; p++) {
		if (*p != '/')
			continue;
		*p = '\0';
		mkdir(copy, 0755);
		*p = '/';
	}
	if (mkdir(copy, 0750) && errno != EEXIST)
		log_warning("[server] state_dir %s cannot be made: %s; the trust anchor will not "
			    "be kept up, and MTA-STS policies not over a restart",
		    path, strerror(errno));
	free(copy);
}

static bool is_empty(int directory)
{
	DIR *dir = fdopendir(dup(directory));
	const struct dirent *entry;
	bool empty = dir != NULL;

	while (dir && (entry = readdir(dir)))
		empty = empty && entry->d_name[0] == '.' &&
			(!entry->d_name[1] || strcmp(entry->d_name, "..") == 0);
	if (dir)
		closedir(dir);
	return empty;
}

/*
 * Root gives away nothing but an empty directory: a mistyped state_dir must not change who owns a
 * file, a link's target or a directory with other things in it.
 */
static void hand_over(const char *path, const struct passwd *user)
{
	int directory = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;

	if (directory < 0 || fstat(directory, &st)) {
		log_warning("[server] state_dir %s: %s; nothing is kept over a restart", path,
		    strerror(errno));
	} else if (st.st_uid != user->pw_uid && !is_empty(directory)) {
		log_warning(
		    "[server] state_dir %s is not empty and belongs to somebody else: name a "
		    "directory of danelaw's own, or hand it to %s (chown -R)",
		    path, user->pw_name);
	} else if (st.st_uid != user->pw_uid && fchown(directory, user->pw_uid, user->pw_gid)) {
		log_warning("[server] state_dir %s cannot be handed to %s: %s", path, user->pw_name,
		    strerror(errno));
	}
	if (directory >= 0)
		close(directory);
}

static const struct passwd *find_user(const struct conf *conf, char **error)
{
	const struct passwd *user;

	if (conf->server.user[0]) {
		user = getpwnam(conf->server.user);
		if (!user)
			*error = mem_printf(
			    "[server] user = %s: there is no such user", conf->server.user);
		return user;
	}
	user = getpwnam("danelaw");
	if (user)
		return user;
	log_warning(
	    "there is no user danelaw: running as nobody (make one, or name one in [server] user)");
	user = getpwnam("nobody");
	if (!user)
		*error = mem_strdup(
		    "neither the user danelaw nor nobody exists: name one in [server] user");
	return user;
}

/* ---- capabilities ---- */

/*
 * All that is left for the time of serving (R-NET-14): marked sockets, and sockets with an address
 * that is not ours, need CAP_NET_RAW, the lesser one of the two that would do.
 */
static void choose_capabilities(const struct conf *conf)
{
	prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	capng_clear(CAPNG_SELECT_BOTH);
	if (intercept_marks(conf))
		capng_update(CAPNG_ADD, CAPNG_EFFECTIVE | CAPNG_PERMITTED, CAP_NET_RAW);
}

static bool become(const struct conf *conf, const struct passwd *user, char **error)
{
	if (!user->pw_uid)
		log_warning(
		    "[server] user = %s: danelaw needs no root to work, and should not be it",
		    user->pw_name);
	choose_capabilities(conf);
	if (capng_change_id((int)user->pw_uid, (int)user->pw_gid, CAPNG_DROP_SUPP_GRP)) {
		*error =
		    mem_printf("cannot become the user %s: %s", user->pw_name, strerror(errno));
		return false;
	}
	if (user->pw_uid && !setuid(0)) {
		*error = mem_printf("became the user %s, but could return to root", user->pw_name);
		return false;
	}
	log_info("running as user %s%s", user->pw_name,
	    intercept_marks(conf) ? " with CAP_NET_RAW" : "");
	return true;
}

/* Started by somebody else than root: whatever was given for the start goes. */
static bool drop_capabilities(const struct conf *conf, char **error)
{
	choose_capabilities(conf);
	if (!capng_apply(CAPNG_SELECT_CAPS))
		return true;
	*error =
	    mem_strdup(intercept_marks(conf) ? "intercept = tproxy needs the capability CAP_NET_RAW"
					     : "cannot give capabilities away");
	return false;
}

bool privileges_drop(const struct conf *conf, char **error)
{
	const struct passwd *user;

	make_directory(conf->server.state_dir);
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	if (geteuid())
		return drop_capabilities(conf, error);
	user = find_user(conf, error);
	if (!user)
		return false;
	hand_over(conf->server.state_dir, user);
	return become(conf, user, error);
}

/* no_new_privs lets nothing but ambient capabilities through. */
void privileges_keep_over_exec(const struct conf *conf)
{
	if (!intercept_marks(conf))
		return;
	capng_get_caps_process();
	capng_update(CAPNG_ADD, CAPNG_INHERITABLE, CAP_NET_RAW);
	if (capng_apply(CAPNG_SELECT_CAPS) ||
	    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_NET_RAW, 0, 0))
		log_error("CAP_NET_RAW cannot be kept: %s", strerror(errno));
}

void privileges_keep_no_more(const struct conf *conf)
{
	if (!intercept_marks(conf))
		return;
	prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	capng_get_caps_process();
	capng_update(CAPNG_DROP, CAPNG_INHERITABLE, CAP_NET_RAW);
	if (capng_apply(CAPNG_SELECT_CAPS))
		log_error("CAP_NET_RAW stays inheritable: %s", strerror(errno));
}
