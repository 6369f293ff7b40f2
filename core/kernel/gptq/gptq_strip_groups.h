/* SPDX-License-Identifier: MIT */

/* Part of gptq_strip.h: zeros and scales. */

/* Fills in what is the same for all groups. Missing columns get the first field. */
static void strip_find_planar_fields(struct strip *s)
{
	const unsigned bits = s->q->bits;
	const uint32_t first = s->n0 / 32 * bits, last = (s->n0 + s->columns - 1) / 32 * bits + bits - 1;

	s->zero_word = first;
	s->zero_words = last - first + 1;
	for (uint32_t c = 0; c < s->columns; c++) {
		const uint32_t n = s->n0 + c;
		uint32_t word = n / 32 * bits - first;
		struct field *field = s->field;

		for (unsigned width = 4; width; width /= 2) {
			if (!(bits & width))
				continue;
			field->index[c] = word + n % 32 * width / 32;
			field->shift[c] = n % 32 * width % 32;
			field++;
			word += width;
		}
	}
}

static void strip_find_fields(struct strip *s)
{
	const uint64_t bits = s->q->bits, last = ((s->n0 + s->columns) * bits - 1) / 32;

	memset(s->field, 0, sizeof(s->field));
	if (qtensor_is_planar(s->q)) {
		strip_find_planar_fields(s);
		return;
	}
	s->zero_word = s->n0 * bits / 32;
	s->zero_words = last - s->zero_word + 1;
	for (uint32_t c = 0; c < s->columns; c++) {
		s->field[0].index[c] = (s->n0 + c) * bits / 32 - s->zero_word;
		s->field[0].shift[c] = (s->n0 + c) * bits % 32;
	}
}

ALWAYS_INLINE words planar_fields(const struct strip *s, const unsigned char *row)
{
	const struct field *field = s->field;
	words value = {0};
	unsigned done = 0;

	for (unsigned width = 4; width; width /= 2) {
		words part;

		if (!(s->q->bits & width))
			continue;
		part = pick_words(row, s->zero_words, field->index) >> field->shift;
		value |= (part & ((1u << width) - 1)) << done;
		done += width;
		field++;
	}
	return value;
}

/* First `add` is added to each word. */
ALWAYS_INLINE words stream_fields(const struct strip *s, const unsigned char *row, uint32_t add)
{
	const words index = s->field[0].index, shift = s->field[0].shift;
	const words value = (pick_words(row, s->zero_words, index) + add) >> shift;
	words beyond, next;

	if (32 % s->q->bits == 0)
		return value;
	/* The last word has no successor, but needs none. */
	beyond = (words)(index < (words){0} + (s->zero_words - 1));
	next = pick_words(row, s->zero_words, index + (beyond & 1)) & beyond;
	return value | next << 1 << (31 - shift);
}

/* Returns the strip's words in a row of qzeros. Prefetches those of later groups. */
ALWAYS_INLINE const unsigned char *zeros_at(const struct strip *s, uint32_t g)
{
	const size_t row = ((uint64_t)s->q->out_features * s->q->bits + 31) / 32 * 4;
	const unsigned char *at = s->q->qzeros + g * row + (size_t)s->zero_word * 4;

	prefetch((uintptr_t)at + s->together * row);
	return at;
}

ALWAYS_INLINE words load_zeros(const struct strip *s, uint32_t g)
{
	const struct qtensor *q = s->q;
	const uint32_t mask = (1u << q->bits) - 1;
	const uint32_t v1 = q->zeros == ZEROS_V1;
	const unsigned char *row;

	if (q->zeros == ZEROS_MIDDLE)
		return (words){0} + (1u << (q->bits - 1));
	row = zeros_at(s, g);
	if (qtensor_is_planar(q))
		return (planar_fields(s, row) + v1) & mask;
	if (32 % q->bits == 0)
		return stream_fields(s, row, v1 ? ~0u / mask : 0) & mask;
	return (stream_fields(s, row, 0) + v1) & mask;
}

/* Prefetches the next group, or one of the next. */
static __attribute__((noinline)) void load_group(struct group *group, const struct strip *s, uint32_t g)
{
	const struct qtensor *q = s->q;
	const size_t width = q->scale_dtype == DTYPE_F32 ? 4 : 2, row = (size_t)q->out_features * width;
	const unsigned char *scales = q->scales + g * row + s->n0 * width;

	prefetch((uintptr_t)scales + s->together * row);
	group->zero = __builtin_convertvector((ints)load_zeros(s, g), floats);
	if (q->scale_dtype == DTYPE_F16)
		group->scale = load_floats(scales, s->columns, DTYPE_F16);
	else if (q->scale_dtype == DTYPE_BF16)
		group->scale = load_floats(scales, s->columns, DTYPE_BF16);
	else
		group->scale = load_floats(scales, s->columns, DTYPE_F32);
}

static bool is_finite(const struct group *group)
{
	const ints exponent = (ints)group->scale & 0x7f800000;
	const ints special = exponent == 0x7f800000;
	bool finite = true;

	for (uint32_t c = 0; c < COLUMNS; c++)
		finite &= !special[c];
	return finite;
}
