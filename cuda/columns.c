/* SPDX-License-Identifier: MIT */
#include "columns.h"

#include <string.h>

#define PART_ALIGN 256u /* alignment of cuMemAlloc */
#define ROW_ALIGN 16u   /* as slice.h requires */

_Static_assert(SLICE_ZEROS_V1 == ZEROS_V1 && SLICE_ZEROS_V2 == ZEROS_V2 && SLICE_ZEROS_MIDDLE == ZEROS_MIDDLE,
    "slice.h repeats enum zeros");
_Static_assert(SLICE_F16 == DTYPE_F16 && SLICE_BF16 == DTYPE_BF16 && SLICE_F32 == DTYPE_F32,
    "slice.h repeats enum dtype");
_Static_assert(SLICE_STREAM == PACKING_STREAM && SLICE_PLANAR == PACKING_PLANAR, "slice.h repeats enum packing");

/* A part of a matrix: rows in the checkpoint, and their destination. */
struct part {
	const unsigned char *src;
	size_t src_stride;
	size_t width, rows;
	size_t stride; /* on the device */
	size_t offset; /* likewise */
};

enum { WEIGHTS, ZEROS, SCALES, INDICES, PARTS };

static size_t align_up(size_t n, size_t to)
{
	return (n + to - 1) / to * to;
}

static size_t word_bytes_of(const struct qtensor *q, uint64_t fields)
{
	return (fields * q->bits + q->word_bits - 1) / q->word_bits * (q->word_bits / 8);
}

/* Returns the bytes of a row of qzeros up to column n: planes hold 32 columns each. */
static size_t zero_bytes(const struct qtensor *q, uint32_t n)
{
	const size_t all = word_bytes_of(q, q->out_features);
	const size_t some = word_bytes_of(q, q->packing == PACKING_PLANAR ? ((uint64_t)n + 31) / 32 * 32 : n);

	return some < all ? some : all;
}

/* Lists the parts as stored in the checkpoint. A first column that is a multiple of 64 begins a word of qzeros. */
static void find_parts(struct part parts[PARTS], const struct columns *p)
{
	const struct qtensor *q = p->q;
	const size_t word = q->word_bits / 8, scale = q->scale_dtype == DTYPE_F32 ? 4 : 2, n = q->out_features;
	const size_t zero0 = (size_t)p->first * q->bits / 8;

	parts[WEIGHTS] = (struct part){
	    q->qweight + p->first * word, n * word, p->count * word, word_bytes_of(q, q->in_features) / word, 0, 0};
	parts[ZEROS] = (struct part){NULL, 0, 0, 0, 0, 0};
	if (q->zeros != ZEROS_MIDDLE)
		parts[ZEROS] = (struct part){q->qzeros + zero0, word_bytes_of(q, n),
		    zero_bytes(q, p->first + p->count) - zero0, q->groups, 0, 0};
	parts[SCALES] = (struct part){q->scales + p->first * scale, n * scale, p->count * scale, q->groups, 0, 0};
	parts[INDICES] =
	    (struct part){(const unsigned char *)q->g_idx, 0, (size_t)q->in_features * 4, !!q->g_idx, 0, 0};
}

/* Lays the parts out on the device. Returns their total bytes. */
static size_t place_parts(struct part parts[PARTS])
{
	size_t end = 0;

	for (int i = 0; i < PARTS; i++) {
		parts[i].stride = align_up(parts[i].width, ROW_ALIGN);
		parts[i].offset = align_up(end, PART_ALIGN);
		end = parts[i].offset + parts[i].rows * parts[i].stride;
	}
	return end;
}

