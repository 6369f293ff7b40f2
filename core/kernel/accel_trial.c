/* SPDX-License-Identifier: MIT */

#include "kernel/accel_trial.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "kernel/kernels.h"

enum {
	/* Size of a tile: as far as planes of 32 allow, not a multiple of any unit a kernel might use. */
	TILE_K = 288,
	TILE_N = 96,
	TILE_ROW0 = 53,
	TILE_ROWS = 19,
	TILE_GROUP = 24,
	TILE_GROUPS = TILE_K / TILE_GROUP,
	TILE_BYTES = TILE_ROWS * TILE_K * 4,
	/* The matrix that is timed has the shape of Llama-2-7B's gate_proj. */
	SPEED_K = 4096,
	SPEED_N = 11008,
	SPEED_GROUP = 128,
	SPEED_MS = 20, /* of one measurement */
	SPEED_ROUNDS = 3,
};

#define SPEED_WEIGHTS ((size_t)SPEED_K / 8 * SPEED_N * 4)
#define SPEED_ZEROS ((size_t)SPEED_K / SPEED_GROUP * SPEED_N / 2)
#define SPEED_SCALES ((size_t)SPEED_K / SPEED_GROUP * SPEED_N * 2)

static int copy_plainly(void *ctx, const struct accel_copy *what)
{
	(void)ctx;
	accel_copy_run(what);
	return 0;
}

static void fill_random(unsigned char *p, size_t n)
{
	uint64_t x = 0x9e3779b97f4a7c15ull;

	for (size_t i = 0; i < n; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		p[i] = (unsigned char)(x >> 32);
	}
}

/* ---- right or wrong ---- */

/* Any bytes are valid codes, zeros and scales; NaN, infinities and subnormals occur. */
struct tile {
	struct qtensor q;
	uint32_t g_idx[TILE_K];
	unsigned char qweight[TILE_K * TILE_N];
	unsigned char qzeros[TILE_GROUPS * TILE_N];
	unsigned char scales[TILE_GROUPS * TILE_N * 4];
	unsigned char out[TILE_BYTES], expected[TILE_BYTES];
};

struct layout_case {
	uint8_t bits, word_bits;
	enum packing packing;
};

static const struct layout_case layout_cases[] = {
    {2, 32, PACKING_STREAM},
    {3, 32, PACKING_STREAM},
    {4, 32, PACKING_STREAM},
    {8, 32, PACKING_STREAM},
    {3, 32, PACKING_PLANAR},
    {5, 32, PACKING_PLANAR},
    {6, 32, PACKING_PLANAR},
    {7, 32, PACKING_PLANAR},
    {4, 8, PACKING_STREAM},
    {4, 16, PACKING_STREAM},
    {4, 64, PACKING_STREAM},
};

static void tile_init(struct tile *t, const struct layout_case *c, unsigned i)
{
	static const enum zeros zeros[] = {ZEROS_V1, ZEROS_V2, ZEROS_MIDDLE};

	t->q = (struct qtensor){
	    .in_features = TILE_K,
	    .out_features = TILE_N,
	    .groups = TILE_GROUPS,
	    .group_size = TILE_GROUP,
	    .bits = c->bits,
	    .word_bits = c->word_bits,
	    .packing = c->packing,
	    .zeros = zeros[i % 3],
	    .scale_dtype = (enum dtype)(i % 2 ? DTYPE_BF16 : DTYPE_F16),
	    .qweight = t->qweight,
	    .qzeros = i % 3 == 2 ? NULL : t->qzeros,
	    .scales = t->scales,
	    .g_idx = i / 2 % 2 ? t->g_idx : NULL,
	};
}

static int tile_compare(struct tile *t, enum dtype out, struct accel_text *why)
{
	const size_t bytes = (size_t)TILE_ROWS * TILE_K * dtype_bytes(out);
	size_t at = 0;

	gptq_reference[out](t->expected, &t->q, TILE_ROW0, TILE_ROWS);
	while (at < bytes && t->out[at] == t->expected[at])
		at++;
	if (at == bytes)
		return 0;
	snprintf(why->text, sizeof(why->text),
	    "wrong bytes: %s of a %u-bit matrix%s, byte %zu of %zu is %02x, expected %02x", dtype_name(out), t->q.bits,
	    t->q.g_idx ? " with g_idx" : "", at, bytes, t->out[at], t->expected[at]);
	return -EBADMSG;
}

/* Checks all output types of one layout, with and without g_idx, kept on the device or not. */
static int check_layout(const struct accel_trial *trial, struct tile *t, const struct layout_case *c,
    struct accel_text *why)
{
	int rc = 0;

	for (unsigned i = 0; rc == 0 && i < 4 * DTYPE_VIEWS; i++) {
		const enum dtype out = (enum dtype)(i % DTYPE_VIEWS);
		const struct accel_job job = {ACCEL_GPTQ, &t->q, out, TILE_ROW0, TILE_ROWS, TILE_K * dtype_bytes(out),
		    t->out, i % 2, copy_plainly, NULL};

		tile_init(t, c, i + c->bits);
		memset(t->out, 0xa5, sizeof(t->out));
		rc = trial->plugin->dequant(trial->state, &job, why);
		if (rc == 0)
			rc = tile_compare(t, out, why);
		trial->plugin->forget(trial->state, &t->q);
	}
	return rc;
}

