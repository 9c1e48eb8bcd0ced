/*
 * derive.c - defaults that depend on the machine and on other settings.
 *
 * The host's full name must not be looked up: at start the network may be absent, and a search list
 * may give a name that is not ours (R-DNS-34). So it is what gethostname() says, or what /etc/hosts
 * adds to that; otherwise none, and sessions use their address literal. Called by conf.c.
 */
#include "conf/derive.h"

#include "conf/mem.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void set(char **place, char *text)
{
	free(*place);
	*place = text;
}

/* Whether word is "SHORT.something", a host; then in full. */
static bool completes(const char *word, const char *short_name, char full[DOMAIN_SIZE])
{
	size_t len = strlen(short_name);

	return domain_normalize(full, word, strlen(word)) && domain_is_host(full) &&
	       !strncmp(full, short_name, len) && full[len] == '.';
}

/* Lines of /etc/hosts: address, name, aliases; '#' begins a comment. */
static bool find_in_line(char *line, const char *short_name, char full[DOMAIN_SIZE])
{
	char *rest = line;
	const char *word;

	line[strcspn(line, "#\n")] = '\0';
	strsep(&rest, " \t");
	while ((word = strsep(&rest, " \t")))
		if (completes(word, short_name, full))
			return true;
	return false;
}

static bool find_in_hosts(const char *short_name, char full[DOMAIN_SIZE])
{
	FILE *hosts = fopen("/etc/hosts", "re");
	char line[1024];
	bool found = false;

	if (!hosts)
		return false;
	while (!found && fgets(line, sizeof line, hosts))
		found = find_in_line(line, short_name, full);
	fclose(hosts);
	return found;
}

/* "" where this host does not know its full name. */
static char *find_hostname(void)
{
	char text[DOMAIN_SIZE] = "";
	char name[DOMAIN_SIZE], full[DOMAIN_SIZE];

	if (gethostname(text, sizeof text - 1) || !domain_normalize(name, text, strlen(text)))
		return mem_strdup("");
	if (strchr(name, '.') && domain_is_host(name))
		return mem_strdup(name);
	return mem_strdup(find_in_hosts(name, full) ? full : "");
}

/* Never the bare host name: a client on the same host would see a loop to itself. */
static char *make_greeting_name(const char *hostname)
{
	static const char prefix[] = "danelaw";

	if (!*hostname || sizeof prefix + strlen(hostname) > DOMAIN_MAX)
		return mem_strdup(prefix);
	return mem_printf("%s.%s", prefix, hostname);
}

/* systemd names several directories with ':' between them; the first is the service's own. */
static char *find_state_dir(void)
{
	const char *service = getenv("STATE_DIRECTORY");
	const char *state = getenv("XDG_STATE_HOME");
	const char *home = getenv("HOME");

	if (service && *service)
		return mem_strndup(service, strcspn(service, ":"));
	if (geteuid() == 0)
		return mem_strdup("/var/lib/danelaw");
	if (state && *state == '/')
		return mem_printf("%s/danelaw", state);
	return mem_printf("%s/.local/state/danelaw", home && *home ? home : "");
}

/* Those that we may run on. */
static unsigned count_cpus(void)
{
	cpu_set_t set;
	int count = sched_getaffinity(0, sizeof set, &set) ? 1 : CPU_COUNT(&set);

	return count < 1 ? 1 : count > CONF_WORKERS_MAX ? CONF_WORKERS_MAX : (unsigned)count;
}

void derive_defaults(struct conf *conf)
{
	if (!conf->server.workers)
		conf->server.workers = count_cpus();
	if (!*conf->server.hostname)
		set(&conf->server.hostname, find_hostname());
	if (!*conf->server.greeting_name)
		set(&conf->server.greeting_name, make_greeting_name(conf->server.hostname));
	if (!*conf->server.state_dir)
		set(&conf->server.state_dir, find_state_dir());
}
