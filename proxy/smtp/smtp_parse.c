/*
 * smtp_parse.c - command lines from clients (RFC 5321 sections 2.4 and 4.1.1).
 *
 * Tables, one row per verb and per parameter of MAIL and RCPT; the server decides what a verb that
 * was understood is answered. Blanks are taken leniently where every server does (after the colon
 * of FROM:, doubled, at the end), and octets that no command holds are refused first. Called by
 * session.c for each line; paths are in smtp_path.c.
 */
#include "proxy/smtp/smtp_parse.h"

#include "proxy/smtp/smtp_dsn.h"
#include "proxy/smtp/smtp_text.h"

#include "conf/text.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* A piece of the line; not NUL-terminated. */
struct span {
	const char *text;
	size_t len;
};

static const struct smtp_error fine = {0};

static struct smtp_error syntax(const char *text)
{
	return (struct smtp_error){.code = 501, .status = "5.5.4", .text = text};
}

/* text NULL: nothing is wrong. */
static struct smtp_error flaw(const char *text) { return text ? syntax(text) : fine; }

static struct smtp_error bad_address(const char *text)
{
	return (struct smtp_error){.code = 501, .status = "5.1.3", .text = text};
}

static struct smtp_error unsupported(const char *text)
{
	return (struct smtp_error){.code = 555, .status = "5.5.4", .text = text};
}

/* ---- words ---- */

static bool begins_with(struct span s, const char *word)
{
	return s.len >= strlen(word) && !strncasecmp(s.text, word, strlen(word));
}

static void skip_blanks(struct span *rest)
{
	while (rest->len && *rest->text == ' ') {
		rest->text++;
		rest->len--;
	}
}

static void drop_trailing_blanks(struct span *s)
{
	while (s->len && s->text[s->len - 1] == ' ')
		s->len--;
}

/* Takes what stands before the next blank, and the blanks. */
static struct span next_word(struct span *rest)
{
	const char *blank = rest->len ? memchr(rest->text, ' ', rest->len) : NULL;
	struct span word = {rest->text, blank ? (size_t)(blank - rest->text) : rest->len};

	rest->text += word.len;
	rest->len -= word.len;
	skip_blanks(rest);
	return word;
}

static bool is_word(struct span s, const char *word)
{
	return s.len == strlen(word) && !strncasecmp(s.text, word, s.len);
}

/* ---- parameters ---- */

/* has_value: there was a "=". */
struct parameter {
	struct span name, value;
	bool has_value;
};

typedef struct smtp_error take_fn(struct smtp_command *command, const struct parameter *parameter);

/* RFC 1870 section 3: 1 to 20 digits. What exceeds our integers exceeds any limit as well. */
static struct smtp_error take_size(struct smtp_command *command, const struct parameter *parameter)
{
	struct span value = parameter->value;

	if (command->has_size)
		return syntax("SIZE is given twice");
	if (value.len == 0 || value.len > 20)
		return syntax("SIZE wants 1 to 20 digits");
	for (size_t i = 0; i < value.len; i++) {
		if (value.text[i] < '0' || value.text[i] > '9')
			return syntax("SIZE wants 1 to 20 digits");
		if (__builtin_mul_overflow(command->size, 10, &command->size) ||
		    __builtin_add_overflow(
			command->size, (uint64_t)(value.text[i] - '0'), &command->size))
			command->size = UINT64_MAX;
	}
	command->has_size = true;
	return fine;
}

static struct smtp_error take_body(struct smtp_command *command, const struct parameter *parameter)
{
	if (command->body != SMTP_BODY_UNDECLARED)
		return syntax("BODY is given twice");
	if (is_word(parameter->value, "7BIT"))
		command->body = SMTP_BODY_7BIT;
	else if (is_word(parameter->value, "8BITMIME"))
		command->body = SMTP_BODY_8BITMIME;
	else
		return syntax("BODY may be 7BIT or 8BITMIME");
	return fine;
}

static struct smtp_error take_smtputf8(
    struct smtp_command *command, const struct parameter *parameter)
{
	if (command->smtputf8)
		return syntax("SMTPUTF8 is given twice");
	if (parameter->has_value)
		return syntax("SMTPUTF8 takes no value");
	command->smtputf8 = true;
	return fine;
}

static struct smtp_error take_ret(struct smtp_command *command, const struct parameter *parameter)
{
	if (command->dsn_mail.ret != SMTP_RET_UNSET)
		return syntax("RET is given twice");
	return flaw(
	    smtp_dsn_read_ret(parameter->value.text, parameter->value.len, &command->dsn_mail.ret));
}

static struct smtp_error take_envid(struct smtp_command *command, const struct parameter *parameter)
{
	if (command->dsn_mail.envid[0])
		return syntax("ENVID is given twice");
	return flaw(smtp_dsn_read_envid(
	    parameter->value.text, parameter->value.len, command->dsn_mail.envid));
}

