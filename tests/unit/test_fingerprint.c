/*
 * test_fingerprint.c - texts are told apart under a secret, however they come in pieces; and the
 * secret outlives its process.
 */
#include "proxy/shared/secret.h"
#include "tls/fingerprint.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

enum { LONG = 100000 };

static const unsigned char secret[FINGERPRINT_SECRET] = {1, 2, 3};

/* In pieces of at most `piece` octets. */
static void print(const unsigned char with[FINGERPRINT_SECRET], const char *text, size_t len,
    size_t piece, unsigned char out[FINGERPRINT_SIZE])
{
	struct fingerprints *fingerprints = fingerprints_new(with);
	struct fingerprint *fingerprint = fingerprint_begin(fingerprints);

	for (size_t at = 0; at < len; at += piece) {
		fingerprint_add(fingerprint, text + at, piece < len - at ? piece : len - at);
		fingerprint_add(fingerprint, text, 0);
	}
	fingerprint_end(&fingerprint, out);
	assert_null(fingerprint);
	fingerprints_free(&fingerprints);
	fingerprints_free(&fingerprints);
}

/* The tag of test case 1 of the GCM specification: nothing, under a key and a nonce of zeros. */
static void a_published_tag(void **state)
{
	static const unsigned char zeros[FINGERPRINT_SECRET];
	static const unsigned char tag[FINGERPRINT_SIZE] = {0x58, 0xe2, 0xfc, 0xce, 0xfa, 0x7e,
	    0x30, 0x61, 0x36, 0x7f, 0x1d, 0x57, 0xa4, 0xe7, 0x45, 0x5a};
	unsigned char out[FINGERPRINT_SIZE];

	(void)state;
	print(zeros, "", 0, 1, out);
	assert_memory_equal(out, tag, sizeof tag);
}

static void pieces_do_not_matter(void **state)
{
	static char text[LONG];
	unsigned char whole[FINGERPRINT_SIZE], out[FINGERPRINT_SIZE];

	(void)state;
	for (size_t i = 0; i < sizeof text; i++)
		text[i] = (char)(i * 7 + i / 251);
	print(secret, text, sizeof text, sizeof text, whole);
	for (size_t piece = 1; piece < 40; piece++) {
		print(secret, text, sizeof text, piece, out);
		assert_memory_equal(out, whole, sizeof out);
	}
}

/* Nothing of one text is left in the next one's, also where it was given up half-way, ... */
static void one_after_the_other(void **state)
{
	struct fingerprints *fingerprints = fingerprints_new(secret);
	unsigned char first[FINGERPRINT_SIZE], again[FINGERPRINT_SIZE];

	(void)state;
	print(secret, "a text", 6, 6, first);
	for (size_t i = 0; i < 4; i++) { /* the last that was given up is the next to be used */
		struct fingerprint *ended = fingerprint_begin(fingerprints);
		struct fingerprint *left = fingerprint_begin(fingerprints);

		fingerprint_add(left, "another", 7);
		fingerprint_add(ended, "a text", 6);
		fingerprint_end(&ended, again);
		fingerprint_free(&left);
		assert_memory_equal(again, first, sizeof first);
	}
	fingerprints_free(&fingerprints);
}

static void many_at_once(void **state)
{
	struct fingerprints *fingerprints = fingerprints_new(secret);
	struct fingerprint *all[40];
	unsigned char whole[FINGERPRINT_SIZE], out[FINGERPRINT_SIZE];

	(void)state;
	print(secret, "a text", 6, 6, whole);
	for (size_t round = 0; round < 2; round++) {
		for (size_t i = 0; i < 40; i++)
			all[i] = fingerprint_begin(fingerprints);
		for (size_t i = 0; i < 40; i++) {
			fingerprint_add(all[i], "a text", 6);
			fingerprint_end(&all[i], out);
			assert_memory_equal(out, whole, sizeof out);
		}
	}
	fingerprints_free(&fingerprints);
}

/* ... and those under way may outlive what began them. */
static void the_last_one_leaves(void **state)
{
	struct fingerprints *fingerprints = fingerprints_new(secret);
	struct fingerprint *ended = fingerprint_begin(fingerprints);
	struct fingerprint *left = fingerprint_begin(fingerprints);
	unsigned char whole[FINGERPRINT_SIZE], out[FINGERPRINT_SIZE];

	(void)state;
	print(secret, "a text", 6, 6, whole);
	fingerprints_free(&fingerprints);
	fingerprint_add(ended, "a text", 6);
	fingerprint_end(&ended, out);
	assert_memory_equal(out, whole, sizeof out);
	fingerprint_free(&left);
}

