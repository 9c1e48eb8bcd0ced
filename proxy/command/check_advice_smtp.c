/*
 * check_advice_smtp.c - what a host means that is not reached, or does not begin TLS. Pure.
 */
#include "proxy/command/check_advice.h"

#include <stdlib.h>
#include <string.h>

/* ---- the connection ---- */

void advise_unreached(struct scene *scene)
{
	const char *seen = advice_behind_host(scene);

	if (advice_begins(seen, "connection refused"))
		ADVICE(scene,
		    "No mail server listens there, or a firewall rejects you. If no host answers "
		    "you, your own firewall or access provider blocks port 25; if others do, the "
		    "host's owner must look.");
	else if (advice_begins(seen, "this danelaw itself answered"))
		ADVICE(scene, "Nothing is known about the host. Run this command as root, or as "
			      "the user that "
			      "danelaw serves as: the rules let their connections pass.");
	else if (advice_begins(seen, "broke the protocol"))
		ADVICE(scene,
		    "Something answers there that is no mail server: the host's owner must look "
		    "which program has that port, or you must look which proxy stands between.");
	else if (advice_begins(seen, "answered"))
		ADVICE(scene,
		    "The host answers and refuses service: its words say why, and its owner must "
		    "mend it, or your operator what they complain of.");
}

/* ---- STARTTLS ---- */

static bool is_injected(const struct scene *scene)
{
	const char *seen = advice_behind_host(scene);

	if (scene->refusal->reason == REASON_TLS_HANDSHAKE) {
		seen = strstr(scene->refusal->text, " failed: ");
		return seen && advice_begins(seen, " failed: data before the TLS handshake");
	}
	return advice_begins(seen, "answered STARTTLS before") ||
	       advice_begins(seen, "sent more than the reply");
}

bool advise_injection(struct scene *scene)
{
	bool is_handshake = scene->refusal->reason == REASON_TLS_HANDSHAKE;
	const char *host =
	    scene->refusal->text + (is_handshake ? strlen("TLS handshake with ") : 0);

	if (!is_injected(scene))
		return false;
	WHAT(scene,
	    "%.*s sent data ahead of the TLS handshake (STARTTLS injection); danelaw broke off.",
	    (int)strcspn(host, " "), host);
	ADVICE(scene,
	    "Either somebody on the way forges replies, or a faulty server or proxy answers "
	    "twice. The owner of the host should look whether another network sees the same; if "
	    "so, the server, or the proxy before it, must be updated.");
	return true;
}

/* What stands between here and there, or the server, spoils an offer that was made. */
bool advise_starttls(struct scene *scene)
{
	const char *seen = advice_behind_host(scene);

	if (advice_begins(seen, "refused EHLO"))
		ADVICE(scene,
		    "So STARTTLS cannot even be asked for. The host's owner must switch off SMTP "
		    "inspection in the firewall before it, or turn ESMTP on.");
	else if (advice_begins(seen, "answered STARTTLS with 454"))
		ADVICE(scene,
		    "The host offers STARTTLS, but its TLS is out of order for now: its owner must "
		    "look in its log for a key or certificate that cannot be loaded.");
	else if (advice_begins(seen, "answered STARTTLS with "))
		ADVICE(scene,
		    "The host offers STARTTLS and then does not begin it: the server, or a "
		    "firewall with SMTP inspection, mangles the command. The host's owner must "
		    "mend the one or switch off the other.");
	else
		return false;
	return true;
}

void advise_sts_no_starttls(struct scene *scene)
{
	const char *domain = scene->host && scene->host->route->sts_domain[0]
				 ? scene->host->route->sts_domain
				 : NULL;
	char *first;

	advise_starttls(scene);
	first = scene->words->advice ? scene->words->advice
				     : mem_strdup(check_advice(REASON_STS_NO_STARTTLS));
	ADVICE(scene,
	    "%s Where TLS is not wanted, the owner of %s must serve the policy with mode none and "
	    "then change the id of its _mta-sts record: senders keep to the old policy until they "
	    "see the new id. To delete the record or the policy does not help.",
	    first, domain ? domain : "the domain");
	free(first);
}