bool columns_plan(struct columns *p, const struct qtensor *q, uint32_t first, uint32_t count)
{
	struct part parts[PARTS];
	size_t table;

	*p = (struct columns){.q = q, .first = first, .count = count};
	find_parts(parts, p);
	p->copied = place_parts(parts);
	for (int i = 0; i < PARTS; i++)
		if (parts[i].stride > SLOT_STAGING)
			return false;
	table = align_up(p->copied, PART_ALIGN);
	p->bytes = align_up(table + (size_t)q->groups * count * sizeof(struct slice_group), PART_ALIGN);
	p->slice = (struct slice){
	    .qweight = (const unsigned char *)parts[WEIGHTS].offset,
	    .qzeros = (const unsigned char *)parts[ZEROS].offset,
	    .scales = (const unsigned char *)parts[SCALES].offset,
	    .g_idx = (const uint32_t *)parts[INDICES].offset,
	    .table = (struct slice_group *)table,
	    .weight_stride = (uint32_t)parts[WEIGHTS].stride,
	    .zero_stride = (uint32_t)parts[ZEROS].stride,
	    .scale_stride = (uint32_t)parts[SCALES].stride,
	    .in_features = q->in_features,
	    .columns = count,
	    .groups = q->groups,
	    .group_size = q->group_size,
	    .weight_rows = (uint32_t)parts[WEIGHTS].rows,
	    .bits = q->bits,
	    .packing = qtensor_is_planar(q) ? SLICE_PLANAR : SLICE_STREAM,
	    .word_bits = q->word_bits,
	    .zeros = q->zeros,
	    .scale_dtype = q->scale_dtype,
	};
	return true;
}

static void *placed(const void *offset, driver_address base)
{
	return (void *)((uintptr_t)offset + base);
}

void columns_place(struct columns *p, driver_address base)
{
	struct slice *s = &p->slice;

	s->qweight = placed(s->qweight, base);
	s->qzeros = placed(s->qzeros, base);
	s->scales = placed(s->scales, base);
	s->g_idx = p->q->g_idx ? placed(s->g_idx, base) : NULL;
	s->table = placed(s->table, base);
}

/* Fills staging memory, which mirrors a stretch of device memory, and sends it when full. */
struct stager {
	const struct accel_job *job;
	struct slot *slot;
	struct accel_text *why;
	driver_address base;
	size_t sent; /* offset of the stretch in device memory */
	size_t used; /* bytes of the stretch */
};

static int send(struct stager *s)
{
	int rc = slot_send(s->slot, s->base + s->sent, s->used, s->why);

	s->sent += s->used;
	s->used = 0;
	return rc;
}

/* Sends, and waits until staging memory may be reused. */
static int flush(struct stager *s)
{
	int rc = send(s);

	return rc ? rc : slot_wait(s->slot, s->why);
}

/* The gap before a part is undefined; it is sent too, or skipped. */
static int begin_part(struct stager *s, const struct part *part)
{
	int rc = 0;

	if (s->used && part->offset - s->sent > SLOT_STAGING - part->stride)
		rc = flush(s);
	if (s->used == 0)
		s->sent = part->offset;
	s->used = part->offset - s->sent;
	return rc;
}

static int stage_part(struct stager *s, const struct part *part)
{
	size_t row = 0;
	int rc = part->rows ? begin_part(s, part) : 0;

	while (rc == 0 && row < part->rows) {
		const size_t room = (SLOT_STAGING - s->used) / part->stride, left = part->rows - row;
		const size_t rows = left < room ? left : room;
		const struct accel_copy copy = {s->slot->staging + s->used, part->src + row * part->src_stride,
		    part->width, rows, part->src_stride, part->stride};

		if (rows == 0) {
			rc = flush(s);
			continue;
		}
		rc = s->job->copy(s->job->copy_ctx, &copy);
		s->used += rows * part->stride;
		row += rows;
	}
	return rc;
}

int columns_upload(const struct columns *p, const struct accel_job *job, struct slot *slot, struct accel_text *why)
{
	struct stager s = {job, slot, why, (driver_address)(uintptr_t)p->slice.qweight, 0, 0};
	struct part parts[PARTS];
	int rc = 0;

	find_parts(parts, p);
	place_parts(parts);
	for (int i = 0; rc == 0 && i < PARTS; i++)
		rc = stage_part(&s, &parts[i]);
	if (rc == 0)
		rc = send(&s);
	return rc ? rc : device_expand(slot->device, &p->slice, slot->stream, why);
}