static struct smtp_error take_notify(
    struct smtp_command *command, const struct parameter *parameter)
{
	if (command->dsn_rcpt.notify)
		return syntax("NOTIFY is given twice");
	return flaw(smtp_dsn_read_notify(
	    parameter->value.text, parameter->value.len, &command->dsn_rcpt.notify));
}

static struct smtp_error take_orcpt(struct smtp_command *command, const struct parameter *parameter)
{
	if (command->dsn_rcpt.orcpt)
		return syntax("ORCPT is given twice");
	return flaw(smtp_dsn_read_orcpt(
	    parameter->value.text, parameter->value.len, &command->dsn_rcpt.orcpt));
}

/* take NULL: an extension that is not offered, so the parameter does not exist; text says so by
 * its name. */
struct parameter_row {
	const char *name;
	take_fn *take;
	bool is_dsn; /* exists only where DSN was offered */
	const char *text;
};

static const struct parameter_row mail_parameters[] = {
    {"SIZE", take_size, false, NULL},
    {"BODY", take_body, false, NULL},
    {"SMTPUTF8", take_smtputf8, false, NULL},
    {"RET", take_ret, true, NULL},
    {"ENVID", take_envid, true, NULL},
    {"AUTH", NULL, false, "authentication (AUTH) is not offered here"},
    {"REQUIRETLS", NULL, false, "REQUIRETLS is not offered here"},
    {NULL, NULL, false, "MAIL parameter not known here"},
};

static const struct parameter_row rcpt_parameters[] = {
    {"NOTIFY", take_notify, true, NULL},
    {"ORCPT", take_orcpt, true, NULL},
    {NULL, NULL, false, "RCPT parameter not known here"},
};

static struct parameter split_parameter(struct span word)
{
	const char *equals = word.len ? memchr(word.text, '=', word.len) : NULL;
	size_t name_len = equals ? (size_t)(equals - word.text) : word.len;
	struct parameter parameter = {
	    .name = {word.text, name_len}, .value = {"", 0}, .has_value = equals != NULL};

	if (equals)
		parameter.value = (struct span){equals + 1, word.len - name_len - 1};
	return parameter;
}

static struct smtp_error take_parameter(
    struct smtp_command *command, const struct parameter_row *row, struct span word, bool dsn)
{
	struct parameter parameter = split_parameter(word);

	while (row->name && !is_word(parameter.name, row->name))
		row++;
	if (!row->take)
		return unsupported(row->text);
	if (row->is_dsn && !dsn)
		return unsupported("delivery status notifications (DSN) are not offered here");
	/* cppcheck-suppress returnDanglingLifetime ; what is returned are constants */
	return row->take(command, &parameter);
}

static struct smtp_error take_parameters(
    struct smtp_command *command, const struct parameter_row *rows, struct span rest, bool dsn)
{
	struct smtp_error error = fine;

	while (!error.code && rest.len)
		error = take_parameter(command, rows, next_word(&rest), dsn);
	return error;
}

/* ---- arguments, one function for each kind ---- */

typedef struct smtp_error argument_fn(struct smtp_command *command, struct span argument, bool dsn);

/* "FROM:" or "TO:", then the path. What follows the path is left in *argument. */
static struct smtp_error take_path(
    struct smtp_command *command, struct span *argument, const char *keyword, const char *usage)
{
	size_t used;

	if (!begins_with(*argument, keyword))
		return syntax(usage);
	argument->text += strlen(keyword);
	argument->len -= strlen(keyword);
	skip_blanks(argument);
	struct smtp_error error =
	    smtp_parse_path(argument->text, argument->len, &used, &command->path);

	argument->text += used;
	argument->len -= used;
	if (error.code)
		return error;
	if (argument->len && *argument->text != ' ')
		return syntax("a blank is expected after the >");
	skip_blanks(argument);
	return fine;
}

static struct smtp_error mail_argument(struct smtp_command *command, struct span argument, bool dsn)
{
	struct smtp_error error =
	    take_path(command, &argument, "FROM:", "MAIL FROM:<address> is expected");

	if (!error.code && !command->path.is_null && !command->path.has_domain)
		error = bad_address("bad-address: the sender has no domain");
	return error.code ? error : take_parameters(command, mail_parameters, argument, dsn);
}

/* RFC 5321 4.1.1.3: the one mailbox that every host has. */
static bool is_postmaster(const struct smtp_path *path)
{
	return !strcasecmp(path->address, "postmaster");
}

static struct smtp_error rcpt_argument(struct smtp_command *command, struct span argument, bool dsn)
{
	struct smtp_error error =
	    take_path(command, &argument, "TO:", "RCPT TO:<address> is expected");

	if (error.code)
		return error;
	if (command->path.is_null)
		return bad_address("bad-address: <> is no recipient");
	if (!command->path.has_domain && !is_postmaster(&command->path))
		return bad_address("bad-address: the recipient has no domain");
	return take_parameters(command, rcpt_parameters, argument, dsn);
}

