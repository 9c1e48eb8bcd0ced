/*
 * scan_whole.h - smtp_body_scan() with all that it passes on in one place.
 */
#ifndef TESTS_SCAN_WHOLE_H
#define TESTS_SCAN_WHOLE_H

#include "proxy/smtp/smtp_body.h"

#include <assert.h>
#include <string.h>

/* Octets written to out; what is in place must stand in the input. */
static inline size_t scan_whole(
    struct smtp_body *body, const char *in, size_t len, size_t *taken, char *out, size_t out_size)
{
	char spare[40];
	size_t spare_size = out_size < sizeof spare ? out_size : sizeof spare;
	struct smtp_body_passed passed = smtp_body_scan(body, in, len, out_size, spare, spare_size);

	assert(passed.taken <= len && passed.in_place_len + passed.spare_len <= out_size);
	assert(passed.in_place >= in && passed.in_place + passed.in_place_len <= in + passed.taken);
	memcpy(out, passed.in_place, passed.in_place_len);
	memcpy(out + passed.in_place_len, spare, passed.spare_len);
	*taken = passed.taken;
	return passed.in_place_len + passed.spare_len;
}

#endif
