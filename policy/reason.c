/*
 * reason.c - the table behind reason.h: interface section 3, row by row.
 *
 * A reason that can refuse has a reply; one that only describes a delivery ("sts-policy-invalid")
 * has none, so that nobody can refuse with it by mistake.
 */
#include "policy/reason.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* clang-format off */
static const struct {
	const char *code;
	int reply;
	const char *status;
} reasons[REASON_COUNT] = {
	[REASON_NONE]                = { "-",                     0, "" },
	[REASON_DNS_BOGUS]           = { "dns-bogus",           451, "4.4.3" },
	[REASON_DNS_FAILED]          = { "dns-failed",          451, "4.4.3" },
	[REASON_NO_SUCH_DOMAIN]      = { "no-such-domain",      550, "5.1.2" },
	[REASON_NO_MAIL_HOST]        = { "no-mail-host",        550, "5.1.2" },
	[REASON_ADDRESS_LITERAL]     = { "address-literal",     550, "5.1.2" },
	[REASON_NULL_MX]             = { "null-mx",             556, "5.1.10" },
	[REASON_BAD_ADDRESS]         = { "bad-address",         501, "5.1.3" },
	[REASON_NO_ADDRESS]          = { "no-address",          451, "4.4.4" },
	[REASON_MX_LOOP]             = { "mx-loop",             554, "5.4.6" },
	[REASON_CONNECT_FAILED]      = { "connect-failed",      451, "4.4.1" },
	[REASON_CONNECTION_LOST]     = { "connection-lost",     451, "4.4.2" },
	[REASON_OUTCOME_UNKNOWN]     = { "outcome-unknown",     451, "4.4.2" },
	[REASON_DANE_NO_STARTTLS]    = { "dane-no-starttls",    451, "4.7.4" },
	[REASON_TLS_NOT_OFFERED]     = { "tls-not-offered",     451, "4.7.4" },
	[REASON_TLS_HANDSHAKE]       = { "tls-handshake",       451, "4.7.5" },
	[REASON_DANE_MISMATCH]       = { "dane-mismatch",       451, "4.7.5" },
	[REASON_DANE_NAME]           = { "dane-name",           451, "4.7.5" },
	[REASON_DANE_EXPIRED]        = { "dane-expired",        451, "4.7.5" },
	[REASON_DANE_CHAIN]          = { "dane-chain",          451, "4.7.5" },
	[REASON_DANE_REQUIRED]       = { "dane-required",       451, "4.7.5" },
	[REASON_PKIX_CERTIFICATE]    = { "certificate",         451, "4.7.5" },
	[REASON_STS_MX]              = { "sts-mx",              451, "4.7.5" },
	[REASON_STS_CERTIFICATE]     = { "sts-certificate",     451, "4.7.5" },
	[REASON_STS_NO_STARTTLS]     = { "sts-no-starttls",     451, "4.7.4" },
	[REASON_STS_FETCH]           = { "sts-fetch",           451, "4.7.5" },
	[REASON_HINT_MISMATCH]       = { "hint-mismatch",       451, "4.7.1" },
	[REASON_ONE_DOMAIN]          = { "one-domain",          452, "4.5.3" },
	[REASON_TOO_MANY_RECIPIENTS] = { "too-many-recipients", 452, "4.5.3" },
	[REASON_NOT_ALLOWED]         = { "not-allowed",         554, "5.7.1" },
	[REASON_TOO_LARGE]           = { "too-large",           552, "5.3.4" },
	[REASON_MAIL_LOOP]           = { "mail-loop",           554, "5.4.6" },
	[REASON_BARE_NEWLINE]        = { "bare-newline",        550, "5.5.2" },
	[REASON_BAD_CONTENT]         = { "bad-content",         554, "5.6.0" },
	[REASON_NO_8BITMIME]         = { "no-8bitmime",         554, "5.6.3" },
	[REASON_NO_SMTPUTF8]         = { "no-smtputf8",         550, "5.6.7" },
	[REASON_BUSY]                = { "busy",                451, "4.3.2" },
	[REASON_IDLE]                = { "idle",                421, "4.4.2" },
	[REASON_OVERLOAD]            = { "overload",            421, "4.3.2" },
	[REASON_SHUTDOWN]            = { "shutdown",            421, "4.3.2" },
	[REASON_SPOOL_FAILED]        = { "spool-failed",        452, "4.3.1" },
	[REASON_NEXT_HOP]            = { "-",                     0, "" },
	[REASON_DUPLICATE]           = { "duplicate",           250, "2.0.0" },
	[REASON_STS_POLICY_INVALID]  = { "sts-policy-invalid",    0, "" },
	[REASON_MIDDLEBOX]           = { "middlebox",             0, "" },
};
/* clang-format on */

const char *reason_code(enum reason reason)
{
	assert((unsigned)reason < REASON_COUNT);
	return reasons[reason].code;
}

int reason_reply(enum reason reason)
{
	assert((unsigned)reason < REASON_COUNT);
	return reasons[reason].reply;
}

const char *reason_status(enum reason reason)
{
	assert((unsigned)reason < REASON_COUNT);
	return reasons[reason].status;
}

bool reason_is_tls(enum reason reason)
{
	const char *status = reason_status(reason);

	return strcmp(status, "4.7.4") == 0 || strcmp(status, "4.7.5") == 0;
}

void refusal_set(struct refusal *refusal, enum reason reason, const char *format, ...)
{
	va_list args;

	refusal->reason = reason;
	va_start(args, format);
	vsnprintf(refusal->text, sizeof refusal->text, format, args);
	va_end(args);
}
