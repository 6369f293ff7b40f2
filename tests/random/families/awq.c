/* SPDX-License-Identifier: MIT */

/* AWQ: 4-bit codes packed across columns in an order of their own (GEMM), along rows (GEMV), or interleaved (fast). */

#include "families.h"

static uint64_t size;   /* of groups, as the configuration has it; 0: one group */
static bool zeros_said; /* zero_point */

static const char *const scale_types[] = {"F16", "F16", "BF16"};

static void say_config(struct mixture *x, const char *version)
{
	static const char *const bits[] = {"bits", "w_bit"}, *const sizes[] = {"group_size", "q_group_size"};
	static const char *const keys[] = {"version", "version", "format", "checkpoint_format"};

	x->base.shunned = "act.scales";
	zeros_said = chance(70);
	say_setting(x, say("\"%s\": 4, \"%s\": %" PRId64, PICK(bits), PICK(sizes), size ? (int64_t)size : -1));
	say_setting(x, say("\"zero_point\": %s", zeros_said ? "true" : "false"));
	say_setting(x, say("\"%s\": \"%s\", \"modules_to_not_convert\": null", PICK(keys), version));
}

static void begin_gemm(struct mixture *x)
{
	static const unsigned char sizes[] = {0, 16, 32, 32, 64, 128, 24};
	static const char *const versions[] = {"gemm", "GEMM"};

	size = PICK(sizes);
	say_config(x, PICK(versions));
}

static void draw_codes(uint8_t *codes, uint64_t count)
{
	for (uint64_t i = 0; i < count; i++)
		codes[i] = any() & 15;
}

/* The position of column 8c + j in word c. */
static void put_column(struct stored *s, uint64_t row, uint64_t column, unsigned code)
{
	static const unsigned char place[] = {0, 4, 1, 5, 2, 6, 3, 7};

	put_bits(s->data + (row * s->shape[1] + column / 8) * 4, (uint64_t)place[column % 8] * 4, 4, code);
}

static const struct weight *add_gemm(struct mixture *x, const char *module, uint64_t in)
{
	const struct scales type = draw_scales(scale_types, COUNT(scale_types));
	const uint64_t k = in ? in : draw_size(1), n = draw_size(8), group = size ? size : k, groups = div_up(k, group);
	const bool has_zeros = zeros_said || chance(50);
	struct stored *codes = add_bytes(x, say("%s.qweight", module), "I32", 2, (const uint64_t[]){k, n / 8});
	struct stored *zeros =
	    has_zeros ? add_bytes(x, say("%s.qzeros", module), "I32", 2, (const uint64_t[]){groups, n / 8}) : NULL;
	const struct stored *scales = add_scales(x, say("%s.scales", module), &type, 2, (const uint64_t[]){groups, n});
	struct weight *weight = add_weight(x, say("%s.weight", module), 2, (const uint64_t[]){n, k});
	uint8_t *q = take(k * n), *z = take(groups * n);

	draw_codes(q, k * n);
	draw_codes(z, groups * n);
	for (uint64_t g = 0; g < groups; g++)
		for (uint64_t c = 0; c < n; c++)
			if (zeros)
				put_column(zeros, g, c, z[g * n + c]);
			else
				z[g * n + c] = 8;
	for (uint64_t i = 0; i < k; i++)
		for (uint64_t c = 0; c < n; c++) {
			const uint64_t at = i / group * n + c;

			put_column(codes, i, c, q[i * n + c]);
			weight->values[c * k + i] = fl(scale_at(scales, at) * (q[i * n + c] - z[at]));
		}
	note(x, say("AWQ GEMM [%" PRIu64 ", %" PRIu64 "], groups of %" PRIu64 ", %s scales%s", n, k, group, type.dtype,
		    zeros ? "" : ", no zeros"));
	return weight;
}

/* ---- GEMV ---- */

/* Words of zeros per row: those of the groups, rounded up to the unit of AWQ's kernel. */
static uint64_t zero_words(uint64_t groups)
{
	const uint64_t words = div_up(groups, 8), multiple = size >= 128 ? 1 : size == 64 ? 2 : 4;

	return div_up(words, multiple) * multiple;
}