static void texts_are_told_apart(void **state)
{
	static const unsigned char other_secret[FINGERPRINT_SECRET] = {1, 2, 4};
	static const char *const texts[] = {"", "a", "b", "aa", "a\r\n", "a\r\n\r\n"};
	unsigned char prints[7][FINGERPRINT_SIZE];

	(void)state;
	for (size_t i = 0; i < 6; i++)
		print(secret, texts[i], strlen(texts[i]), 1, prints[i]);
	print(other_secret, "a", 1, 1, prints[6]);
	for (size_t i = 0; i < 7; i++) {
		for (size_t j = 0; j < i; j++)
			assert_memory_not_equal(prints[i], prints[j], FINGERPRINT_SIZE);
	}
}

/* ---- the secret ---- */

static char directory[] = "/tmp/danelaw-test-secret-XXXXXX";

static char *path(void)
{
	static char text[sizeof directory + 10];

	snprintf(text, sizeof text, "%s/secret", directory);
	return text;
}

static int make_directory(void **state)
{
	(void)state;
	strcpy(directory + sizeof directory - 7, "XXXXXX");
	return mkdtemp(directory) ? 0 : -1;
}

static int remove_directory(void **state)
{
	(void)state;
	unlink(path());
	return rmdir(directory);
}

static void a_secret_outlives_its_process(void **state)
{
	unsigned char first[SECRET_SIZE], second[SECRET_SIZE], made[SECRET_SIZE];
	struct stat st;

	(void)state;
	secret_make(first);
	secret_make(second);
	assert_memory_not_equal(first, second, sizeof first);
	memcpy(made, first, sizeof made);
	assert_true(secret_keep(directory, first));
	assert_memory_equal(first, made, sizeof made);
	assert_true(secret_keep(directory, second));
	assert_memory_equal(second, made, sizeof made);
	assert_int_equal(stat(path(), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(st.st_size, SECRET_SIZE);
}

/* Cut short, or somebody else's: it is made anew, and nothing else is read. */
static void a_damaged_one_is_replaced(void **state)
{
	static const char *const contents[] = {
	    "", "short", "longer than any secret of ours would be"};
	unsigned char secret_now[SECRET_SIZE], found[SECRET_SIZE];

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		FILE *file = fopen(path(), "w");

		assert_non_null(file);
		fputs(contents[i], file);
		fclose(file);
		secret_make(secret_now);
		assert_true(secret_keep(directory, secret_now));
		secret_make(found);
		assert_true(secret_keep(directory, found));
		assert_memory_equal(found, secret_now, sizeof found);
	}
	assert_int_equal(unlink(path()), 0);
	assert_int_equal(mkfifo(path(), 0600), 0);
	assert_true(secret_keep(directory, secret_now));
	assert_int_equal(unlink(path()), 0);
	assert_int_equal(symlink("/etc/passwd", path()), 0);
	assert_true(secret_keep(directory, secret_now));
	assert_true(secret_keep(directory, found));
	assert_memory_equal(found, secret_now, sizeof found);
}

static void one_that_cannot_be_kept(void **state)
{
	unsigned char made[SECRET_SIZE], same[SECRET_SIZE];

	(void)state;
	secret_make(made);
	memcpy(same, made, sizeof same);
	assert_false(secret_keep("/nonexistent/danelaw", made));
	assert_int_equal(errno, ENOENT);
	assert_memory_equal(made, same, sizeof made);
}

int main(void)
{
	/* clang-format off */
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_published_tag),
		cmocka_unit_test(pieces_do_not_matter),
		cmocka_unit_test(one_after_the_other),
		cmocka_unit_test(many_at_once),
		cmocka_unit_test(the_last_one_leaves),
		cmocka_unit_test(texts_are_told_apart),
		cmocka_unit_test_setup_teardown(a_secret_outlives_its_process, make_directory, remove_directory),
		cmocka_unit_test_setup_teardown(a_damaged_one_is_replaced, make_directory, remove_directory),
		cmocka_unit_test(one_that_cannot_be_kept),
	};
	/* clang-format on */

	return cmocka_run_group_tests_name("fingerprint", tests, NULL, NULL);
}
