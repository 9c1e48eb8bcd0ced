/*
 * body_writer.c - see body_writer.h.
 *
 * Nearly all that leaves stands in the input as it must leave, and is not copied: what is put is
 * compared with the octets that follow there, and written anew only where they differ.
 */
#include "proxy/smtp/body_writer.h"

#include <assert.h>
#include <stdbool.h>
#include <string.h>

size_t body_room(const struct body_writer *writer)
{
	size_t left = writer->room - writer->in_place_len - writer->spare_len;
	size_t spare_left = writer->spare_size - writer->spare_len;

	return writer->spare_len && spare_left < left ? spare_left : left;
}

/* Whether these octets are what stands in the input behind those that leave already; where none do,
 * the last that were seen. */
static bool extend_in_place(struct body_writer *writer, const char *octets, size_t len)
{
	const char *next = writer->in_place + writer->in_place_len;

	if (writer->spare_len)
		return false;
	if (!writer->in_place_len) {
		if ((size_t)(writer->seen - writer->in) < len)
			return false;
		next = writer->seen - len;
	}
	if ((size_t)(writer->seen - next) < len ||
	    (octets != next && memcmp(octets, next, len) != 0))
		return false;
	writer->in_place = next - writer->in_place_len;
	writer->in_place_len += len;
	return true;
}

void body_put(struct body_writer *writer, const char *octets, size_t len)
{
	assert(len <= body_room(writer));
	if (!len || extend_in_place(writer, octets, len))
		return;
	assert(len <= writer->spare_size - writer->spare_len);
	memcpy(writer->spare + writer->spare_len, octets, len);
	writer->spare_len += len;
}

void body_put_text(struct body_writer *writer, char c)
{
	assert(c != '\r' && c != '\n');
	body_put(writer, &c, 1);
}

void body_put_newline(struct body_writer *writer) { body_put(writer, "\r\n", 2); }
