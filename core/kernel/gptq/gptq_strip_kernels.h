/* SPDX-License-Identifier: MIT */

/* Part of gptq_strip.h: the kernels made of it. */

/* Returns the number of groups in BLOCKS_AT_ONCE blocks, if these are whole groups. */
static uint32_t groups_together(const struct qtensor *q)
{
	return q->group_size == BLOCK || q->group_size == 2 * BLOCK ? BLOCK * BLOCKS_AT_ONCE / q->group_size : 1;
}

ALWAYS_INLINE void strip_run(void *dst, const struct qtensor *q, uint32_t row0, uint32_t nrows, struct variant v)
{
	const size_t pitch = q->in_features * out_bytes(v.out);
	struct strip strips[STRIPS];
	unsigned count = 0;

	for (uint32_t row = 0; row < nrows; row += COLUMNS) {
		struct strip *s = &strips[count];

		*s = (struct strip){.q = q, .dst = (char *)dst + row * pitch, .n0 = row0 + row};
		s->columns = min_u32(nrows - row, COLUMNS);
		s->together = v.several ? groups_together(q) : 1;
		strip_find_fields(s);
		if (!v.grouped) {
			strip_general(s, v);
		} else if (++count == STRIPS || nrows - row <= COLUMNS) {
			strips_grouped(strips, count, v);
			count = 0;
		}
	}
}

#define DEFINE_INPUTS(name, out)                                                       \
	static void name(void *dst, const struct qtensor *q, uint32_t k0, uint32_t nk) \
	{                                                                              \
		strip_run_inputs(dst, q, k0, nk, out);                                 \
	}

DEFINE_INPUTS(inputs_f16, DTYPE_F16)
DEFINE_INPUTS(inputs_bf16, DTYPE_BF16)
DEFINE_INPUTS(inputs_f32, DTYPE_F32)

#define DEFINE_GENERAL(name, width, as, to)                                                             \
	static void name(void *dst, const struct qtensor *q, uint32_t row0, uint32_t nrows)             \
	{                                                                                               \
		strip_run(dst, q, row0, nrows, (struct variant){.bits = width, .form = as, .out = to}); \
	}

/*
 * Blocks must not contain the end of a group, except the last one. Short groups, several of which are expanded at a
 * time (see tile_expand()), have a function of their own: gcc generates worse code for both in one.
 */
#define DEFINE_GROUPED(name, general, width, as, to)                                                           \
	static __attribute__((noinline)) void name##_short(void *dst, const struct qtensor *q, uint32_t row0,  \
	    uint32_t nrows)                                                                                    \
	{                                                                                                      \
		strip_run(dst, q, row0, nrows,                                                                 \
		    (struct variant){.bits = width, .form = as, .out = to, .grouped = true, .several = true}); \
	}                                                                                                      \
	static void name(void *dst, const struct qtensor *q, uint32_t row0, uint32_t nrows)                    \
	{                                                                                                      \
		if (q->group_size % BLOCK && q->group_size < q->in_features)                                   \
			general(dst, q, row0, nrows);                                                          \
		else if (groups_together(q) > 1)                                                               \
			name##_short(dst, q, row0, nrows);                                                     \
		else                                                                                           \
			strip_run(dst, q, row0, nrows,                                                         \
			    (struct variant){.bits = width, .form = as, .out = to, .grouped = true});          \
	}

DEFINE_GENERAL(general4_f16, 4, STREAM, DTYPE_F16)
DEFINE_GENERAL(general4_bf16, 4, STREAM, DTYPE_BF16)
DEFINE_GENERAL(general4_f32, 4, STREAM, DTYPE_F32)
DEFINE_GENERAL(general_f16, q->bits, BYTES, DTYPE_F16)
DEFINE_GENERAL(general_bf16, q->bits, BYTES, DTYPE_BF16)
DEFINE_GENERAL(general_f32, q->bits, BYTES, DTYPE_F32)
DEFINE_GROUPED(grouped2_f16, general_f16, 2, STREAM, DTYPE_F16)
DEFINE_GROUPED(grouped2_bf16, general_bf16, 2, STREAM, DTYPE_BF16)
DEFINE_GROUPED(grouped2_f32, general_f32, 2, STREAM, DTYPE_F32)
DEFINE_GROUPED(grouped3_f16, general_f16, 3, STREAM, DTYPE_F16)
DEFINE_GROUPED(grouped3_bf16, general_bf16, 3, STREAM, DTYPE_BF16)
DEFINE_GROUPED(grouped3_f32, general_f32, 3, STREAM, DTYPE_F32)
DEFINE_GROUPED(grouped4_f16, general4_f16, 4, STREAM, DTYPE_F16)
DEFINE_GROUPED(grouped4_bf16, general4_bf16, 4, STREAM, DTYPE_BF16)
DEFINE_GROUPED(grouped4_f32, general4_f32, 4, STREAM, DTYPE_F32)
DEFINE_GROUPED(grouped_f16, general_f16, q->bits, BYTES, DTYPE_F16)
DEFINE_GROUPED(grouped_bf16, general_bf16, q->bits, BYTES, DTYPE_BF16)
DEFINE_GROUPED(grouped_f32, general_f32, q->bits, BYTES, DTYPE_F32)

