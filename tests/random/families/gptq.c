/* SPDX-License-Identifier: MIT */

/* GPTQ v2 beside other families. test_random covers the rest. */

#include "families.h"

static unsigned bits;
static uint64_t size;

static void begin(struct mixture *x)
{
	static const unsigned char widths[] = {2, 4, 4, 8}, sizes[] = {16, 32, 64, 128};

	bits = PICK(widths);
	size = PICK(sizes);
	say_setting(x,
	    say("\"bits\": %u, \"group_size\": %" PRIu64 ", \"checkpoint_format\": \"gptq_v2\"", bits, size));
}

static const struct weight *add(struct mixture *x, const char *module, uint64_t in)
{
	static const char *const types[] = {"F16", "BF16"};
	const struct scales type = draw_scales(types, COUNT(types));
	const uint64_t k = in ? div_up(in, 32) * 32 : draw_size(32), n = draw_size(32), groups = div_up(k, size);
	struct stored *codes = add_bytes(x, say("%s.qweight", module), "I32", 2, (const uint64_t[]){k * bits / 32, n});
	struct stored *zeros =
	    add_bytes(x, say("%s.qzeros", module), "I32", 2, (const uint64_t[]){groups, n * bits / 32});
	const struct stored *scales = add_scales(x, say("%s.scales", module), &type, 2, (const uint64_t[]){groups, n});
	struct stored *order = add_bytes(x, say("%s.g_idx", module), "I32", 1, &k);
	struct weight *weight = add_weight(x, say("%s.weight", module), 2, (const uint64_t[]){n, k});

	for (uint64_t i = 0; i < zeros->bytes; i++)
		zeros->data[i] = (unsigned char)any();
	for (uint64_t i = 0; i < k; i++) {
		const uint64_t group = chance(50) ? i / size : below(groups);

		store(order->data + i * 4, group, 4);
		for (uint64_t c = 0; c < n; c++) {
			const unsigned q = (unsigned)below(UINT64_C(1) << bits);
			const unsigned z = get_bits(zeros->data + group * n * bits / 8, c * bits, bits);
			const uint64_t at = i * bits; /* of column c, whose words are n apart */

			put_bits(codes->data + (at / 32 * n + c) * 4, at % 32, bits, q);
			weight->values[c * k + i] = fl(scale_at(scales, group * n + c) * ((int)q - (int)z));
		}
	}
	note(x, say("GPTQ %u bits, [%" PRIu64 ", %" PRIu64 "], groups of %" PRIu64, bits, n, k, size));
	return weight;
}

const struct packer gptq = {"gptq", true, "gptq", NULL, begin, add, NULL};
