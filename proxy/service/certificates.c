/*
 * certificates.c - see certificates.h.
 */
#include "proxy/service/certificates.h"

#include "conf/conf.h"
#include "conf/log.h"
#include "conf/mem.h"
#include "tls/server.h"

#include <stdlib.h>
#include <string.h>

struct item {
	struct tls_server *server;
	struct item *lender; /* whose it is until certificates_keep() */
};

struct certificates {
	const struct conf *conf;
	struct item *items;
};

static struct item *find_same(struct certificates *before, const struct conf_listener *conf)
{
	for (size_t i = 0; before && i < before->conf->listener_count; i++) {
		const struct conf_listener *other = &before->conf->listeners[i];

		if (before->items[i].server &&
		    !strcmp(other->tls_certificate, conf->tls_certificate) &&
		    !strcmp(other->tls_key, conf->tls_key))
			return &before->items[i];
	}
	return NULL;
}

/* A key that only root may read cannot be read again once privileges are gone. */
static bool borrow(struct item *item, struct certificates *before, const struct conf_listener *conf,
    const char *error)
{
	item->lender = find_same(before, conf);
	if (!item->lender)
		return false;
	item->server = item->lender->server;
	log_warning("[listener %s] %s: the certificate that was loaded before stays in use until a "
		    "restart",
	    conf->name, error);
	return true;
}

static bool load_one(
    struct item *item, struct certificates *before, const struct conf_listener *conf, char **error)
{
	char *why = NULL;

	if (!conf->tls_certificate[0])
		return true;
	item->server = tls_server_new(conf->tls_certificate, conf->tls_key, &why);
	if (item->server)
		return true;
	if (borrow(item, before, conf, why)) {
		free(why);
		return true;
	}
	*error = mem_printf("[listener %s] %s", conf->name, why);
	free(why);
	return false;
}

struct certificates *certificates_load(
    const struct conf *conf, struct certificates *before, char **error)
{
	struct certificates *c = mem_zero(1, sizeof *c);

	c->conf = conf;
	c->items = mem_zero(conf->listener_count, sizeof *c->items);
	for (size_t i = 0; i < conf->listener_count; i++) {
		if (!load_one(&c->items[i], before, &conf->listeners[i], error)) {
			certificates_free(&c);
			return NULL;
		}
	}
	return c;
}

/* Two listeners may have had the same from one. */
void certificates_keep(struct certificates *c)
{
	for (size_t i = 0; i < c->conf->listener_count; i++) {
		struct item *item = &c->items[i];

		if (!item->lender)
			continue;
		if (item->lender->server == item->server) {
			item->lender->server = NULL;
			item->lender = NULL;
		}
	}
}

void certificates_free(struct certificates **certificates)
{
	struct certificates *c = *certificates;

	if (!c)
		return;
	for (size_t i = 0; i < c->conf->listener_count; i++) {
		if (!c->items[i].lender)
			tls_server_free(&c->items[i].server);
	}
	free(c->items);
	free(c);
	*certificates = NULL;
}

struct tls_server *certificates_get(const struct certificates *c, size_t listener)
{
	return c->items[listener].server;
}
