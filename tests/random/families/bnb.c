/* SPDX-License-Identifier: MIT */

/* bitsandbytes: nf4 and fp4 in blocks of a flat weight, the scales of blocks quantized too, and int8. */

#include "families.h"

static const uint32_t nf4[16] = {0xbf800000, 0xbf3239b1, 0xbf066b30, 0xbeca32a0, 0xbe91a24d, 0xbe3d353f, 0xbdba7871,
    0x00000000, 0x3da2faff, 0x3e24cae3, 0x3e7c04dd, 0x3ead033a, 0x3ee1a4b8, 0x3f1007ab, 0x3f3913b3, 0x3f800000};
/* Negative values have the sign bit, except that -0 is +0.0. */
static const uint32_t fp4[16] = {0x00000000, 0x3baaaaab, 0x3f2aaaab, 0x3f800000, 0x3eaaaaab, 0x3f000000, 0x3e2aaaab,
    0x3e800000, 0x00000000, 0xbbaaaaab, 0xbf2aaaab, 0xbf800000, 0xbeaaaaab, 0xbf000000, 0xbe2aaaab, 0xbe800000};

static const char *const f32[] = {"F32"};

struct blocks {
	uint64_t count, size; /* values in one */
	uint64_t nested;      /* blocks per second-level block; 0 if there is none */
	double *scale;        /* [count] */
	const char *offset;   /* of the second level, as in JSON */
};

static void begin(struct mixture *x)
{
	x->method = x->method ? x->method : "bitsandbytes";
}

/* The scale of each block, from a byte and the scale of many blocks. */
static void add_nested(struct mixture *x, const char *weight, struct blocks *b)
{
	static const unsigned short sizes[] = {256, 256, 256, 64, 1024};
	const struct scales type = draw_scales(f32, 1);
	const uint64_t entries = 256;
	struct stored *bytes = add_bytes(x, say("%s.absmax", weight), "U8", 1, &b->count), *map, *outer;
	uint64_t nested;
	double offset;

	b->nested = PICK(sizes);
	nested = div_up(b->count, b->nested);
	map = add_scales(x, say("%s.nested_quant_map", weight), &type, 1, &entries);
	outer = add_scales(x, say("%s.nested_absmax", weight), &type, 1, &nested);
	do
		offset = decode(&F32, chance(30) ? hard_bits(&F32) : usual_bits(&F32));
	while (!(offset - offset == 0)); /* JSON has no numbers that are not finite */
	b->offset = say("%.*g", chance(50) ? 17 : 9, offset);
	offset = fl(strtod(b->offset, NULL));
	for (uint64_t i = 0; i < b->count; i++) {
		bytes->data[i] = (unsigned char)any();
		b->scale[i] = fl(fl(scale_at(map, bytes->data[i]) * scale_at(outer, i / b->nested)) + offset);
	}
}

static void add_plain(struct mixture *x, const char *weight, struct blocks *b)
{
	const struct scales type = draw_scales(f32, 1);
	struct stored *s = add_scales(x, say("%s.absmax", weight), &type, 1, &b->count);

	for (uint64_t i = 0; i < b->count; i++)
		b->scale[i] = scale_at(s, i);
}

static void add_state(struct mixture *x, const char *weight, const char *kind, const struct blocks *b,
    const uint64_t shape[2])
{
	static const char *const types[] = {"bfloat16", "float16", "float32"};
	struct memo memo;
	struct stored *s;
	const char *text;
	uint64_t len;

	memo_open(&memo);
	fprintf(memo.out, "{\"quant_type\": \"%s\", \"blocksize\": %" PRIu64 ", \"dtype\": \"%s\", ", kind, b->size,
	    PICK(types));
	fprintf(memo.out, "\"shape\": [%" PRIu64 ", %" PRIu64 "]", shape[0], shape[1]);
	if (b->nested)
		fprintf(memo.out,
		    ", \"nested_blocksize\": %" PRIu64 ", \"nested_dtype\": \"float32\", \"nested_offset\": %s",
		    b->nested, b->offset);
	putc('}', memo.out);
	text = memo_close(&memo);
	len = strlen(text);
	s = add_bytes(x, say("%s.quant_state.bitsandbytes__%s", weight, kind), "U8", 1, &len);
	memcpy(s->data, text, len);
}

/* Bytes of any type: only siblings tell what they are. */
static struct stored *add_codes(struct mixture *x, const char *weight, uint64_t values)
{
	static const char *const types[] = {"U8", "U8", "BF16", "F16", "F32"};
	const uint64_t bytes = div_up(values, 2);
	const char *type = PICK(types);
	const struct format *f = find_format(type);
	struct stored *s;

