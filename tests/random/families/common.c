/* SPDX-License-Identifier: MIT */
#include <math.h>

#include "families.h"

void say_setting(struct mixture *x, const char *text)
{
	x->settings[x->setting_count++] = text;
}

void say_top(struct mixture *x, const char *text)
{
	x->tops[x->top_count++] = text;
}

void note(struct mixture *x, const char *text)
{
	if (x->note_count < NOTES_MAX)
		x->notes[x->note_count++] = text;
}

/* Mostly a few, sometimes hundreds; a multiple of `step`. */
uint64_t draw_size(uint64_t step)
{
	const uint64_t most = chance(5) ? 700 : chance(40) ? 200 : 70;

	return step * (1 + below(most / step + 1));
}

/* ---- numbers ---- */

/*
 * Sums, products and quotients of two fp32 numbers may be computed in double precision first: 53 is at least 2 * 24 +
 * 2, so the rounded double is the middle of two fp32 numbers only if the exact result is. This also holds for subnormal
 * fp32 results, where sums and products are exact and no quotient is that close.
 */
double fl(double x)
{
	return decode(&F32, encode(&F32, x));
}

/* Sign, `exponent_bits`, then the rest; without infinities where `finite`. */
static double decode_byte(unsigned code, int exponent_bits, bool finite)
{
	const int fraction_bits = 7 - exponent_bits, bias = (1 << (exponent_bits - 1)) - 1;
	const int fraction = (int)(code & ((1u << fraction_bits) - 1)), exponent = (int)(code & 0x7f) >> fraction_bits;
	double x = exponent ? ldexp((1 << fraction_bits) + fraction, exponent - bias - fraction_bits)
	                    : ldexp(fraction, 1 - bias - fraction_bits);

	if (finite ? (code & 0x7f) == 0x7f : exponent == (1 << exponent_bits) - 1)
		x = finite || fraction ? (double)NAN : (double)INFINITY;
	return code & 0x80 ? -x : x;
}

double e4m3(unsigned code)
{
	return decode_byte(code, 4, true);
}

double e5m2(unsigned code)
{
	return decode_byte(code, 5, false);
}

double e8m0(unsigned code)
{
	return code == 255 ? (double)NAN : ldexp(1, (int)code - 127);
}

void put_bits(unsigned char *data, uint64_t at, unsigned bits, unsigned value)
{
	for (unsigned i = 0; i < bits; i++, at++) {
		const unsigned char mask = (unsigned char)(1u << at % 8);

		data[at / 8] = (unsigned char)((data[at / 8] & ~mask) | (value >> i & 1 ? mask : 0));
	}
}

unsigned get_bits(const unsigned char *data, uint64_t at, unsigned bits)
{
	unsigned value = 0;

	for (unsigned i = 0; i < bits; i++, at++)
		value |= (data[at / 8] >> at % 8 & 1u) << i;
	return value;
}

/* ---- tensors ---- */

static unsigned bits_of(const char *dtype)
{
	const struct format *f = find_format(dtype);

	if (f)
		return format_bytes(f) * 8;
	if (strchr(dtype, '8') == dtype + 1)
		return 8; /* I8, U8, F8_E4M3 */
	return (unsigned)atoi(dtype + 1);
}

/* Zeros, for the caller to fill in. */
struct stored *add_bytes(struct mixture *x, const char *name, const char *dtype, int ndim, const uint64_t *shape)
{
	struct stored *s = add_stored(&x->base, dtype, bits_of(dtype), ndim, shape);

	s->name = name;
	s->data = take(s->bytes);
	return s;
}

/* Bits outside of the fields are random. */
void fill_any(struct stored *s)
{
	if (chance(50))
		for (uint64_t i = 0; i < s->bytes; i++)
			s->data[i] = (unsigned char)any();
}

struct scales draw_scales(const char *const *dtypes, size_t count)
{
	static const unsigned char shares[] = {0, 0, 0, 10, 100};
	const char *dtype = dtypes[below(count)];

	return (struct scales){dtype, find_format(dtype), PICK(shares)};
}

struct stored *add_scales(struct mixture *x, const char *name, const struct scales *s, int ndim, const uint64_t *shape)
{
	struct stored *t = add_bytes(x, name, s->dtype, ndim, shape);
	const unsigned bytes = s->format ? format_bytes(s->format) : 1;

	for (uint64_t at = 0; at < t->bytes; at += bytes) {
		const bool hard = chance(s->hard);

		if (s->format)
			store(t->data + at, hard ? hard_bits(s->format) : usual_bits(s->format), bytes);
		else
			t->data[at] = (unsigned char)(hard ? any() : 115 + below(10));
	}
	return t;
}

double scale_at(const struct stored *s, uint64_t i)
{
	const struct format *f = find_format(s->dtype);

	if (!f)
		return strcmp(s->dtype, "F8_E4M3") == 0 ? e4m3(s->data[i]) : e8m0(s->data[i]);
	return decode(f, load(s->data + i * format_bytes(f), format_bytes(f)));
}

/* Adds the tensor that the views must show under this name; the caller fills in the values. */
struct weight *add_weight(struct mixture *x, const char *name, int ndim, const uint64_t *shape)
{
	struct weight *w = take(sizeof(*w));
	uint64_t elements = 1;

	w->ndim = ndim;
	for (int i = 0; i < ndim; i++)
		elements *= w->shape[i] = shape[i];
	w->values = take(elements * sizeof(*w->values));
	add_shown(&x->base, name)->weight = w;
	return w;
}
