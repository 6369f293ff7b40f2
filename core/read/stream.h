/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_STREAM_H
#define GPTQFS_STREAM_H

/* Tells a reader that goes forward through a file from everything else, by the requests that arrive. */

#include <stdbool.h>
#include <stdint.h>

/* Requests that several threads took at the same time may be noted in any order, this far apart. */
#define STREAM_SHUFFLE ((uint64_t)8 << 20)

struct stream {
	const void *file;  /* whatever tells one file from another */
	uint64_t next;     /* the end of what was asked for */
	unsigned followed; /* requests that began where the one before ended */
};

/* True if a request at `offset` is at most `apart` from where this reader is; with 0, if it goes on exactly there. */
static inline bool stream_is_near(const struct stream *s, const void *file, uint64_t offset, uint64_t apart)
{
	return s->file == file && s->next <= offset + apart && offset <= s->next + apart;
}

/* Notes a request. One that is not near begins a new stream. */
static inline void stream_note(struct stream *s, const void *file, uint64_t offset, uint64_t size)
{
	const uint64_t end = offset + size;

	if (!stream_is_near(s, file, offset, STREAM_SHUFFLE))
		*s = (struct stream){file, end, 0};
	else if (s->next == offset)
		s->followed++;
	else if (s->next < offset)
		s->followed /= 2; /* those between may arrive late; or the file is not read in order */
	if (s->next < end || offset == 0)
		s->next = end;
}

#endif
