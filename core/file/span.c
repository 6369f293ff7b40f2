/* SPDX-License-Identifier: MIT */
#include "file/span.h"

/* Gaps of up to this many bytes are included: every piece costs a system call, and unmapping interrupts all CPUs. */
#define GAP_MAX 65536

static uint64_t span_end_of(const struct span *s)
{
	return s->offset + s->bytes;
}

static bool adjoin(const struct span *a, const struct span *b)
{
	return a->file == b->file && a->offset <= span_end_of(b) + GAP_MAX && b->offset <= span_end_of(a) + GAP_MAX;
}

static struct span join(const struct span *a, const struct span *b)
{
	const uint64_t from = a->offset < b->offset ? a->offset : b->offset;
	const uint64_t to = span_end_of(a) > span_end_of(b) ? span_end_of(a) : span_end_of(b);

	return (struct span){a->file, from, to - from};
}

void spans_add(struct spans *s, const struct source_file *f, const unsigned char *at, uint64_t bytes)
{
	struct span added = {f, (uint64_t)(at - f->map), bytes};
	int i = 0;

	if (!bytes)
		return;
	/* The new piece may close the gap between two others. */
	while (i < s->count)
		if (adjoin(&s->span[i], &added)) {
			added = join(&s->span[i], &added);
			s->span[i] = s->span[--s->count];
			i = 0;
		} else {
			i++;
		}
	if (s->count < SPANS_MAX)
		s->span[s->count++] = added;
}

uint64_t spans_bytes(const struct spans *s)
{
	uint64_t sum = 0;

	for (int i = 0; i < s->count; i++)
		sum += s->span[i].bytes;
	return sum;
}

struct spans spans_cut(const struct spans *s, uint64_t from, uint64_t bytes)
{
	struct spans cut = {0};

	for (int i = 0; i < s->count && bytes; i++) {
		const struct span *whole = &s->span[i];
		uint64_t left;

		if (from >= whole->bytes) {
			from -= whole->bytes;
			continue;
		}
		left = whole->bytes - from < bytes ? whole->bytes - from : bytes;
		cut.span[cut.count++] = (struct span){whole->file, whole->offset + from, left};
		bytes -= left;
		from = 0;
	}
	return cut;
}
