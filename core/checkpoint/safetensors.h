/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_SAFETENSORS_H
#define GPTQFS_SAFETENSORS_H

/*
 * The safetensors container (its README, "Format"): eight bytes with the length of the header, little-endian; the
 * header, a JSON object of name -> {dtype, shape, data_offsets}; the data. Tensors may come in any order and need not
 * be aligned, but they tile the data: no gap, no overlap, nothing behind the last one.
 */

#include "base/arena.h"
#include "base/dtype.h"
#include "base/text.h"
#include "gptqfs.h"

#define SAFETENSORS_HEADER_MAX 100000000u /* the reference implementation refuses longer ones */
#define SAFETENSORS_NDIM_MAX 16
#define SAFETENSORS_COUNT_MAX 1000000 /* the largest models have some 300,000 in all their files */
#define SAFETENSORS_ALIGN 4096        /* where the data of a file we make begins: a multiple of this */

/* One tensor as a file holds it. */
struct st_tensor {
	const char *name;      /* decoded; see json_string for NUL */
	const uint64_t *shape; /* [ndim] */
	uint64_t begin;        /* offset in the file */
	uint64_t bytes;
	uint32_t shard; /* which of several files; for callers that have them */
	uint8_t ndim;
	uint8_t dtype; /* enum dtype */
};

struct safetensors {
	struct st_tensor *tensors; /* by name, bytewise; what they point to lives in the arena */
	size_t count;
};

/*
 * Parses a header of `len` bytes (without the eight before it) of a file of file_size bytes. `name` is the file, for
 * messages. Accepts no more than the format's own reader does. Returns 0, -EBADMSG (not what the format allows),
 * -ENOTSUP (a type of elements that is not known) or -ENOMEM. safetensors_free must be called in any case.
 */
struct safetensors_input {
	const char *name;
	const char *header;
	size_t len;
	uint64_t file_size;
};
int safetensors_parse(const struct safetensors_input *in, struct arena *arena, struct safetensors *out,
    struct gptqfs_error *err);
void safetensors_free(struct safetensors *st);

/*
 * Writes what precedes the data: length, header with __metadata__ {"format":"pt"}, and blanks up to the next
 * multiple of SAFETENSORS_ALIGN. `out` is empty at first; tensors are laid out in the order in which they are added,
 * *at, 0 at first, is where the next one goes, and `begin` is ignored. out->failed tells of lack of memory.
 */
void safetensors_begin(struct text *out);
void safetensors_add(struct text *out, const struct st_tensor *t, uint64_t *at);
void safetensors_end(struct text *out);

/* All of it at once. */
void safetensors_write(const struct st_tensor *tensors, size_t count, struct text *out);

#endif
