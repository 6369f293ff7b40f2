/* SPDX-License-Identifier: MIT */

/* MLX affine, and the same as transformers' metal quantizer names it: a stream of codes along each row. */

#include "families.h"

static uint64_t size;
static unsigned bits;
static bool metal;
static struct memo overrides; /* of modules that differ */

static void begin(struct mixture *x)
{
	static const unsigned char sizes[] = {32, 64, 64, 128}, widths[] = {1, 2, 3, 4, 4, 5, 6, 8};

	size = PICK(sizes);
	bits = PICK(widths);
	metal = false;
	(void)x;
	memo_open(&overrides);
}

static void begin_metal(struct mixture *x)
{
	static const unsigned char widths[] = {2, 4, 8};

	begin(x);
	bits = PICK(widths);
	metal = true;
}

static const struct weight *add(struct mixture *x, const char *module, uint64_t in)
{
	static const unsigned char sizes[] = {32, 64, 128}, widths[] = {1, 2, 3, 4, 5, 6, 8};
	static const char *const types[] = {"F16", "BF16", "BF16", "F32"};
	const struct scales type = draw_scales(types, COUNT(types));
	const bool own = !metal && chance(30);
	const unsigned b = own ? PICK(widths) : bits;
	const uint64_t gs = own ? PICK(sizes) : size, k = in ? div_up(in, gs) * gs : gs * (1 + below(4)),
		       n = draw_size(1);
	const uint64_t groups = k / gs, words = k * b / 32;
	struct stored *codes = add_bytes(x, say("%s.weight", module), "U32", 2, (const uint64_t[]){n, words});
	const struct stored *scales = add_scales(x, say("%s.scales", module), &type, 2, (const uint64_t[]){n, groups});
	const struct stored *biases =
	    add_scales(x, say("%s.%sbiases", module, metal ? "q" : ""), &type, 2, (const uint64_t[]){n, groups});
	struct weight *weight = add_weight(x, codes->name, 2, (const uint64_t[]){n, k});

	for (uint64_t r = 0; r < n; r++)
		for (uint64_t i = 0; i < k; i++) {
			const unsigned q = (unsigned)below(UINT64_C(1) << b);
			const uint64_t group = r * groups + i / gs;

			put_bits(codes->data + r * words * 4, i * b, b, q);
			weight->values[r * k + i] = fl(fl(q * scale_at(scales, group)) + scale_at(biases, group));
		}
	if (own) {
		fputs(", ", overrides.out);
		put_string(overrides.out, module);
		fprintf(overrides.out, ": {\"group_size\": %" PRIu64 ", \"bits\": %u%s}", gs, b,
		    chance(50) ? ", \"mode\": \"affine\"" : "");
	}
	note(x, say("MLX %u bits, [%" PRIu64 ", %" PRIu64 "], groups of %" PRIu64 ", %s", b, n, k, gs, type.dtype));
	return weight;
}

static void end(struct mixture *x)
{
	const char *text = memo_close(&overrides), *mode = chance(50) ? ", \"mode\": \"affine\"" : "";
	struct memo memo;

	memo_open(&memo);
	fprintf(memo.out, "\"group_size\": %" PRIu64 ", \"bits\": %u%s%s", size, bits, mode, text);
	text = memo_close(&memo);
	if (metal) {
		say_setting(x, text);
		return;
	}
	memo_open(&memo);
	fprintf(memo.out, "\"quantization\": {%s}", text);
	if (chance(60))
		fprintf(memo.out, ", \"quantization_config\": {%s}", text);
	say_top(x, memo_close(&memo));
}

const struct packer mlx = {"mlx", true, "", begin, add, end};
const struct packer mlx_metal = {"metal", true, "metal", begin_metal, add, end};