int accel_trial_tiles(const struct accel_trial *trial, struct accel_text *why)
{
	struct tile *t = malloc(sizeof(*t));
	unsigned known = 0;
	int rc = 0;

	if (!t) {
		snprintf(why->text, sizeof(why->text), "out of memory");
		return -ENOMEM;
	}
	fill_random((unsigned char *)t, sizeof(*t));
	for (uint32_t k = 0; k < TILE_K; k++)
		t->g_idx[k] %= TILE_GROUPS;
	for (size_t i = 0; rc == 0 && i < sizeof(layout_cases) / sizeof(*layout_cases); i++) {
		rc = check_layout(trial, t, &layout_cases[i], why);
		known += rc == 0;
		rc = rc == -ENOTSUP ? 0 : rc;
	}
	free(t);
	if (rc == 0 && !known) {
		snprintf(why->text, sizeof(why->text), "it supports no layout of gptqfs");
		rc = -ENOTSUP;
	}
	return rc;
}

/* ---- fast or slow ---- */

struct race {
	const struct accel_trial *trial;
	const struct qtensor *q;
	void *dst;
	struct accel_text *why;
};

static double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static int race_accel(const struct race *r, uint32_t row0, uint32_t nrows)
{
	const struct accel_job job = {
	    ACCEL_GPTQ, r->q, DTYPE_F16, row0, nrows, SPEED_K * 2, r->dst, true, copy_plainly, NULL};

	return r->trial->plugin->dequant(r->trial->state, &job, r->why);
}

static int race_cpu(const struct race *r, uint32_t row0, uint32_t nrows)
{
	gptq_rows(&r->trial->kernels->gptq, r->q, DTYPE_F16)(r->dst, r->q, row0, nrows);
	return 0;
}

/* Runs through the first rows, `bytes` at a time, and updates *best if that was faster. */
static int lap(const struct race *r, int (*run)(const struct race *, uint32_t, uint32_t), size_t bytes, double *best)
{
	const uint32_t step = (uint32_t)(bytes / SPEED_K / 2);
	const double start = seconds();
	double now = start, speed;
	size_t done = 0;
	int rc = 0;

	for (uint32_t row = 0; rc == 0 && row + step <= SPEED_N && now - start < SPEED_MS * 1e-3; row += step) {
		rc = run(r, row, step);
		done += bytes;
		now = seconds();
	}
	speed = (double)done / (now - start) / 1e9;
	if (rc == 0 && speed > *best)
		*best = speed;
	return rc;
}

/* Alternates, because other load on the machine changes from second to second. */
static int race(const struct race *r, struct gptqfs_accel_speed *speed)
{
	int rc = 0;

	speed->accel = speed->cpu = 0;
	for (int i = 0; rc == 0 && i < SPEED_ROUNDS; i++) {
		rc = lap(r, race_accel, speed->bytes, &speed->accel);
		if (rc == 0)
			rc = lap(r, race_cpu, speed->bytes, &speed->cpu);
	}
	return rc;
}

/*
 * A large matrix takes other code paths than a tile. Compares its last rows with those of the CPU's kernel, which the
 * tests compare with the reference. Leaves the matrix on the device.
 */
static int race_compare(const struct race *r, size_t bytes)
{
	const uint32_t rows = (uint32_t)(bytes / SPEED_K / 2);
	void *expected = malloc(bytes);
	int rc = race_accel(r, SPEED_N - rows, rows);

	if (rc == 0 && expected) {
		gptq_rows(&r->trial->kernels->gptq, r->q, DTYPE_F16)(expected, r->q, SPEED_N - rows, rows);
		if (memcmp(r->dst, expected, bytes) != 0) {
			snprintf(r->why->text, sizeof(r->why->text), "wrong bytes: the last rows of a %zu MiB matrix",
			    SPEED_WEIGHTS >> 20);
			rc = -EBADMSG;
		}
	}
	free(expected);
	return rc;
}

int accel_trial_speeds(const struct accel_trial *trial, struct gptqfs_accel_speed *speeds, size_t count,
    struct accel_text *why)
{
	unsigned char *packed = malloc(SPEED_WEIGHTS + SPEED_ZEROS + SPEED_SCALES), *dst = NULL;
	const struct qtensor q = {SPEED_K, SPEED_N, SPEED_K / SPEED_GROUP, SPEED_GROUP, 4, 32, PACKING_STREAM, ZEROS_V1,
	    DTYPE_F16, packed, packed + SPEED_WEIGHTS, packed + SPEED_WEIGHTS + SPEED_ZEROS, NULL};
	const size_t largest = speeds[count - 1].bytes;
	const struct race r = {trial, &q, dst = aligned_alloc(64, largest), why};
	int rc = 0;

	if (packed && dst) {
		fill_random(packed, SPEED_WEIGHTS + SPEED_ZEROS + SPEED_SCALES);
		rc = race_compare(&r, largest);
		for (size_t i = 0; rc == 0 && i < count; i++)
			rc = race(&r, &speeds[i]);
		trial->plugin->forget(trial->state, &q);
	} else {
		snprintf(why->text, sizeof(why->text), "out of memory");
		rc = -ENOMEM;
	}
	free(packed);
	free(dst);
	return rc;
}
