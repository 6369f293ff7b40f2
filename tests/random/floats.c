/* SPDX-License-Identifier: MIT */
#include <math.h>

#include "random.h"

const struct format F16 = {"F16", 5, 10}, BF16 = {"BF16", 8, 7}, F32 = {"F32", 8, 23}, F64 = {"F64", 11, 52};
const struct format *const formats[FORMATS] = {&F16, &BF16, &F32, &F64};

const struct format *find_format(const char *name)
{
	for (size_t i = 0; i < COUNT(formats); i++)
		if (strcmp(formats[i]->name, name) == 0)
			return formats[i];
	return NULL;
}

unsigned format_bytes(const struct format *f)
{
	return (unsigned)(1 + f->exp_bits + f->frac_bits) / 8;
}

static uint64_t compose(const struct format *f, bool negative, uint64_t exponent, uint64_t fraction)
{
	const uint64_t sign = (uint64_t)negative << f->exp_bits << f->frac_bits;

	return sign | exponent << f->frac_bits | (fraction & ((UINT64_C(1) << f->frac_bits) - 1));
}

/* Exact for all four formats. */
double decode(const struct format *f, uint64_t bits)
{
	const uint64_t one = UINT64_C(1) << f->frac_bits, top = (UINT64_C(1) << f->exp_bits) - 1;
	const uint64_t fraction = bits & (one - 1), exponent = bits >> f->frac_bits & top;
	const int last = 1 - (int)(top / 2) - f->frac_bits; /* exponent of the last place of a subnormal */
	double x;

	if (exponent == top)
		x = fraction ? (double)NAN : (double)INFINITY;
	else if (exponent)
		x = ldexp((double)(fraction | one), (int)exponent - 1 + last);
	else
		x = ldexp((double)fraction, last);
	return bits >> f->frac_bits >> f->exp_bits & 1 ? -x : x;
}

/* Rounds to nearest, ties to even; keeps subnormals, overflows to infinity, and has a single NaN. */
uint64_t encode(const struct format *f, double x)
{
	const uint64_t top = (UINT64_C(1) << f->exp_bits) - 1;
	uint64_t bits, whole, kept, rest, half;
	int step, shift;

	memcpy(&bits, &x, sizeof(bits));
	if (isnan(x))
		return compose(f, false, top, UINT64_C(1) << (f->frac_bits - 1));
	if (isinf(x))
		return compose(f, bits >> 63, top, 0);
	/* |x| = whole * 2^(exponent - 52). Steps count from the smallest exponent of a normal number. */
	whole = (bits & (UINT64_MAX >> 12)) | UINT64_C(1) << 52;
	step = (int)(bits >> 52 & 2047) - 1023 - (1 - (int)(top / 2));
	shift = 52 - f->frac_bits + (step < 0 ? -step : 0);
	/* Less than half of the smallest subnormal: 0, and all subnormal doubles. */
	if (shift > 60)
		return compose(f, bits >> 63, 0, 0);
	kept = whole >> shift;
	rest = whole & ((UINT64_C(1) << shift) - 1);
	half = UINT64_C(1) << (shift - 1);
	kept += rest > half || (rest == half && kept & 1);
	/* A normal number includes its leading 1, which increments the exponent. */
	kept += (uint64_t)(step > 0 ? step : 0) << f->frac_bits;
	if (kept >> f->frac_bits >= top)
		return compose(f, bits >> 63, top, 0);
	return compose(f, bits >> 63, kept >> f->frac_bits, kept);
}

void store(unsigned char *to, uint64_t value, unsigned bytes)
{
	for (unsigned i = 0; i < bytes; i++)
		to[i] = (unsigned char)(value >> (8 * i));
}

uint64_t load(const unsigned char *from, unsigned bytes)
{
	uint64_t value = 0;

	for (unsigned i = bytes; i-- > 0;)
		value = value << 8 | from[i];
	return value;
}

/* Returns a fraction on or right beside the middle of two numbers of a shorter format. */
static uint64_t near_tie(const struct format *f)
{
	static const int shorter[] = {7, 10, 23};
	const int cut = f->frac_bits - PICK(shorter);
	const uint64_t fraction = any(), beside = below(3);

	if (cut < 1)
		return fraction;
	return (fraction >> cut << cut | UINT64_C(1) << (cut - 1)) + beside - 1;
}

/*
 * Returns a number or non-number, with a preference for those that are hard to round and cast. (Every draw is a
 * separate statement, since compilers differ in the order in which they evaluate arguments.)
 */
uint64_t hard_bits(const struct format *f)
{
	const uint64_t top = (UINT64_C(1) << f->exp_bits) - 1, bias = top / 2;
	const uint64_t kind = below(10), fraction = any(), tie = near_tie(f), small = below(46);
	const bool negative = chance(50), extreme = chance(30);

	switch (kind) {
	case 0:
		return compose(f, negative, 0, 0);
	case 1:
		return compose(f, negative, 0, extreme ? fraction : fraction >> small);
	case 2:
		return compose(f, negative, top,
		    extreme      ? 0
		    : small < 23 ? fraction
				 : UINT64_C(1) << small % f->frac_bits);
	case 3:
		return compose(f, negative, top - 1 - small % 3, extreme ? UINT64_MAX : fraction);
	case 4:
		return compose(f, negative, 1 + small % 3, fraction);
	case 5: /* around the limits of fp16, in formats with a larger range */
		return compose(f, negative, f->exp_bits > 5 ? bias - 27 + small : small % top, tie);
	case 6: /* around those of bf16 and fp32 */
		return compose(f, negative,
		    f->exp_bits > 8 ? bias + (extreme ? 125 + small % 5 : -152 + small) : small % top, tie);
	case 7:
		return compose(f, negative, below(top + 1), fraction);
	default:
		return compose(f, negative, bias - below(12), tie);
	}
}

uint64_t usual_bits(const struct format *f)
{
	const uint64_t bias = ((UINT64_C(1) << f->exp_bits) - 1) / 2;

	const uint64_t exponent = bias - 1 - below(12), fraction = any();

	return compose(f, chance(30), exponent, fraction);
}
