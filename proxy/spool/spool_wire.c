/*
 * spool_wire.c - see spool_wire.h.
 */
#include "proxy/spool/spool_wire.h"

#include "proxy/spool/spool_text.h"

#include <string.h>

static bool is_sound(const struct spool_frame *frame)
{
	return frame->word < SPOOL_WORDS && frame->size <= SPOOL_FRAME_MAX &&
	       memchr(frame->id, '\0', sizeof frame->id) &&
	       memchr(frame->why, '\0', sizeof frame->why) &&
	       (!frame->id[0] || spool_is_id(frame->id));
}

enum spool_wire spool_wire_next(
    const char *data, size_t len, struct spool_frame *frame, const char **payload, size_t *used)
{
	if (len < sizeof *frame)
		return SPOOL_WIRE_MORE;
	memcpy(frame, data, sizeof *frame);
	if (!is_sound(frame))
		return SPOOL_WIRE_BAD;
	if (len - sizeof *frame < frame->size)
		return SPOOL_WIRE_MORE;
	*payload = data + sizeof *frame;
	*used = sizeof *frame + frame->size;
	return SPOOL_WIRE_DONE;
}

bool spool_wire_has_id(const char *ids, size_t len, const char *id)
{
	size_t width = strlen(id) + 1;

	for (size_t at = 0; at + width <= len; at += width)
		if (memcmp(ids + at, id, width - 1) == 0)
			return true;
	return false;
}
