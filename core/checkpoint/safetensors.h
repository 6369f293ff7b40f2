/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_SAFETENSORS_H
#define GPTQFS_SAFETENSORS_H

/*
 * The safetensors container (its README, "Format"): eight bytes with the length of the header, little-endian; the
 * header, a JSON object of name -> {dtype, shape, data_offsets}; the data. Tensors may be in any order and need not be
 * aligned, but they tile the data: no gap, no overlap, nothing after the last one.
 */

#include "base/arena.h"
#include "base/dtype.h"
#include "base/text.h"
#include "gptqfs.h"

#define SAFETENSORS_HEADER_MAX 100000000u /* the reference implementation refuses longer ones */
#define SAFETENSORS_NDIM_MAX 16
#define SAFETENSORS_COUNT_MAX 1000000 /* the largest models have some 300,000 in all their files */
#define SAFETENSORS_ALIGN 4096        /* alignment of the data in generated files */

/* A tensor in a file. */
struct st_tensor {
	const char *name;      /* decoded; see json_string for NUL */
	const uint64_t *shape; /* [ndim] */
	uint64_t begin;        /* offset in the file */
	uint64_t bytes;
	uint32_t shard; /* index of the file, for callers that have several */
	uint8_t ndim;
	uint8_t dtype; /* enum dtype */
};

/* Returns the number of elements; parsing checked that it fits. */
static inline uint64_t st_elements(const struct st_tensor *t)
{
	uint64_t count = 1;

	for (int i = 0; i < t->ndim; i++)
		count *= t->shape[i];
	return count;
}

struct safetensors {
	struct st_tensor *tensors; /* sorted by name, bytewise; pointees live in the arena */
	size_t count;
	const char *layers; /* in __metadata__, how ComfyUI stores layers, as JSON; NULL if there is none */
};

struct safetensors_input {
	const char *name;
	const char *header;
	size_t len;
	uint64_t file_size;
};

/*
 * Parses a header of `len` bytes (without the eight before it) of a file of file_size bytes. `name` is the file, for
 * messages. Accepts nothing that the reference implementation refuses. Returns 0, -EBADMSG (invalid), -ENOTSUP (unknown
 * element type) or -ENOMEM. Call safetensors_free in any case.
 */
int safetensors_parse(const struct safetensors_input *in, struct arena *arena, struct safetensors *out,
    struct gptqfs_error *err);
void safetensors_free(struct safetensors *st);

/*
 * Write everything before the data: length, header with __metadata__ {"format":"pt"}, and blanks up to the next
 * multiple of SAFETENSORS_ALIGN. `out` must be empty at first. Tensors are laid out in the order they are added: *at,
 * initially 0, is the offset of the next one, and `begin` is ignored. out->failed is set if out of memory.
 */
void safetensors_begin(struct text *out);
void safetensors_add(struct text *out, const struct st_tensor *t, uint64_t *at);
void safetensors_end(struct text *out);

/* The same in one call. */
void safetensors_write(const struct st_tensor *tensors, size_t count, struct text *out);

#endif
