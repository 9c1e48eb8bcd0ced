/*
 * spool_salvage.c - see spool_index.h: a message whose rows are damaged, made again from its file.
 *
 * A changed octet in the row of one recipient must cost the others nothing, and him no mail. Which
 * row it was cannot be told from a damaged one, so whoever is in the file and has no sound row is
 * tried again, even if some of them have had it.
 */
#include "proxy/spool/spool_index_internal.h"

#include "conf/mem.h"

#include <stdlib.h>
#include <string.h>

static bool has_address(const struct spool_message *message, const char *address)
{
	for (size_t i = 0; i < message->count; i++)
		if (strcmp(message->recipients[i].address, address) == 0)
			return true;
	return false;
}

/* The sound ones, and then the others of the file; what they point to is borrowed. */
static struct spool_message join(
    const struct spool_message *sound, const struct spool_message *from_file, bool and_others)
{
	struct spool_message whole = *from_file;

	whole.count = 0;
	whole.recipients = mem_zero(sound->count + from_file->count, sizeof *whole.recipients);
	for (size_t i = 0; i < sound->count; i++)
		whole.recipients[whole.count++] = sound->recipients[i];
	for (size_t i = 0; and_others && i < from_file->count; i++) {
		if (has_address(sound, from_file->recipients[i].address))
			continue;
		whole.recipients[whole.count] = from_file->recipients[i];
		whole.recipients[whole.count++].number = SPOOL_NUMBER_AGAIN + (unsigned)i;
	}
	return whole;
}

static enum spool_result replace(
    struct spool_index *index, const struct spool_message *message, char why[SPOOL_WHY])
{
	enum spool_result result = spool_index_remove(index, message->id, why);

	return result == SPOOL_DONE ? spool_index_put(index, message, why) : result;
}

enum spool_result spool_index_salvage(
    struct spool_index *index, const struct spool_message *from_file, char why[SPOOL_WHY])
{
	struct spool_message *sound = mem_zero(1, sizeof *sound);
	size_t damaged;

	memcpy(sound->id, from_file->id, sizeof sound->id);
	enum spool_result result = spool_index_add_sound(index, sound, &damaged, why);

	if (result == SPOOL_DONE) {
		struct spool_message whole =
		    join(sound, from_file, damaged > 0 || sound->count == 0);

		result = replace(index, &whole, why);
		free(whole.recipients);
	}
	spool_message_free(&sound);
	return result;
}
