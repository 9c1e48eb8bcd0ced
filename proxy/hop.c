/*
 * hop.c - see hop.h. The words for what TLS proved or failed to prove are policy's
 * (route_explain_tls).
 */
#include "proxy/hop.h"

#include "proxy/smtp/smtp_client.h"

#include <stdio.h>

static void explain_tls(
    const struct route *route, const struct smtp_client *client, struct refusal *refusal)
{
	const char *words = smtp_client_failure(client)->text;
	const struct tls_proof *proof = smtp_client_proof(client);
	struct tls_proof given_up;

	/* No verdict of the handshake's own: it did not end in time, or broke after it. */
	if (proof && proof->failure == TLS_FINE) {
		given_up = *proof;
		given_up.failure = TLS_FAIL_HANDSHAKE;
		snprintf(given_up.text, sizeof given_up.text, "%.255s", words);
		proof = &given_up;
	}
	route_explain_tls(route, smtp_client_address(client), proof ? NULL : words, proof, refusal);
}

void hop_explain(
    const struct route *route, const struct smtp_client *client, struct refusal *refusal)
{
	const struct smtp_client_failure *failure = smtp_client_failure(client);

	if (failure->stage == STAGE_TLS)
		explain_tls(route, client, refusal);
	else
		refusal_set(
		    refusal, failure->reason, "%s: %s", smtp_client_name(client), failure->text);
}
