/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_STREAM_H
#define GPTQFS_STREAM_H

/* Detects sequential readers by their requests. */

#include <stdbool.h>
#include <stdint.h>

/* Requests taken by several threads may be noted out of order, this far apart. */
#define STREAM_SHUFFLE ((uint64_t)8 << 20)

struct stream {
	const void *file;  /* any pointer that identifies the file */
	uint64_t next;     /* end of the requests so far */
	unsigned followed; /* requests that began where the previous one ended */
};

/* True if a request at `offset` is at most `apart` bytes from where this reader is; 0: exactly there. */
static inline bool stream_is_near(const struct stream *s, const void *file, uint64_t offset, uint64_t apart)
{
	return s->file == file && s->next <= offset + apart && offset <= s->next + apart;
}

/* Records a request. One that is not near starts a new stream. */
static inline void stream_note(struct stream *s, const void *file, uint64_t offset, uint64_t size)
{
	const uint64_t end = offset + size;

	if (!stream_is_near(s, file, offset, STREAM_SHUFFLE))
		*s = (struct stream){file, end, 0};
	else if (s->next == offset)
		s->followed++;
	else if (s->next < offset)
		s->followed /= 2; /* those in between may arrive late, or the file is not read in order */
	if (s->next < end || offset == 0)
		s->next = end;
}

#endif