static void begin_gemv(struct mixture *x)
{
	static const unsigned char sizes[] = {32, 64, 128};
	static const char *const versions[] = {"gemv", "GEMV"};

	size = PICK(sizes);
	say_config(x, PICK(versions));
}

static const struct weight *add_gemv(struct mixture *x, const char *module, uint64_t in)
{
	static const char *const f16[] = {"F16"};
	const struct scales type = draw_scales(f16, 1);
	const uint64_t k = in ? div_up(in, size) * size : size * (1 + below(chance(20) ? 20 : 4)), n = draw_size(1);
	const uint64_t groups = k / size, words = zero_words(groups);
	struct stored *codes = add_bytes(x, say("%s.qweight", module), "I32", 2, (const uint64_t[]){n, k / 8});
	struct stored *zeros = add_bytes(x, say("%s.qzeros", module), "I32", 2, (const uint64_t[]){n, words});
	struct stored *scales = add_scales(x, say("%s.scales", module), &type, 2, (const uint64_t[]){n, words * 8});
	struct weight *weight = add_weight(x, say("%s.weight", module), 2, (const uint64_t[]){n, k});

	for (uint64_t r = 0; r < n; r++) {
		for (uint64_t g = 0; g < groups; g++)
			put_bits(zeros->data + r * words * 4, g * 4, 4, any() & 15);
		for (uint64_t g = groups; g < words * 8; g++)
			store(scales->data + (r * words * 8 + g) * 2, 0, 2);
		for (uint64_t i = 0; i < k; i++) {
			const unsigned q = any() & 15, z = get_bits(zeros->data + r * words * 4, i / size * 4, 4);

			put_bits(codes->data + r * k / 2, i * 4, 4, q);
			weight->values[r * k + i] = fl(scale_at(scales, r * words * 8 + i / size) * ((int)q - (int)z));
		}
	}
	note(x, say("AWQ GEMV [%" PRIu64 ", %" PRIu64 "], groups of %" PRIu64, n, k, size));
	return weight;
}

/* ---- GEMV fast ---- */

static void begin_fast(struct mixture *x)
{
	static const unsigned char sizes[] = {32, 64, 128};
	static const char *const versions[] = {"gemv_fast", "GEMV_FAST"};

	size = PICK(sizes);
	say_config(x, PICK(versions));
}

static const struct weight *add_fast(struct mixture *x, const char *module, uint64_t in)
{
	static const char *const f16[] = {"F16"};
	const struct scales type = draw_scales(f16, 1);
	const uint64_t step = size < 64 ? 64 : size;
	const uint64_t k = in ? div_up(in, step) * step : step * (1 + below(4)), n = draw_size(8);
	const uint64_t rows = zero_words(k / size) * 8, *shape = (const uint64_t[]){rows, n};
	struct stored *codes = add_bytes(x, say("%s.qweight", module), "I16", 2, (const uint64_t[]){n / 4, k});
	const struct stored *scales = add_scales(x, say("%s.scales", module), &type, 2, shape);
	const struct stored *zeros = add_scales(x, say("%s.qzeros", module), &type, 2, shape);
	struct weight *weight = add_weight(x, say("%s.weight", module), 2, (const uint64_t[]){n, k});

	for (uint64_t r = 0; r < n; r++)
		for (uint64_t i = 0; i < k; i++) {
			const uint64_t at = r / 4 * k + i / 64 * 64 + r % 4 * 16 + i / 32 % 2 * 8 + i % 8;
			const uint64_t group = i / size * n + r;
			const unsigned q = any() & 15;

			put_bits(codes->data + at * 2, i / 8 % 4 * 4, 4, q);
			weight->values[r * k + i] = fl(fl(q * scale_at(scales, group)) + scale_at(zeros, group));
		}
	note(x, say("AWQ GEMV fast [%" PRIu64 ", %" PRIu64 "], groups of %" PRIu64, n, k, size));
	return weight;
}

const struct packer awq = {"awq", true, "awq", NULL, begin_gemm, add_gemm, NULL};
const struct packer awq_gemv = {"gemv", true, "awq", NULL, begin_gemv, add_gemv, NULL};
const struct packer awq_fast = {"gemvfast", true, "awq", NULL, begin_fast, add_fast, NULL};
