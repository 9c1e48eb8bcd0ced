/*
 * replay.c - runs seeds through a fuzzer's entry without libFuzzer: any compiler, any sanitizer.
 *
 * PROG SEED_DIR... [-- CORPUS_DIR...]: each seed as it is, each prefix of a small one (a peer that
 * stops in the middle), and a fixed sequence of single changed octets; of a corpus, which has grown
 * by such changes, each file as it is. Not a search, but the same inputs every time. Each input
 * lies in a block of its own size, so that a sanitizer sees one octet read too far.
 */
#include <dirent.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	PREFIX_LIMIT = 4096,
	FILE_LIMIT = 1 << 20,
	MUTATIONS = 200,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned long runs;

static void run(const uint8_t *data, size_t size)
{
	uint8_t *block = malloc(size ? size : 1);

	if (!block)
		abort();
	memcpy(block, data, size);
	LLVMFuzzerTestOneInput(block, size);
	free(block);
	runs++;
}

/* Numerical Recipes' generator: the same sequence everywhere. */
static uint32_t next_random(uint32_t *state)
{
	*state = *state * 1664525u + 1013904223u;
	return *state >> 8;
}

static void run_variations(uint8_t *data, size_t size)
{
	uint32_t random = 4711;

	for (size_t len = 0; size <= PREFIX_LIMIT && len < size; len++)
		run(data, len);
	for (int i = 0; size > 0 && i < MUTATIONS; i++) {
		size_t at = next_random(&random) % size;
		uint8_t before = data[at];

		data[at] = (uint8_t)next_random(&random);
		run(data, size);
		data[at] = before;
	}
}

static void replay_file(const char *path, bool is_seed)
{
	FILE *file = fopen(path, "rb");
	uint8_t *data = malloc(FILE_LIMIT);
	size_t size;

	if (!file || !data) {
		perror(path);
		exit(1);
	}
	size = fread(data, 1, FILE_LIMIT, file);
	run(data, size);
	if (is_seed)
		run_variations(data, size);
	free(data);
	fclose(file);
}

static void replay_directory(const char *path, bool is_seeds)
{
	struct dirent **entries;
	int count = scandir(path, &entries, NULL, alphasort);
	char name[4096];

	if (count < 0) {
		perror(path);
		exit(1);
	}
	for (int i = 0; i < count; i++) {
		snprintf(name, sizeof name, "%s/%s", path, entries[i]->d_name);
		if (entries[i]->d_name[0] != '.')
			replay_file(name, is_seeds);
		free(entries[i]);
	}
	free(entries);
}

int main(int argc, char **argv)
{
	bool is_seeds = true;

	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--"))
			is_seeds = false;
		else
			replay_directory(argv[i], is_seeds);
	}
	printf("%lu inputs\n", runs);
	return runs == 0;
}