static struct smtp_error name_argument(struct smtp_command *command, struct span argument, bool dsn)
{
	(void)command, (void)dsn;
	if (argument.len == 0)
		return syntax("the name of the client is expected");
	if (!smtp_text_is_printable(argument.text, argument.len))
		return syntax("the name of the client is not text");
	return fine;
}

static struct smtp_error no_argument(struct smtp_command *command, struct span argument, bool dsn)
{
	(void)command, (void)dsn;
	return argument.len ? syntax("this command takes no argument") : fine;
}

static struct smtp_error some_argument(struct smtp_command *command, struct span argument, bool dsn)
{
	(void)command, (void)dsn;
	return argument.len ? fine : syntax("this command needs an argument");
}

/* ---- commands ---- */

/* read NULL: the server refuses the command, or does not care what it says. */
static const struct {
	const char *word;
	enum smtp_verb verb;
	argument_fn *read;
} verbs[] = {
    {"HELO", SMTP_HELO, name_argument},
    {"EHLO", SMTP_EHLO, name_argument},
    {"LHLO", SMTP_LHLO, name_argument},
    {"MAIL", SMTP_MAIL, mail_argument},
    {"RCPT", SMTP_RCPT, rcpt_argument},
    {"DATA", SMTP_DATA, no_argument},
    {"RSET", SMTP_RSET, no_argument},
    {"NOOP", SMTP_NOOP, NULL},
    {"QUIT", SMTP_QUIT, no_argument},
    {"VRFY", SMTP_VRFY, some_argument},
    {"EXPN", SMTP_EXPN, NULL},
    {"HELP", SMTP_HELP, NULL},
    {"BDAT", SMTP_BDAT, NULL},
    {"AUTH", SMTP_AUTH, NULL},
    {"STARTTLS", SMTP_STARTTLS, NULL},
    {"ETRN", SMTP_ETRN, NULL},
    {"TURN", SMTP_TURN, NULL},
    {"XCLIENT", SMTP_XCLIENT, NULL},
    {"XFORWARD", SMTP_XFORWARD, NULL},
};

static bool has_line_end(const char *line, size_t len)
{
	return len && (memchr(line, '\r', len) || memchr(line, '\n', len));
}

static struct smtp_error read_argument(
    struct smtp_command *command, struct span word, struct span argument, bool dsn)
{
	for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++) {
		if (!is_word(word, verbs[i].word))
			continue;
		command->verb = verbs[i].verb;
		memcpy(command->argument, argument.text, argument.len);
		return verbs[i].read ? verbs[i].read(command, argument, dsn) : fine;
	}
	return (struct smtp_error){.code = 500, .status = "5.5.2", .text = "command not known"};
}

/*
 * A control anywhere refuses the line, whatever else is right about it; a CR or LF was meant for
 * another parser.
 */
static struct smtp_error refuse_controls(const char *line, size_t len)
{
	struct smtp_error error = syntax("the command holds control characters");

	error.close = has_line_end(line, len);
	return error;
}

static bool is_ascii(const char *text)
{
	while (*text && !(*text & 0x80))
		text++;
	return !*text;
}

/* RFC 6531 section 3.5: for MAIL its own parameter counts, for RCPT that of the MAIL before it. */
static struct smtp_error check_utf8(const struct smtp_command *command, bool agreed)
{
	bool allowed = command->verb == SMTP_MAIL ? command->smtputf8 : agreed;
	const char *orcpt = command->dsn_rcpt.orcpt;

	if (allowed || (!command->path.is_utf8 && (!orcpt || is_ascii(orcpt))))
		return fine;
	return (struct smtp_error){
	    .code = 553,
	    .status = "5.6.7",
	    .text = "an address that is not ASCII needs the SMTPUTF8 parameter of MAIL",
	};
}

struct smtp_error smtp_parse_command(
    const char *line, size_t len, struct smtp_agreed agreed, struct smtp_command *command)
{
	struct span rest = {line, len};

	*command = (struct smtp_command){.verb = SMTP_UNKNOWN};
	if (smtp_looks_foreign(line, len)) {
		command->verb = SMTP_OTHER_PROTOCOL;
		return (struct smtp_error){
		    421, "4.5.0", "this is SMTP; another protocol was spoken", true};
	}
	if (len > SMTP_COMMAND_MAX)
		return (struct smtp_error){500, "5.5.2", "command line too long", false};
	drop_trailing_blanks(&rest);
	struct span word = next_word(&rest);
	struct smtp_error error = read_argument(command, word, rest, agreed.dsn);

	if (text_has_control(line, len))
		return refuse_controls(line, len);
	return error.code ? error : check_utf8(command, agreed.smtputf8);
}

void smtp_command_release(struct smtp_command *command)
{
	free(command->dsn_rcpt.orcpt);
	command->dsn_rcpt.orcpt = NULL;
}
