/* SPDX-License-Identifier: MIT */

/* How often each code of a weight occurs. */

#include "report/stats.h"

unsigned stats_code_bits(const struct encoded *e)
{
	const struct fact *bits;
	struct facts facts = {0};

	if (!e->encoding->codes && !e->encoding->lines && !e->encoding->stored_codes)
		return 0;
	e->encoding->describe(e, &facts);
	bits = facts_find(&facts, "bits");
	return bits && bits->kind == FACT_NUMBER && bits->number <= 8 ? (unsigned)bits->number : 0;
}

/* ---- counting ---- */

/* Counts bytes. Neighbours are often alike, and would wait for each other with a single table. */
static void count_bytes(const uint8_t *bytes, size_t n, uint64_t histogram[STATS_CODES_MAX])
{
	uint32_t table[4][STATS_CODES_MAX] = {{0}};

	for (size_t i = 0; i < n; i++)
		table[i % 4][bytes[i]]++;
	for (size_t i = 0; i < STATS_CODES_MAX; i++)
		histogram[i] += (uint64_t)table[0][i] + table[1][i] + table[2][i] + table[3][i];
}

/* Bytes that hold 1, 2, 4 or 8 bits of a code each. */
static void count_in_bytes(const uint8_t *bytes, size_t n, unsigned bits, uint64_t histogram[STATS_CODES_MAX])
{
	uint64_t counts[STATS_CODES_MAX] = {0};

	count_bytes(bytes, n, counts);
	for (size_t i = 0; i < STATS_CODES_MAX; i++)
		for (unsigned at = 0; at < 8; at += bits)
			histogram[i >> at & ((1u << bits) - 1)] += counts[i];
}

/* Eight codes in `bits` bytes at a time, lowest first. */
static void count_in_stream(const uint8_t *bytes, size_t codes, unsigned bits, uint64_t histogram[STATS_CODES_MAX])
{
	for (size_t i = 0; i < codes; i += 8, bytes += bits) {
		uint64_t word = 0;

		for (unsigned k = 0; k < bits; k++)
			word |= (uint64_t)bytes[k] << 8 * k;
		for (unsigned k = 0; k < 8; k++, word >>= bits)
			histogram[word & ((1u << bits) - 1)]++;
	}
}

static void count_fields(const uint8_t *bytes, size_t n, unsigned bits, uint64_t histogram[STATS_CODES_MAX])
{
	if (8 % bits == 0)
		count_in_bytes(bytes, n, bits, histogram);
	else
		count_in_stream(bytes, n / bits * 8, bits, histogram);
}

/* ---- codes that an encoding takes out of its storage ---- */

struct code_job {
	const struct stats_codes *from;
	uint64_t *histogram;
	bool packed; /* codes are fields of `bits` bits */
};

/* Reads codes as fields, which are counted without unpacking. False if `words` cannot. */
static bool read_words(const struct stats_codes *c)
{
	const struct kernel_rect r = {(uint32_t)c->row0, (uint32_t)c->rows, 0, (uint32_t)c->columns};

	if (c->e->transposed || c->e->ndim != 2 || c->columns % 32 || !c->e->encoding->words)
		return false;
	return c->e->encoding->words(c->e, c->kernels, c->bits, c->room, &r);
}

static void read_codes(void *ctx)
{
	struct code_job *job = ctx;
	const struct stats_codes *c = job->from;
	const struct encoded *e = c->e;
	/* As served, rows of a transposed weight are its in_features. */
	const struct code_rect r = e->transposed ? (struct code_rect){0, c->columns, c->row0, c->rows}
	                                         : (struct code_rect){c->row0, c->rows, 0, c->columns};

	job->packed = read_words(c);
	if (job->packed)
		return;
	if (e->encoding->lines)
		e->encoding->lines(e, &r, &(struct lines){.code = c->room});
	else
		e->encoding->codes(e, &r, &(struct codes){.code = c->room});
}

/* ---- codes that are stored in sequence ---- */

/*
 * Counts these rows' share of all codes, which need not be their own codes: if weights are transposed, or stored in
 * another order, only the sum over all rows matters.
 */
static void count_stored(void *ctx)
{
	struct code_job *job = ctx;
	const struct stats_codes *c = job->from;
	const uint64_t begin = c->row0 * c->columns / 8 * c->bits, after = c->row0 + c->rows;
	const uint64_t end = after == c->all_rows ? c->e->part[0]->bytes : after * c->columns / 8 * c->bits;

	count_fields(c->stored + begin, (size_t)(end - begin), c->bits, job->histogram);
	/* The last of an odd number of codes has the upper half of a byte. */
	if (after == c->all_rows && c->bits == 4 && (c->all_rows * c->columns) % 2)
		job->histogram[c->stored[end - 1] & 0xf]--;
}

/* ---- either ---- */

int stats_codes_count(const struct stats_codes *c, uint64_t histogram[STATS_CODES_MAX])
{
	const struct inputs in = encoded_inputs((struct encoded *)c->e);
	struct code_job job = {c, histogram, false};
	int rc;

	if (c->e->encoding->stored_codes)
		return inputs_guard(&in, count_stored, &job);
	rc = inputs_guard(&in, read_codes, &job);
	if (rc == 0 && job.packed)
		count_fields(c->room, (size_t)(c->rows * c->columns / 8 * c->bits), c->bits, histogram);
	else if (rc == 0)
		count_bytes(c->room, (size_t)(c->rows * c->columns), histogram);
	return rc;
}

struct stored_codes stats_codes_ends(const struct encoded *e, unsigned bits)
{
	if (e->encoding->stored_codes)
		return e->encoding->stored_codes(e);
	return (struct stored_codes){.lowest = 0, .highest = (uint8_t)((1u << bits) - 1)};
}
