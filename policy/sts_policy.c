/*
 * sts_policy.c - the MTA-STS record and policy as texts (sts_policy.h).
 *
 * Both grammars (RFC 8461 sections 3.1, 3.2) are taken by the letter: a text that is nearly right
 * is invalid, and then the policy that was valid before stays (R-STS-16). Two rules of our own,
 * where the letter would help nobody: "v=STSv1 ;" is not a version (errata 6285 leaves it open),
 * and empty lines of a policy are skipped, as many published ones end in one. Called by mtasts.c.
 */
#include "policy/sts_policy.h"

#include "conf/mem.h"
#include "conf/text.h"

#include <stdlib.h>
#include <string.h>

enum { EXTENSION_NAME_MAX = 32 };

/* A piece of somebody else's text; never ends in NUL. */
struct span {
	const char *text;
	size_t len;
};

/* ASCII alone, whatever the locale. */
static bool is_digit(char c) { return c >= '0' && c <= '9'; }

static bool is_alphanumeric(char c)
{
	return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_blank(char c) { return c == ' ' || c == '\t'; }

static bool is_any(const struct span *span, bool (*test)(char c))
{
	for (size_t i = 0; i < span->len; i++)
		if (test(span->text[i]))
			return true;
	return false;
}

static bool is_all(const struct span *span, bool (*test)(char c))
{
	for (size_t i = 0; i < span->len; i++)
		if (!test(span->text[i]))
			return false;
	return span->len > 0;
}

static bool equals(const struct span *span, const char *text)
{
	return span->len == strlen(text) && memcmp(span->text, text, span->len) == 0;
}

static void skip(struct span *span, size_t count)
{
	span->text += count;
	span->len -= count;
}

static void trim(struct span *span)
{
	while (span->len > 0 && is_blank(span->text[0]))
		skip(span, 1);
	while (span->len > 0 && is_blank(span->text[span->len - 1]))
		span->len--;
}

/* Up to the delimiter, which is skipped; the rest where there is none. */
static struct span take_until(struct span *rest, char delimiter)
{
	const char *end = rest->len > 0 ? memchr(rest->text, delimiter, rest->len) : NULL;
	struct span taken = {rest->text, end ? (size_t)(end - rest->text) : rest->len};

	skip(rest, taken.len + (end != NULL));
	return taken;
}

static bool is_name_char(char c) { return is_alphanumeric(c) || c == '_' || c == '-' || c == '.'; }

/* sts-ext-name and sts-policy-ext-name are the same; the known names are of that form too. */
static bool is_name(const struct span *name)
{
	return name->len <= EXTENSION_NAME_MAX && is_all(name, is_name_char) &&
	       is_alphanumeric(name->text[0]);
}

/* ---- the record ---- */

static const char version[] = "v=STSv1;";

static bool is_sts_record(const struct dns_text *text)
{
	return text->len >= strlen(version) && memcmp(text->data, version, strlen(version)) == 0;
}

static bool is_extension_char(char c) { return c > ' ' && c < 0x7f && c != '=' && c != ';'; }

/* Equality is all that an id is for; copied, as the answer goes (R-STS-04). */
static const char *read_id(const struct span *value, char id[STS_ID_SIZE])
{
	if (value->len >= STS_ID_SIZE || !is_all(value, is_alphanumeric))
		return "the id is not 1 to 32 letters and digits";
	memcpy(id, value->text, value->len);
	id[value->len] = '\0';
	return NULL;
}

static const char *read_record_field(struct span field, char id[STS_ID_SIZE])
{
	struct span name;

	trim(&field);
	name = take_until(&field, '=');
	if (equals(&name, "id") && !id[0])
		return read_id(&field, id);
	if (!is_name(&name) || !is_all(&field, is_extension_char))
		return "a field is not of the form name=value";
	return NULL;
}

/* A delimiter may end the record, with nothing but white space behind it. */
static bool is_over(const struct span *rest) { return rest->len == 0 || is_all(rest, is_blank); }

static const char *read_record(const struct dns_text *text, char id[STS_ID_SIZE])
{
	struct span rest = {text->data, text->len};
	const char *wrong = NULL;

	skip(&rest, strlen(version));
	while (!wrong && !is_over(&rest))
		wrong = read_record_field(take_until(&rest, ';'), id);
	if (!wrong && !id[0])
		wrong = "the id is missing";
	return wrong;
}

enum sts_record sts_record_parse(
    const struct dns_answer *txt, char id[STS_ID_SIZE], const char **why)
{
	const struct dns_text *found = NULL;
	size_t count = 0;

	id[0] = '\0';
	for (size_t i = 0; i < txt->count; i++) {
		if (!is_sts_record(&txt->text[i]))
			continue;
		found = &txt->text[i];
		count++;
	}
	if (count == 0 && !txt->cut)
		return STS_RECORD_ABSENT;
	/* Of a set that was cut short nobody knows how many there are. */
	if (txt->cut)
		*why = "there are too many TXT records";
	else if (count > 1)
		*why = "there are several records";
	else
		*why = read_record(found, id);
	if (!*why)
		return STS_RECORD_VALID;
	id[0] = '\0';
	return STS_RECORD_INVALID;
}

/* ---- the policy's fields ---- */

static const char *const mode_names[] = {
    [STS_MODE_NONE] = "none",
    [STS_MODE_TESTING] = "testing",
    [STS_MODE_ENFORCE] = "enforce",
};

const char *sts_mode_name(enum sts_mode mode) { return mode_names[mode]; }

static const char *read_version(struct sts_policy *policy, const struct span *value)
{
	(void)policy;
	return equals(value, "STSv1") ? NULL : "the version is not STSv1";
}

static const char *read_mode(struct sts_policy *policy, const struct span *value)
{
	for (size_t i = 0; i < sizeof mode_names / sizeof *mode_names; i++) {
		if (!equals(value, mode_names[i]))
			continue;
		policy->mode = (enum sts_mode)i;
		return NULL;
	}
	return "the mode is not enforce, testing or none";
}

/* Ten digits are more than 32 bits hold, fewer than 64 do. */
static const char *read_max_age(struct sts_policy *policy, const struct span *value)
{
	uint64_t seconds = 0;

	if (value->len > 10 || !is_all(value, is_digit))
		return "max_age is not 1 to 10 digits";
	for (size_t i = 0; i < value->len; i++)
		seconds = seconds * 10 + (uint64_t)(value->text[i] - '0');
	policy->was_clamped = seconds > STS_MAX_AGE_LIMIT;
	policy->max_age = policy->was_clamped ? STS_MAX_AGE_LIMIT : (uint32_t)seconds;
	return NULL;
}

static bool is_eight_bit(char c) { return (unsigned char)c >= 0x80; }

/*
 * ["*."] Domain: no other use of "*", no trailing dot. U-labels are refused, not converted: the
 * comparison is on A-labels (R-STS-25), and a conversion here would be one more reading of the text
 * than its author's other readers have.
 */
static const char *read_mx(struct sts_policy *policy, const struct span *value)
{
	static const char wrong[] = "an mx pattern is not a host name or *. and a domain";
	char name[DOMAIN_SIZE];
	struct span domain = *value;
	bool is_wildcard = value->len > 2 && memcmp(value->text, "*.", 2) == 0;

	if (is_wildcard)
		skip(&domain, 2);
	if (domain.len == 0 || domain.text[domain.len - 1] == '.' ||
	    is_any(&domain, is_eight_bit) || !domain_normalize(name, domain.text, domain.len))
		return wrong;
	if (policy->mx_count == STS_MX_MAX)
		return "there are too many mx lines";
	policy->mx = mem_resize(policy->mx, policy->mx_count + 1, sizeof *policy->mx);
	policy->mx[policy->mx_count++] = mem_printf("%s%s", is_wildcard ? "*." : "", name);
	return NULL;
}

enum field { VERSION, MODE, MAX_AGE, MX, FIELD_COUNT };

static const struct {
	const char *name;
	const char *(*read)(struct sts_policy *policy, const struct span *value);
	bool repeats;
	const char *missing;
} fields[FIELD_COUNT] = {
    [VERSION] = {"version", read_version, false, "the version is missing"},
    [MODE] = {"mode", read_mode, false, "the mode is missing"},
    [MAX_AGE] = {"max_age", read_max_age, false, "max_age is missing"},
    [MX] = {"mx", read_mx, true, "mx is missing"},
};

/* ---- the policy ---- */

struct parse {
	struct sts_policy *policy;
	bool seen[FIELD_COUNT];
};

/* The first counts, even where a later one is better or malformed (R-STS-05). */
static const char *read_value(struct parse *parse, enum field field, const struct span *value)
{
	if (parse->seen[field] && !fields[field].repeats)
		return NULL;
	parse->seen[field] = true;
	return fields[field].read(parse->policy, value);
}

static const char *read_line(struct parse *parse, struct span line)
{
	bool has_colon = memchr(line.text, ':', line.len) != NULL;
	struct span name = take_until(&line, ':');

	if (!has_colon || !is_name(&name))
		return "a line is not of the form name: value";
	trim(&line);
	for (enum field field = 0; field < FIELD_COUNT; field++)
		if (equals(&name, fields[field].name))
			return read_value(parse, field, &line);
	return NULL;
}

/* A CR that no LF follows is left in the line, and is a control there. */
static struct span take_line(struct span *rest)
{
	bool has_end = memchr(rest->text, '\n', rest->len) != NULL;
	struct span line = take_until(rest, '\n');

	if (has_end && line.len > 0 && line.text[line.len - 1] == '\r')
		line.len--;
	return line;
}

static const char *check_line(const struct span *line)
{
	if (text_has_control_but_tab(line->text, line->len))
		return "it holds a control character";
	return is_blank(line->text[0]) ? "a line begins with white space" : NULL;
}

static const char *find_missing(const struct parse *parse)
{
	for (enum field field = 0; field < FIELD_COUNT; field++) {
		if (field == MX && parse->policy->mode == STS_MODE_NONE)
			continue;
		if (!parse->seen[field])
			return fields[field].missing;
	}
	return NULL;
}

static const char *read_policy(struct parse *parse, struct span rest)
{
	const char *wrong = NULL;

	if (rest.len > STS_BODY_MAX)
		return "it is too large";
	if (rest.len >= 3 && memcmp(rest.text, "\xef\xbb\xbf", 3) == 0)
		return "it begins with a byte order mark";
	while (!wrong && rest.len > 0) {
		struct span line = take_line(&rest);

		if (line.len == 0)
			continue;
		wrong = check_line(&line);
		if (!wrong)
			wrong = read_line(parse, line);
	}
	return wrong ? wrong : find_missing(parse);
}

bool sts_policy_parse(const char *body, size_t len, struct sts_policy *policy, const char **why)
{
	struct parse parse = {.policy = policy};

	*policy = (struct sts_policy){.mode = STS_MODE_NONE};
	*why = read_policy(&parse, (struct span){body, len});
	if (*why)
		sts_policy_release(policy);
	return !*why;
}

void sts_policy_copy(struct sts_policy *to, const struct sts_policy *from)
{
	*to = *from;
	to->mx = NULL;
	if (from->mx_count == 0)
		return;
	to->mx = mem_zero(from->mx_count, sizeof *to->mx);
	for (size_t i = 0; i < from->mx_count; i++)
		to->mx[i] = mem_strdup(from->mx[i]);
}

void sts_policy_release(struct sts_policy *policy)
{
	for (size_t i = 0; i < policy->mx_count; i++)
		free(policy->mx[i]);
	free(policy->mx);
	*policy = (struct sts_policy){.mode = STS_MODE_NONE};
}

static bool covers(const char *pattern, const char *host)
{
	const char *dot;

	if (pattern[0] != '*')
		return strcmp(pattern, host) == 0;
	dot = strchr(host, '.');
	return dot && dot > host && strcmp(pattern + 1, dot) == 0;
}

bool sts_policy_matches(const struct sts_policy *policy, const char *mx_host)
{
	for (size_t i = 0; i < policy->mx_count; i++)
		if (covers(policy->mx[i], mx_host))
			return true;
	return false;
}
