/*
 * fuzz_spool.c - what the spool reads back: a message file's first line and header, the text of a
 * message, a frame of the socket, an id. What is accepted is written again, and is the same.
 */
#include "proxy/spool/spool_file.h"
#include "proxy/spool/spool_text.h"
#include "proxy/spool/spool_wire.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_same(const struct spool_message *message)
{
	size_t len, len_again;
	char *text = spool_text_of_message(message, &len);
	struct spool_message *again = spool_text_read(text, len);

	assert(again && again->count == message->count && strcmp(again->id, message->id) == 0);
	char *text_again = spool_text_of_message(again, &len_again);

	assert(len == len_again && memcmp(text, text_again, len) == 0);
	free(text);
	free(text_again);
	spool_message_free(&again);
}

static void check_text(const char *data, size_t size)
{
	struct spool_message *message = spool_text_read(data, size);

	if (!message)
		return;
	assert(spool_is_id(message->id) && message->session);
	assert(message->envelope.sender.is_null || message->envelope.sender.address[0]);
	for (size_t i = 0; i < message->count; i++)
		assert(message->recipients[i].address[0]);
	check_same(message);
	spool_message_free(&message);
}

/* A header of whatever sum the line says is never taken, unless it is right. */
static void check_file(const char *data, size_t size)
{
	struct spool_file file;
	char line[SPOOL_FILE_LINE + 1];

	if (!spool_file_read_line(data, size, &file))
		return;
	assert(size >= SPOOL_FILE_LINE && file.header_len <= SPOOL_FILE_HEADER_MAX);
	spool_file_write_line(&file, line);
	assert(memcmp(line, data, SPOOL_FILE_LINE) == 0);
	data += SPOOL_FILE_LINE;
	size -= SPOOL_FILE_LINE;
	if (size > file.header_len)
		size = file.header_len;
	struct spool_message *message = spool_file_read_header(&file, data, size);

	if (message) {
		assert(spool_sum(SPOOL_SUM_START, data, size) == file.header_sum);
		check_same(message);
	}
	spool_message_free(&message);
}

/* What is an id names a file of the spool and no other. */
static void check_id(const char *data, size_t size)
{
	char *text = strndup(data, size);

	assert(text);
	if (spool_is_id(text))
		assert(strlen(text) == SPOOL_ID_LEN && !strpbrk(text, "/. \n"));
	free(text);
}

static void check_frames(const char *data, size_t size)
{
	struct spool_frame frame;
	const char *payload;
	size_t used;

	while (spool_wire_next(data, size, &frame, &payload, &used) == SPOOL_WIRE_DONE) {
		assert(used <= size && payload + frame.size == data + used);
		assert(!frame.id[0] || spool_is_id(frame.id));
		assert(strlen(frame.why) < sizeof frame.why);
		data += used;
		size -= used;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data;

	check_text(text, size);
	check_file(text, size);
	check_frames(text, size);
	check_id(text, size);
	assert(
	    !spool_wire_has_id(text, size, "0641c3b5d2a91f-5f0c2d7e91aa") || size >= SPOOL_ID_LEN);
	return 0;
}
