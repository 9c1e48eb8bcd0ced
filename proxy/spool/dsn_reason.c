/*
 * dsn_reason.c - our reason codes in plain words: what happened, and who can mend it.
 *
 * For somebody who wrote a mail and never heard of DNSSEC; that person forwards the notice to whom
 * the second sentence names. A test sees to it that no code is missing.
 */
#include "proxy/spool/dsn_internal.h"

/* Those that one sentence serves. */
#define RECIPIENT_MENDS                                                                            \
	"The operator of the recipient's mail can mend this; please forward this message to "      \
	"them by another way, such as their telephone."
#define TRY_LATER                                                                                  \
	"Often this passes by itself: send the message again later. If it lasts, the operator of " \
	"the recipient's mail should know."
#define OWN_ADMINISTRATOR "Your own mail administrator can mend this."
#define CHECK_ADDRESS     "Please check the part of the address behind the @."
#define DANE_PROOF                                                                                 \
	"This may be an attack on the connection, or a certificate that was changed without its "  \
	"record; to be safe the message was not sent. "

/* clang-format off */
static const struct dsn_reason reasons[REASON_COUNT] = {
	[REASON_NONE] = {
		"The mail server of the recipient took the message.",
		"There is nothing to mend." },
	[REASON_DNS_BOGUS] = {
		"The recipient's domain is protected by DNSSEC, and its signatures are wrong, so its mail server "
		"could not be found safely.",
		"The DNS operator of the recipient's domain can mend this; please let them know." },
	[REASON_DNS_FAILED] = {
		"DNS gave no usable answer, so the recipient's mail server could not be found.",
		"If mail to other domains fails alike, it is the DNS of the host that sends this, and your own mail "
		"administrator can mend it; else the DNS operator of the recipient's domain." },
	[REASON_NO_SUCH_DOMAIN] = { "The recipient's domain does not exist.", CHECK_ADDRESS },
	[REASON_NO_MAIL_HOST] = {
		"The recipient's domain exists, but it has no mail server.", CHECK_ADDRESS },
	[REASON_ADDRESS_LITERAL] = {
		"The address names a computer by its number instead of a domain; such mail is not delivered.",
		"Please use an address with a domain." },
	[REASON_NULL_MX] = {
		"The recipient's domain says that it takes no mail at all.", CHECK_ADDRESS },
	[REASON_BAD_ADDRESS] = { "This is not a complete mail address.", "Please check the address." },
	[REASON_NO_ADDRESS] = {
		"The recipient's domain names a mail server that has no address.",
		"The DNS operator of the recipient's domain can mend this." },
	[REASON_MX_LOOP] = {
		"By its DNS records the recipient's mail server is this relay itself: the message would go in circles.",
		"Your own mail administrator can mend this, or the DNS operator of the recipient's domain." },
	[REASON_CONNECT_FAILED] = {
		"No mail server of the recipient's domain answered.", TRY_LATER },
	[REASON_CONNECTION_LOST] = {
		"The connection to the recipient's mail server was lost before it confirmed the message.", TRY_LATER },
	[REASON_OUTCOME_UNKNOWN] = {
		"The whole message was sent, but the connection was lost before the recipient's mail server confirmed "
		"it. It may have arrived all the same.",
		"Please ask the recipient before you send it again." },
	[REASON_DANE_NO_STARTTLS] = {
		"The recipient's domain promises encrypted mail (DANE), but its mail server did not offer encryption. "
		"This may be an attack on the connection; to be safe the message was not sent.",
		RECIPIENT_MENDS },
	[REASON_TLS_NOT_OFFERED] = {
		"Mail to this domain must be encrypted, and its mail server did not offer encryption.",
		"The operator of the recipient's mail can mend this. That it must be encrypted is a rule of your own "
		"mail administrator." },
	[REASON_TLS_HANDSHAKE] = {
		"Mail to this domain must be encrypted, and no encrypted connection to its mail server could be made.",
		RECIPIENT_MENDS },
	[REASON_DANE_MISMATCH] = {
		"The recipient's mail server showed another certificate than the one that its domain publishes in DNS "
		"(DANE, a TLSA record). " DANE_PROOF,
		RECIPIENT_MENDS },
	[REASON_DANE_NAME] = {
		"The certificate of the recipient's mail server is for another name than its domain publishes in DNS "
		"(DANE). " DANE_PROOF,
		RECIPIENT_MENDS },
	[REASON_DANE_EXPIRED] = {
		"The certificate of the recipient's mail server has expired. " DANE_PROOF, RECIPIENT_MENDS },
	[REASON_DANE_CHAIN] = {
		"The certificate of the recipient's mail server does not come from the authority that its domain "
		"publishes in DNS (DANE). " DANE_PROOF,
		RECIPIENT_MENDS },
	[REASON_DANE_REQUIRED] = {
		"Mail to this domain is only sent where DANE protects it, and the domain has no signed record (TLSA) "
		"for that.",
		"Your own mail administrator made this rule and can change it; or the DNS operator of the recipient's "
		"domain publishes the record." },
	[REASON_PKIX_CERTIFICATE] = {
		"The certificate of the recipient's mail server could not be verified, and your mail administrator "
		"requires that for this domain.",
		"The operator of the recipient's mail can mend this, or your own mail administrator." },
	[REASON_STS_MX] = {
		"The recipient's domain publishes which mail servers may take its mail (MTA-STS), and those in DNS are "
		"not among them. This may be an attack; to be safe the message was not sent.",
		RECIPIENT_MENDS },
	[REASON_STS_CERTIFICATE] = {
		"The recipient's domain promises mail servers with a valid certificate (MTA-STS), and this one has none. "
		"This may be an attack; to be safe the message was not sent.",
		RECIPIENT_MENDS },
	[REASON_STS_NO_STARTTLS] = {
		"The recipient's domain promises encrypted mail (MTA-STS), but its mail server did not offer "
		"encryption. This may be an attack; to be safe the message was not sent.",
		RECIPIENT_MENDS },
	[REASON_STS_FETCH] = {
		"The recipient's domain announces a security policy (MTA-STS) that could not be fetched.",
		RECIPIENT_MENDS },
	[REASON_MIDDLEBOX] = {
		"Something between this relay and other servers takes the encryption out of what they offer.",
		OWN_ADMINISTRATOR },
	[REASON_ONE_DOMAIN] = {
		"The message had recipients in several domains, which this relay takes one by one.", OWN_ADMINISTRATOR },
	[REASON_TOO_MANY_RECIPIENTS] = {
		"The message had more recipients than one message may have here.",
		"Please send it to fewer recipients at a time." },
	[REASON_NOT_ALLOWED] = {
		"Your computer is not allowed to send mail through this relay.", OWN_ADMINISTRATOR },
	[REASON_TOO_LARGE] = {
		"The message is larger than the recipient's mail server takes, or than this relay does.",
		"Please send it in smaller parts, or put large files elsewhere and send a link." },
	[REASON_MAIL_LOOP] = {
		"The message has passed through too many mail servers: it goes in circles.",
		"Your own mail administrator can mend this, or the operator of the recipient's mail." },
	[REASON_BARE_NEWLINE] = {
		"The message has line ends that are not allowed in mail.",
		"This is a mistake of the program that made the message; your own mail administrator can help." },
	[REASON_BAD_CONTENT] = {
		"The message holds octets or lines that are not allowed in mail.",
		"This is a mistake of the program that made the message; your own mail administrator can help." },
	[REASON_NO_8BITMIME] = {
		"The message holds letters beyond ASCII in 8-bit form, which the recipient's mail server does not take.",
		"Please send it with another program, or in plain ASCII; most programs encode such mail by themselves." },
	[REASON_NO_SMTPUTF8] = {
		"The message has an address or header beyond ASCII, which the recipient's mail server does not take.",
		"Please use addresses in plain ASCII, if the recipient has one." },
	[REASON_BUSY] = {
		"This relay had too much to do at the same time.",
		"Send the message again later. If it lasts, your own mail administrator can mend it." },
	[REASON_IDLE] = { "A connection was silent for too long.", OWN_ADMINISTRATOR },
	[REASON_OVERLOAD] = {
		"This relay had too much to do at the same time.",
		"Send the message again later. If it lasts, your own mail administrator can mend it." },
	[REASON_SHUTDOWN] = { "This relay was being stopped.", "Please send the message again." },
	[REASON_HINT_MISMATCH] = {
		"Your computer sent the message to an address that is no mail server of the recipient's domain, and "
		"this relay is told to be strict about that.",
		OWN_ADMINISTRATOR },
	[REASON_SPOOL_FAILED] = {
		"This relay could not store the message: its disk is full or does not work.",
		"Send the message again later. If it lasts, your own mail administrator can mend it." },
	[REASON_DUPLICATE] = {
		"The recipient has this message already: it was sent twice.", "There is nothing to mend." },
	[REASON_NEXT_HOP] = {
		"The recipient's mail server itself said this.",
		"Its operator, or whoever looks after the recipient's mailbox, can tell you more." },
	[REASON_STS_POLICY_INVALID] = {
		"The recipient's domain announces a security policy (MTA-STS) that cannot be understood.",
		RECIPIENT_MENDS },
};
/* clang-format on */

const struct dsn_reason *dsn_reason(enum reason reason)
{
	static const struct dsn_reason unknown = {
	    "The message could not be delivered.", OWN_ADMINISTRATOR};
	const struct dsn_reason *known =
	    (unsigned)reason < REASON_COUNT ? &reasons[reason] : &unknown;

	return known->meaning ? known : &unknown;
}
