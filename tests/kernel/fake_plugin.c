/* SPDX-License-Identifier: MIT */

/*
 * Accelerator plugins without a device, each good or bad in one way selected by FAKE at compile time. They decode with
 * the CPU's kernels, so the output of good ones is right.
 *
 *     GOOD          decodes
 *     SLOW          decodes, slower than any CPU
 *     WRONG         one bit of one weight in 4 KiB is wrong
 *     LATE          decodes, and fails once the file $FAKE_PLUGIN_FAILS exists
 *     PARTIAL       knows nothing but 4 bits in 32-bit words
 *     CLOSED        cannot be opened
 *     VERSION, SIZE are of another interface
 *     NO_SYMBOL     exports nothing
 *     HOLLOW        lacks a function
 *     FOREIGN       decodes another encoding
 *     STALE         was built with another struct qtensor
 */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "kernel/kernels.h"
#include "kernel/plugin.h"

enum fake { GOOD, SLOW, WRONG, LATE, PARTIAL, CLOSED, VERSION, SIZE, NO_SYMBOL, HOLLOW, FOREIGN, STALE };

struct fake_state {
	struct kernels kernels;
};

static int fake_open(const struct accel_config *config, void **out, struct accel_text *text)
{
	struct fake_state *s;

	if (FAKE == CLOSED) {
		snprintf(text->text, sizeof(text->text), "there is\nno device");
		return -ENODEV;
	}
	s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	kernels_init(&s->kernels, cpu_detect());
	snprintf(text->text, sizeof(text->text), "fake device of %llu MiB", (unsigned long long)config->memory >> 20);
	*out = s;
	return 0;
}

/* Copies a part of the matrix, as a plugin has to. */
static int take(const struct accel_job *job, const unsigned char **part, size_t bytes)
{
	unsigned char *copy = malloc(bytes ? bytes : 1);
	const struct accel_copy what = {copy, *part, bytes, 1, bytes, bytes};
	int rc = copy ? job->copy(job->copy_ctx, &what) : -ENOMEM;

	*part = copy;
	return rc;
}

static int decode(const struct fake_state *s, const struct accel_job *job)
{
	struct qtensor q = *(const struct qtensor *)job->matrix;
	const size_t word = q.word_bits / 8, k = q.in_features, n = q.out_features;
	const size_t rows = (k * q.bits + q.word_bits - 1) / q.word_bits;
	const size_t columns = (n * q.bits + q.word_bits - 1) / q.word_bits;
	int rc = take(job, &q.qweight, rows * n * word);
	int zeros_rc = q.qzeros ? take(job, &q.qzeros, q.groups * columns * word) : 0;
	int scales_rc = take(job, &q.scales, q.groups * n * dtype_bytes(q.scale_dtype));

	rc = rc ? rc : zeros_rc ? zeros_rc : scales_rc;
	if (rc == 0)
		gptq_rows(&s->kernels.gptq, &q, job->out)(job->dst, &q, job->row0, job->nrows);
	free((void *)q.qweight);
	free((void *)q.qzeros);
	free((void *)q.scales);
	return rc;
}

static int fake_dequant(void *state, const struct accel_job *job, struct accel_text *why)
{
	const struct timespec nap = {.tv_nsec = 50000000};
	const char *fails = getenv("FAKE_PLUGIN_FAILS");
	const struct qtensor *q = job->matrix;
	int rc;

	if (FAKE == PARTIAL && (q->bits != 4 || q->word_bits != 32))
		return -ENOTSUP;
	if (FAKE == LATE && fails && access(fails, F_OK) == 0) {
		memset(job->dst, 0xee, 100); /* its leftovers must not be seen */
		snprintf(why->text, sizeof(why->text), "the fake device is lost");
		return -EIO;
	}
	rc = decode(state, job);
	/* Only the matrix used for timing has this many rows. */
	if (FAKE == SLOW && q->out_features > 10000)
		nanosleep(&nap, NULL);
	if (FAKE == WRONG && job->nrows * q->in_features > 2048)
		((unsigned char *)job->dst)[4095] ^= 1;
	return rc;
}

static void fake_forget(void *state, const void *matrix)
{
	(void)state;
	(void)matrix;
}

static void fake_close(void *state)
{
	free(state);
}

#define EXPORT __attribute__((visibility("default")))

EXPORT extern const struct accel_plugin gptqfs_accel_plugin;

#if FAKE_EXPORTS
static const struct accel_encoding fake_encodings[] = {
    {FAKE == FOREIGN ? "awq" : ACCEL_GPTQ, FAKE == STALE ? 8 : sizeof(struct qtensor)}, {NULL, 0}};

const struct accel_plugin gptqfs_accel_plugin = {
    .size = FAKE == SIZE ? 8 : sizeof(struct accel_plugin),
    .version = FAKE == VERSION ? ACCEL_VERSION + 1 : ACCEL_VERSION,
    .job_size = sizeof(struct accel_job),
    .encodings = fake_encodings,
    .open = fake_open,
    .dequant = fake_dequant,
    .forget = FAKE == HOLLOW ? NULL : fake_forget,
    .close = fake_close,
};
#else
EXPORT const void *const another_symbol[] = {fake_open, fake_dequant, fake_forget, fake_close};
#endif