	if (f && bytes % format_bytes(f)) {
		type = "U8";
		f = NULL;
	}
	s = add_bytes(x, weight, type, 2, (const uint64_t[]){bytes / (f ? format_bytes(f) : 1), 1});
	for (uint64_t i = 0; i < bytes; i++)
		s->data[i] = (unsigned char)any();
	return s;
}

static void add_table(struct mixture *x, const char *weight, const uint32_t *table)
{
	const uint64_t entries = 16;
	struct stored *s = add_bytes(x, say("%s.quant_map", weight), "F32", 1, &entries);

	for (unsigned i = 0; i < 16; i++)
		store(s->data + (size_t)i * 4, table[i], 4);
}

/* `transposed`: what was quantized is the transpose of the weight. */
static const struct weight *add_4bit(struct mixture *x, const char *module, uint64_t in, bool transposed)
{
	static const unsigned short sizes[] = {64, 64, 64, 32, 128, 256, 512, 1024, 2048, 4096};
	const bool is_nf4 = chance(60);
	const uint32_t *table = is_nf4 ? nf4 : fp4;
	const uint64_t shape[] = {draw_size(1), in ? in : draw_size(1)}, values = shape[0] * shape[1];
	const char *name = say("%s.weight", module);
	struct blocks b = {.size = PICK(sizes)};
	const struct stored *codes = add_codes(x, name, values);
	struct weight *weight;

	b.count = div_up(values, b.size);
	b.scale = take(b.count * sizeof(*b.scale));
	if (chance(50))
		add_nested(x, name, &b);
	else
		add_plain(x, name, &b);
	add_table(x, name, table);
	add_state(x, name, is_nf4 ? "nf4" : "fp4", &b, shape);
	weight = add_weight(x, name, 2, (const uint64_t[]){shape[transposed], shape[!transposed]});
	for (uint64_t i = 0; i < values; i++) {
		const unsigned byte = codes->data[i / 2], code = i % 2 ? byte & 15 : byte >> 4;
		const uint64_t at = transposed ? i % shape[1] * shape[0] + i / shape[1] : i;

		weight->values[at] = fl(decode(&F32, table[code]) * b.scale[i / b.size]);
	}
	note(x, say("bnb %s in %s, [%" PRIu64 ", %" PRIu64 "], blocks of %" PRIu64 "%s%s", is_nf4 ? "nf4" : "fp4",
		    codes->dtype, shape[0], shape[1], b.size, b.nested ? ", nested" : "",
		    transposed ? ", transposed" : ""));
	return weight;
}

static const struct weight *add(struct mixture *x, const char *module, uint64_t in)
{
	return add_4bit(x, module, in, false);
}

/* GPT-2's layers hold their weights as [in, out]; bitsandbytes transposes them. */
static const struct weight *add_conv1d(struct mixture *x, const char *module, uint64_t in)
{
	static const char *const names[] = {"attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj"};

	(void)in;
	return add_4bit(x, say("%s.%s", module, PICK(names)), 0, true);
}

static const struct weight *add_int8(struct mixture *x, const char *module, uint64_t in)
{
	const double r = decode(&F32, 0x3c010204); /* 1 / 127 */
	const struct scales type = draw_scales(f32, 1);
	const uint64_t shape[] = {draw_size(1), in ? in : draw_size(1)};
	struct stored *codes = add_bytes(x, say("%s.weight", module), "I8", 2, shape), *scales;
	struct weight *weight = add_weight(x, codes->name, 2, shape);

	scales = add_scales(x, say("%s.SCB", module), &type, 1, shape);
	if (chance(90))
		add_bytes(x, say("%s.weight_format", module), "U8", 0, NULL);
	for (uint64_t i = 0; i < codes->bytes; i++) {
		const int code = (int)below(256) - 128;

		codes->data[i] = (unsigned char)code;
		weight->values[i] = fl(fl(code * scale_at(scales, i / shape[1])) * r);
	}
	note(x, say("bnb int8, [%" PRIu64 ", %" PRIu64 "]", shape[0], shape[1]));
	return weight;
}

const struct packer bnb_4bit = {"bnb", true, NULL, NULL, begin, add, NULL};
const struct packer bnb_int8 = {"int8", true, NULL, NULL, begin, add_int8, NULL};
const struct packer bnb_conv1d = {"conv1d", false, "bitsandbytes", "gpt2", begin, add_conv1d, NULL};