#define OUTPUTS(name)                               \
	{                                           \
		name##_f16, name##_bf16, name##_f32 \
	}

static const struct {
	unsigned bits;
	enum packing packing;
	gptq_fn *rows[2][DTYPE_VIEWS];
} kernels_made[] = {
    {2, PACKING_STREAM, {OUTPUTS(grouped2), OUTPUTS(general)}},
    {2, PACKING_PLANAR, {OUTPUTS(grouped2), OUTPUTS(general)}},
    {3, PACKING_STREAM, {OUTPUTS(grouped3), OUTPUTS(general)}},
    {3, PACKING_PLANAR, {OUTPUTS(grouped), OUTPUTS(general)}},
    {4, PACKING_STREAM, {OUTPUTS(grouped4), OUTPUTS(general4)}},
    {4, PACKING_PLANAR, {OUTPUTS(grouped4), OUTPUTS(general4)}},
    {5, PACKING_PLANAR, {OUTPUTS(grouped), OUTPUTS(general)}},
    {6, PACKING_PLANAR, {OUTPUTS(grouped), OUTPUTS(general)}},
    {7, PACKING_PLANAR, {OUTPUTS(grouped), OUTPUTS(general)}},
    {8, PACKING_STREAM, {OUTPUTS(grouped), OUTPUTS(general)}},
    {8, PACKING_PLANAR, {OUTPUTS(grouped), OUTPUTS(general)}},
};

#define DEFINE_CAST(name, from, to)                                                                            \
	static void name(void *dst, const void *src, size_t n)                                                 \
	{                                                                                                      \
		const size_t whole = n - n % COLUMNS, src_size = from == DTYPE_F32 ? 4 : 2;                    \
		const size_t dst_size = to == DTYPE_F32 ? 4 : 2;                                               \
                                                                                                               \
		for (size_t i = 0; i < whole; i += COLUMNS) {                                                  \
			const unsigned char *at = (const unsigned char *)src + i * src_size;                   \
                                                                                                               \
			prefetch_ahead(at);                                                                    \
			store_floats((char *)dst + i * dst_size, load_floats(at, COLUMNS, from), to);          \
		}                                                                                              \
		cast_reference[from][to]((char *)dst + whole * dst_size, (const char *)src + whole * src_size, \
		    n - whole);                                                                                \
	}

DEFINE_CAST(cast_f16_bf16, DTYPE_F16, DTYPE_BF16)
DEFINE_CAST(cast_f16_f32, DTYPE_F16, DTYPE_F32)
DEFINE_CAST(cast_bf16_f16, DTYPE_BF16, DTYPE_F16)
DEFINE_CAST(cast_bf16_f32, DTYPE_BF16, DTYPE_F32)
DEFINE_CAST(cast_f32_f16, DTYPE_F32, DTYPE_F16)
DEFINE_CAST(cast_f32_bf16, DTYPE_F32, DTYPE_BF16)

static void gptq_install(struct gptq_dsp *dsp)
{
	static gptq_fn *const inputs[DTYPE_VIEWS] = OUTPUTS(inputs);

	memcpy(dsp->inputs, inputs, sizeof(dsp->inputs));
	for (size_t i = 0; i < sizeof(kernels_made) / sizeof(*kernels_made); i++)
		memcpy(dsp->rows[kernels_made[i].bits][kernels_made[i].packing], kernels_made[i].rows,
		    sizeof(kernels_made[i].rows));
}

static void cast_install(cast_fn *cast[DTYPE_CASTS][DTYPE_VIEWS])
{
	cast[DTYPE_F16][DTYPE_BF16] = cast_f16_bf16;
	cast[DTYPE_F16][DTYPE_F32] = cast_f16_f32;
	cast[DTYPE_BF16][DTYPE_F16] = cast_bf16_f16;
	cast[DTYPE_BF16][DTYPE_F32] = cast_bf16_f32;
	cast[DTYPE_F32][DTYPE_F16] = cast_f32_f16;
	cast[DTYPE_F32][DTYPE_BF16] = cast_f32_bf16;
}
