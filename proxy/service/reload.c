/*
 * reload.c - see reload.h.
 */
#include "proxy/service/reload.h"

#include "conf/conf.h"
#include "conf/log.h"
#include "conf/mem.h"
#include "proxy/admin.h"
#include "proxy/command_line.h"
#include "proxy/service/certificates.h"
#include "proxy/service/manager.h"
#include "proxy/service/supervisor_internal.h"
#include "proxy/service/worker.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void tell_manager(const struct supervisor *s, const char *what)
{
	char status[80];

	snprintf(status, sizeof status, "%u worker%s serve mail%s", crew_size(s->current),
	    crew_size(s->current) == 1 ? "" : "s", what);
	manager_tell_ready(status);
}

/* ---- refusing ---- */

/* *why, where there is one, is freed. */
static void refuse(struct supervisor *s, char **why)
{
	log_error("the reload is refused, the settings stay as they were%s%s",
	    why && *why ? ": " : "", why && *why ? *why : "");
	if (why)
		free(*why);
	tell_manager(s, "; the last reload was refused");
}

static struct conf *load(struct supervisor *s)
{
	struct conf_report report = {0};
	struct conf *conf =
	    conf_load(s->line->path, s->line->options, s->line->option_count, &report);

	for (size_t i = 0; i < report.error_count; i++)
		log_error("%s", report.errors[i]);
	for (size_t i = 0; i < report.warning_count; i++)
		log_warning("%s", report.warnings[i]);
	conf_report_free(&report);
	return conf;
}

/* What is settled before privileges are dropped. */
static bool is_same_place(const struct conf *old, const struct conf *new, char **error)
{
	if (strcmp(old->server.user, new->server.user) != 0)
		*error = mem_strdup("[server] user takes a restart to change");
	else if (strcmp(old->server.state_dir, new->server.state_dir) != 0)
		*error = mem_strdup("[server] state_dir takes a restart to change");
	return !*error;
}

static bool bind_admin(struct supervisor *s, const struct conf *conf, char **error)
{
	if (admin_is_bound_to(s->admin, conf))
		return true;
	s->next_admin = admin_bind(conf, s->sockets, error);
	return s->next_admin && admin_start(s->next_admin, s->loop, &s->health, error);
}

/* ---- the steps ---- */

void reload_clean_up(struct supervisor *s)
{
	admin_free(&s->next_admin);
	supervisor_trim_sockets(s);
}

/* kept: certificates that may stay where the new ones cannot be read; NULL: none. */
static bool prepare(struct supervisor *s, const struct conf *conf, struct certificates *kept,
    struct certificates **certificates, char **error)
{
	if (!is_same_place(crew_conf(s->current), conf, error) || !supervisor_may_mark(conf, error))
		return false;
	*certificates = certificates_load(conf, kept, error);
	return *certificates && sockets_bind(s->sockets, conf, conf->server.workers, error) &&
	       bind_admin(s, conf, error);
}

static void begin(struct supervisor *s)
{
	struct certificates *certificates = NULL;
	struct conf *conf = load(s);
	char *error = NULL;

	if (conf && prepare(s, conf, crew_certificates(s->current), &certificates, &error)) {
		s->next = crew_new(&s->home, conf, certificates);
		crew_start(s->next, false);
		return;
	}
	certificates_free(&certificates);
	conf_free(&conf);
	reload_clean_up(s);
	refuse(s, &error);
}

bool reload_rehearse(struct supervisor *s, char **error)
{
	struct certificates *certificates = NULL;
	struct conf *conf = load(s);
	bool good = conf && prepare(s, conf, NULL, &certificates, error);

	certificates_free(&certificates);
	conf_free(&conf);
	if (!good)
		reload_clean_up(s);
	return good;
}

/* One at a time: the last word counts. */
void reload_begin(struct supervisor *s)
{
	if (s->is_stopping)
		return;
	s->is_asked_again = s->next != NULL;
	if (s->next)
		return;
	log_info("reloading the settings");
	manager_tell_reloading();
	begin(s);
}

static void begin_again(struct supervisor *s)
{
	if (s->is_asked_again)
		reload_begin(s);
}

static void replace(struct supervisor *s, struct crew *old)
{
	const struct conf *conf = crew_conf(s->current);

	certificates_keep(crew_certificates(s->current));
	if (s->next_admin) {
		admin_free(&s->admin);
		s->admin = s->next_admin;
		s->next_admin = NULL;
	}
	log_open(conf->log.target, conf->log.format, conf->log.level);
	supervisor_let_go(s, old, WORKER_LEAVE);
	log_info("new workers with the present settings serve");
}

void reload_commit(struct supervisor *s)
{
	struct crew *old = s->current;

	s->current = s->next;
	s->next = NULL;
	s->health.conf = crew_conf(s->current);
	if (old)
		replace(s, old);
	tell_manager(s, "");
	begin_again(s);
}

void reload_take_back(struct supervisor *s)
{
	struct crew *failed = s->next;

	s->next = NULL;
	supervisor_let_go(s, failed, WORKER_STOP);
	reload_clean_up(s);
	refuse(s, NULL);
	begin_again(s);
}
