/* SPDX-License-Identifier: MIT */

/*
 * Random checkpoints, opened and read through the public interface, every tensor of every view compared bit for bit.
 *
 * The packer below knows the format and not the decoder: it puts one bit after the other where the description of the
 * format says it belongs, multiplies in double precision, where the products are exact, and rounds by integers. It is
 * slow on purpose; an error would have to be made twice, in two different ways, to pass.
 *
 *     SEED=N  begins with case N instead of a random one        CASES=N  how many cases, each the seed after the other
 *     KEEP=1  leaves the directory of a case that failed
 */

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kernel/cpu.h"
#include "view/escape.h"
#include "gptqfs.h"
#include "base/json.h"
#include "view/npy.h"
#include "../test.h"

#define TENSORS_MAX 96
#define MODULES_MAX 7
#define PARTS_MAX 3
#define FAMILIES_MAX 2
#define SHARDS_MAX 5
#define COUNT(array) (sizeof(array) / sizeof(*(array)))
#define SHARD_BYTES UINT64_C(5000000000) /* what the shards of a view hold at most */

/* ---- chance ---- */

static uint64_t chance_state;

static uint64_t any(void)
{
	uint64_t x = chance_state += UINT64_C(0x9e3779b97f4a7c15);

	x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
	return x ^ x >> 31;
}

static uint64_t below(uint64_t n)
{
	return any() % n;
}

static bool chance(unsigned percent)
{
	return below(100) < percent;
}

#define PICK(array) ((array)[below(COUNT(array))])

static void shuffle(unsigned *order, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		unsigned j = (unsigned)below(i + 1);

		order[i] = order[j];
		order[j] = i;
	}
}

/* ---- memory of one case ---- */

static void *taken[8192];
static unsigned taken_count;

/* Of exactly this size, so that a sanitizer sees the end. */
static void *take(size_t size)
{
	void *p = calloc(1, size ? size : 1);

	if (!p || taken_count == COUNT(taken)) {
		printf("out of memory\n");
		exit(1);
	}
	return taken[taken_count++] = p;
}

static char *say(const char *fmt, ...)
{
	char *text = take(128);
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, 128, fmt, args);
	va_end(args);
	return text;
}

static void release_all(void)
{
	while (taken_count)
		free(taken[--taken_count]);
}

/* ---- floats ---- */

struct format {
	const char *name;
	int exp_bits, frac_bits;
};

static const struct format F16 = {"F16", 5, 10}, BF16 = {"BF16", 8, 7}, F32 = {"F32", 8, 23}, F64 = {"F64", 11, 52};
static const struct format *const formats[] = {&F16, &BF16, &F32, &F64};

static const struct format *find_format(const char *name)
{
	for (size_t i = 0; i < COUNT(formats); i++)
		if (strcmp(formats[i]->name, name) == 0)
			return formats[i];
	return NULL;
}

static unsigned format_bytes(const struct format *f)
{
	return (unsigned)(1 + f->exp_bits + f->frac_bits) / 8;
}

static uint64_t compose(const struct format *f, bool negative, uint64_t exponent, uint64_t fraction)
{
	const uint64_t sign = (uint64_t)negative << f->exp_bits << f->frac_bits;

	return sign | exponent << f->frac_bits | (fraction & ((UINT64_C(1) << f->frac_bits) - 1));
}

/* Exact for all four formats. */
static double decode(const struct format *f, uint64_t bits)
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

/* To the nearest, ties to even; subnormals stay, what is too large becomes infinite, and there is one NaN. */
static uint64_t encode(const struct format *f, double x)
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
	/* Less than half of the smallest subnormal: 0, and all that is subnormal in double precision. */
	if (shift > 60)
		return compose(f, bits >> 63, 0, 0);
	kept = whole >> shift;
	rest = whole & ((UINT64_C(1) << shift) - 1);
	half = UINT64_C(1) << (shift - 1);
	kept += rest > half || (rest == half && kept & 1);
	/* A normal number brings its leading 1 along, which makes the exponent one more. */
	kept += (uint64_t)(step > 0 ? step : 0) << f->frac_bits;
	if (kept >> f->frac_bits >= top)
		return compose(f, bits >> 63, top, 0);
	return compose(f, bits >> 63, kept >> f->frac_bits, kept);
}

static void store(unsigned char *to, uint64_t value, unsigned bytes)
{
	for (unsigned i = 0; i < bytes; i++)
		to[i] = (unsigned char)(value >> (8 * i));
}

static uint64_t load(const unsigned char *from, unsigned bytes)
{
	uint64_t value = 0;

	for (unsigned i = bytes; i-- > 0;)
		value = value << 8 | from[i];
	return value;
}

/* A fraction that lies on, or right beside, the middle of two numbers of a shorter format. */
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
 * One number, or something that is none: what rounding and casting find hard more often than their share. (Every draw
 * is a statement of its own: in what order arguments are evaluated differs from compiler to compiler.)
 */
static uint64_t hard_bits(const struct format *f)
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
	case 5: /* about where fp16 begins, ends and becomes subnormal, in formats that reach further */
		return compose(f, negative, f->exp_bits > 5 ? bias - 27 + small : small % top, tie);
	case 6: /* about where bf16 and fp32 do */
		return compose(f, negative,
		    f->exp_bits > 8 ? bias + (extreme ? 125 + small % 5 : -152 + small) : small % top, tie);
	case 7:
		return compose(f, negative, below(top + 1), fraction);
	default:
		return compose(f, negative, bias - below(12), tie);
	}
}

static uint64_t usual_bits(const struct format *f)
{
	const uint64_t bias = ((UINT64_C(1) << f->exp_bits) - 1) / 2;

	const uint64_t exponent = bias - 1 - below(12), fraction = any();

	return compose(f, chance(30), exponent, fraction);
}

/* ---- a checkpoint ---- */

/* A tensor as it stands in a file. */
struct stored {
	const char *name;
	const char *dtype;
	int ndim;
	uint64_t shape[3], bytes;
	unsigned char *data; /* NULL for a hole in the file: zeros that take no room */
	unsigned shard;
	bool passes; /* the views show it under its name */
	bool stray;  /* the index does not list it here */
};

enum groups {
	GROUPS_ABSENT, /* no g_idx: k / group_size */
	GROUPS_TRIVIAL,
	GROUPS_ACT_ORDER,
	GROUPS_ARBITRARY,
};

struct module {
	const char *name;
	unsigned bits, word_bits;
	bool planar, has_zeros;
	enum groups order;
	int64_t group_size;
	uint64_t in, out, groups;
	const struct format *scale_format;
	unsigned char *codes; /* [in][out] */
	unsigned char *zeros; /* [groups][out] */
	uint64_t *scales;     /* [groups][out] bit patterns */
	uint32_t *group_of;   /* [in] */
	double *weights;      /* [out][in] the products as fp32 has them */
};

/* A tensor that a view must show: a module's, a stored one, or, in fused views, one joined from others. */
struct shown {
	const char *name;
	const struct module *module;
	const struct stored *stored;
	const char *other;   /* its dtype if it is no float and stays what it is */
	unsigned part_count; /* joined */
	struct shown *parts; /* [part_count] */
	uint64_t zeros;      /* a part: so many zeros, because there is no bias */
};

/* What one of the parts of a family is: q_proj, k_proj and v_proj of one prefix, or gate_proj and up_proj. */
struct part {
	const char *name;
	const struct module *module;
	const struct stored *stored, *bias; /* stored: the weight, if it is not quantized */
};

struct family_of_parts {
	const char *joined; /* the name of the whole */
	struct part parts[PARTS_MAX];
	unsigned count;
};

enum family { FAMILY_NONE, FAMILY_GPTQ, FAMILY_AUTOROUND };

struct checkpoint {
	enum family family;
	const char *checkpoint_format, *format, *packing_format; /* NULL if absent */
	bool v2, planar, sym, says_sym, says_bits, says_group_size, mixed, has_config;
	unsigned bits;
	int64_t group_size;

	struct module modules[MODULES_MAX];
	unsigned module_count;
	struct family_of_parts families[FAMILIES_MAX];
	unsigned family_count;
	struct stored stored[TENSORS_MAX];
	unsigned stored_count;
	struct shown shown[TENSORS_MAX], fused[TENSORS_MAX];
	unsigned shown_count, fused_count;

	const char *files[SHARDS_MAX];
	unsigned file_count;
	const char *index; /* NULL if there is none */
	bool has_holes;
	char *quant_text;
	char dir[256];
};

static uint64_t div_up(uint64_t a, uint64_t b)
{
	return (a + b - 1) / b;
}

static struct stored *add_stored(struct checkpoint *c, const char *dtype, unsigned bits, int ndim,
    const uint64_t *shape)
{
	struct stored *s = &c->stored[c->stored_count++];
	uint64_t elements = 1;

	*s = (struct stored){.dtype = dtype, .ndim = ndim, .shard = (unsigned)below(c->file_count)};
	for (int i = 0; i < ndim; i++)
		elements *= s->shape[i] = shape[i];
	s->bytes = elements * bits / 8;
	return s;
}

/* ---- what the configuration says ---- */

static void draw_gptq(struct checkpoint *c)
{
	static const char *const labels[] = {NULL, "gptq", "GPTQ", "gptq_v2", "Gptq_V2", "gptq_p"};
	const char *counts;

	c->checkpoint_format = PICK(labels);
	c->format = chance(50) ? c->checkpoint_format : PICK(labels);
	counts = c->checkpoint_format ? c->checkpoint_format : c->format ? c->format : "gptq";
	c->v2 = strcasecmp(counts, "gptq") != 0;
	c->planar = strcasecmp(counts, "gptq_p") == 0;
}

static void draw_autoround(struct checkpoint *c)
{
	static const struct {
		const char *packing;
		bool v2;
	} labels[] = {{NULL, false}, {"auto_round:auto_gptq", false}, {"auto_round:gptq", false},
	    {"auto_round:auto_gptq:exllamav2", false}, {"auto_round:gptqmodel", true}, {"auto_round", true}};
	const uint64_t i = below(COUNT(labels));

	c->packing_format = labels[i].packing;
	c->v2 = labels[i].v2;
}

static unsigned draw_bits(const struct checkpoint *c)
{
	static const unsigned char usual[] = {2, 3, 4, 4, 8}, all[] = {2, 3, 3, 4, 4, 5, 6, 7, 8};

	return c->family == FAMILY_GPTQ ? PICK(all) : PICK(usual);
}

static int64_t draw_group_size(void)
{
	static const int usual[] = {-1, 8, 16, 32, 32, 64, 128, 4096};

	return chance(80) ? PICK(usual) : 1 + (int64_t)below(150);
}

static void draw_settings(struct checkpoint *c)
{
	*c = (struct checkpoint){.family = chance(5) ? FAMILY_NONE : chance(75) ? FAMILY_GPTQ : FAMILY_AUTOROUND};
	if (c->family == FAMILY_GPTQ)
		draw_gptq(c);
	if (c->family == FAMILY_AUTOROUND)
		draw_autoround(c);
	c->sym = chance(35) || c->family == FAMILY_NONE;
	c->says_sym = c->family != FAMILY_NONE && (!c->sym || chance(80));
	c->says_bits = c->family != FAMILY_NONE && chance(95);
	c->says_group_size = c->family != FAMILY_NONE && chance(95);
	c->bits = draw_bits(c);
	c->group_size = draw_group_size();
	c->mixed = chance(30);
	c->has_config = chance(85);
}

/* ---- modules ---- */

static bool is_planar(const struct checkpoint *c, unsigned bits)
{
	return bits == 5 || bits == 6 || bits == 7 || (bits == 3 && c->planar);
}

/* Would codes of this width stand in tensors of the same shapes? */
static bool fits(const struct checkpoint *c, const struct module *m, unsigned bits)
{
	const uint64_t w = m->word_bits, rows = div_up(m->in * m->bits, w);
	const uint64_t in = m->order == GROUPS_ABSENT ? rows * w / bits : m->in;

	if (w % bits && (w != 32 || bits == 8))
		return false;
	if (is_planar(c, bits) && (w != 32 || in % 32 || m->out % 32))
		return false;
	if (m->has_zeros && div_up(m->out * bits, w) != div_up(m->out * m->bits, w))
		return false;
	return div_up(in * bits, w) == rows;
}

static uint64_t whole_size(int64_t group_size, uint64_t in)
{
	return group_size > 0 && (uint64_t)group_size < in ? (uint64_t)group_size : in;
}

/*
 * Widths and group sizes come from shapes, and from the configuration where shapes leave a choice: what it says of the
 * module, else of all. What even both leave open is no fair question.
 */
static bool is_decidable(const struct checkpoint *c, const struct module *m)
{
	const bool named = c->mixed && c->family != FAMILY_NONE; /* the configuration names the module */
	const uint64_t size = whole_size(m->group_size, m->in);
	const uint64_t said = whole_size(c->says_group_size ? c->group_size : -1, m->in);

	if (named)
		return true;
	for (unsigned bits = 2; bits <= 8; bits++)
		if (bits != m->bits && fits(c, m, bits) && !(c->says_bits && c->bits == m->bits))
			return false;
	if (m->order != GROUPS_ABSENT || said == size)
		return true;
	return div_up(m->in, said) != m->groups && m->groups * size == m->in;
}

static enum groups draw_order(const struct checkpoint *c)
{
	static const unsigned char usual[] = {
	    GROUPS_ABSENT, GROUPS_TRIVIAL, GROUPS_TRIVIAL, GROUPS_ACT_ORDER, GROUPS_ACT_ORDER, GROUPS_ARBITRARY};

	if (c->family != FAMILY_AUTOROUND)
		return PICK(usual);
	return c->packing_format && strstr(c->packing_format, "gptqmodel") ? GROUPS_TRIVIAL : GROUPS_ABSENT;
}

/* in and out: multiples of what the packing asks for; mostly a few rows and columns, now and then some hundred. */
static void draw_size(struct module *m)
{
	const uint64_t most = chance(4) ? 900 : chance(40) ? 192 : 70;
	const uint64_t step_out = m->planar ? 32 : chance(50) ? 1 : 32;
	uint64_t step_in = chance(50) ? 1 : 32;

	if (m->planar || m->word_bits % m->bits)
		step_in = m->planar || m->order == GROUPS_ABSENT ? 32 : step_in;
	else if (m->order == GROUPS_ABSENT)
		step_in = m->word_bits / m->bits;
	m->in = step_in * (1 + below(most / step_in + 1));
	m->out = step_out * (1 + below(most / step_out + 1));
	/* Rows too long to be decoded for a small read go through the cache. */
	if (below(300) == 0) {
		m->in = step_in * div_up(9000 + below(12000), step_in);
		m->out = m->planar ? 32 : 1 + below(40);
	}
}

static void draw_shape(const struct checkpoint *c, struct module *m)
{
	static const unsigned char words[] = {8, 16, 64};

	m->bits = c->mixed && chance(50) ? draw_bits(c) : c->bits;
	m->group_size = c->mixed && chance(50) ? draw_group_size() : c->group_size;
	m->word_bits = (m->bits == 2 || m->bits == 4 || m->bits == 8) && chance(10) ? PICK(words) : 32;
	m->planar = is_planar(c, m->bits);
	m->order = draw_order(c);
	m->has_zeros = !(c->sym && c->says_sym && chance(25));
	m->scale_format = chance(60) ? &F16 : chance(50) ? &BF16 : &F32;
	draw_size(m);
	m->groups = div_up(m->in, whole_size(m->group_size, m->in));
	if (m->order == GROUPS_ARBITRARY)
		m->groups = 1 + below(m->in < 20 ? m->in : 20);
}

static void draw_groups(struct module *m)
{
	const uint64_t size = whole_size(m->group_size, m->in);
	unsigned *rank = take(m->in * sizeof(*rank));

	m->group_of = take(m->in * sizeof(*m->group_of));
	shuffle(rank, (unsigned)m->in);
	for (uint64_t k = 0; k < m->in; k++)
		if (m->order == GROUPS_ARBITRARY)
			m->group_of[k] = (uint32_t)below(m->groups);
		else
			m->group_of[k] = (uint32_t)((m->order == GROUPS_ACT_ORDER ? rank[k] : k) / size);
}

static void draw_values(const struct checkpoint *c, struct module *m)
{
	static const unsigned char shares[] = {0, 0, 0, 10, 100};
	const unsigned mask = (1u << m->bits) - 1, hard = PICK(shares), few = chance(30) ? 60 : 0;

	m->codes = take(m->in * m->out);
	m->zeros = take(m->groups * m->out);
	m->scales = take(m->groups * m->out * sizeof(*m->scales));
	for (uint64_t i = 0; i < m->in * m->out; i++)
		m->codes[i] = any() & mask;
	for (uint64_t i = 0; i < m->groups * m->out; i++) {
		/* Many zeros of 0: a borrow from field to field, and on through fields that are 0 themselves. */
		m->zeros[i] = c->sym ? 1u << (m->bits - 1) : chance(few) ? 0 : any() & mask;
		m->scales[i] = chance(hard) ? hard_bits(m->scale_format) : usual_bits(m->scale_format);
	}
}

/* Products of at most 24 and 9 bits are exact in a double. */
static void multiply(struct module *m)
{
	m->weights = take(m->in * m->out * sizeof(*m->weights));
	for (uint64_t k = 0; k < m->in; k++)
		for (uint64_t n = 0; n < m->out; n++) {
			const uint64_t at = m->group_of[k] * m->out + n;
			const int difference = m->codes[k * m->out + n] - m->zeros[at];
			const double product = decode(m->scale_format, m->scales[at]) * difference;

			m->weights[n * m->in + k] = decode(&F32, encode(&F32, product));
		}
}

/* ---- packing ---- */

/* Where bit `bit` of code `index` stands, counted from the first bit of the first word. */
static uint64_t place(const struct module *m, uint64_t index, unsigned bit)
{
	static const unsigned char planes[][4] = {[3] = {2, 1}, [5] = {4, 1}, [6] = {4, 2}, [7] = {4, 2, 1}};
	const unsigned char *width = planes[m->bits < 8 ? m->bits : 0];
	const uint64_t block = index / 32, i = index % 32;
	unsigned low = 0;

	if (!m->planar)
		return index * m->bits + bit;
	while (bit >= low + *width)
		low += *width++;
	/* Before this plane: whole blocks of `bits` words, then the words of the lower planes, as many as they have
	 * bits. */
	return (block * m->bits + low + i * *width / 32) * 32 + i * *width % 32 + (bit - low);
}

/* Puts a code into words that stand `step` elements apart, the first of them at element `first`. */
static void put_code(const struct module *m, unsigned char *data, uint64_t first, uint64_t step, uint64_t index,
    unsigned code)
{
	for (unsigned bit = 0; bit < m->bits; bit++) {
		const uint64_t at = place(m, index, bit), element = first + at / m->word_bits * step;
		unsigned char *byte = &data[element * m->word_bits / 8 + at % m->word_bits / 8];
		const unsigned char mask = (unsigned char)(1u << at % 8);

		*byte = (unsigned char)((*byte & ~mask) | (code >> bit & 1 ? mask : 0));
	}
}

/* A 1 taken away from every field of a word at once: a field that was 0 borrows from the next. */
static void subtract_ones(const struct module *m, unsigned char *data, uint64_t words)
{
	const unsigned bytes = m->word_bits / 8;
	uint64_t ones = 0;

	for (unsigned at = 0; at < m->word_bits; at += m->bits)
		ones |= UINT64_C(1) << at;
	for (uint64_t i = 0; i < words; i++)
		store(data + i * bytes, load(data + i * bytes, bytes) - ones, bytes);
}

/* What tails of words hold means nothing. */
static void fill_tails(struct stored *s)
{
	s->data = take(s->bytes);
	if (chance(50))
		for (uint64_t i = 0; i < s->bytes; i++)
			s->data[i] = (unsigned char)any();
}

static const char *word_dtype(const struct module *m)
{
	return m->word_bits == 8 ? "I8" : m->word_bits == 16 ? "I16" : m->word_bits == 32 ? "I32" : "I64";
}

static void pack_codes(struct checkpoint *c, const struct module *m)
{
	const uint64_t shape[] = {div_up(m->in * m->bits, m->word_bits), m->out};
	struct stored *s = add_stored(c, word_dtype(m), m->word_bits, 2, shape);

	s->name = say("%s.qweight", m->name);
	fill_tails(s);
	for (uint64_t k = 0; k < m->in; k++)
		for (uint64_t n = 0; n < m->out; n++)
			put_code(m, s->data, n, m->out, k, m->codes[k * m->out + n]);
}

static void pack_zeros(struct checkpoint *c, const struct module *m)
{
	const uint64_t words = div_up(m->out * m->bits, m->word_bits), shape[] = {m->groups, words};
	struct stored *s = add_stored(c, word_dtype(m), m->word_bits, 2, shape);
	const bool less = !c->v2 && !m->planar;

	s->name = say("%s.qzeros", m->name);
	fill_tails(s);
	for (uint64_t g = 0; g < m->groups; g++)
		for (uint64_t n = 0; n < m->out; n++) {
			const unsigned zero = m->zeros[g * m->out + n];

			put_code(m, s->data, g * words, 1, n, less && m->bits == 3 ? (zero - 1) & 7 : zero);
		}
	if (less && m->bits != 3)
		subtract_ones(m, s->data, m->groups * words);
}

static void pack_scales(struct checkpoint *c, const struct module *m)
{
	const unsigned bytes = format_bytes(m->scale_format);
	const uint64_t shape[] = {m->groups, m->out};
	struct stored *s = add_stored(c, m->scale_format->name, bytes * 8, 2, shape);

	s->name = say("%s.scales", m->name);
	s->data = take(s->bytes);
	for (uint64_t i = 0; i < m->groups * m->out; i++)
		store(s->data + i * bytes, m->scales[i], bytes);
}

static void pack_g_idx(struct checkpoint *c, const struct module *m)
{
	struct stored *s = add_stored(c, "I32", 32, 1, &m->in);

	s->name = say("%s.g_idx", m->name);
	s->data = take(s->bytes);
	for (uint64_t k = 0; k < m->in; k++)
		store(s->data + k * 4, m->group_of[k], 4);
}

/* Never all zeros: those are what old writers left where the model has no bias. */
static const struct stored *add_bias(struct checkpoint *c, const struct module *m)
{
	static const struct format *const types[] = {&F16, &BF16, &F32};
	const struct format *f = PICK(types);
	const unsigned bytes = format_bytes(f);
	struct stored *s = add_stored(c, f->name, bytes * 8, 1, &m->out);

	s->name = say("%s.bias", m->name);
	s->passes = true;
	s->data = take(s->bytes);
	for (uint64_t n = 0; n < m->out; n++)
		store(s->data + n * bytes, n ? hard_bits(f) : usual_bits(f), bytes);
	return s;
}

/* All of a module whose shape is drawn; gives its bias, or NULL. Groups that are given are those of another. */
static const struct stored *fill_module(struct checkpoint *c, struct module *m)
{
	if (!m->group_of)
		draw_groups(m);
	draw_values(c, m);
	multiply(m);
	pack_codes(c, m);
	pack_scales(c, m);
	if (m->has_zeros)
		pack_zeros(c, m);
	if (m->order != GROUPS_ABSENT)
		pack_g_idx(c, m);
	return chance(30) ? add_bias(c, m) : NULL;
}

static void add_module(struct checkpoint *c)
{
	static const char *const names[] = {"self_attn.q_proj", "self_attn.k_proj", "mlp.down_proj", "mlp.up_proj",
	    "mlp.experts.3.w1", "mlp.experts.10.w2", "o_pr\"oj", "\xc3\xa9tage.x\\y"};
	const unsigned number = c->module_count, layer = number * (unsigned)(1 + below(6));
	struct module *m = &c->modules[c->module_count++];

	if (chance(5))
		m->name = say("lm_head%u", number);
	else
		m->name = say("model.layers.%u.%s", layer, PICK(names));
	for (unsigned i = 0; i < number; i++)
		if (strcmp(c->modules[i].name, m->name) == 0)
			m->name = say("again.%u", number);
	do
		draw_shape(c, m);
	while (!is_decidable(c, m));
	fill_module(c, m);
}

/* ---- families ---- */

/* A sibling of a module: mostly all the same but the number of columns. */
static void draw_sibling(const struct checkpoint *c, struct module *m, const struct module *first)
{
	unsigned tries = chance(85) ? 50 : 0;

	for (; tries; tries--) {
		const char *name = m->name;

		*m = *first;
		m->name = name;
		m->out = m->planar ? 32 * (1 + below(3)) : 1 + below(70);
		m->has_zeros = !(c->sym && c->says_sym && chance(25));
		if (m->order == GROUPS_ABSENT || m->order == GROUPS_TRIVIAL)
			m->order =
			    m->in % 32 == 0 && c->family != FAMILY_AUTOROUND && chance(30) ? GROUPS_TRIVIAL : m->order;
		m->group_of = m->order == first->order && chance(90) ? first->group_of : NULL;
		if (is_decidable(c, m))
			return;
	}
	m->group_of = NULL;
	do
		draw_shape(c, m);
	while (!is_decidable(c, m));
}

/* A part that was not quantized. */
static const struct stored *add_plain_part(struct checkpoint *c, const char *name, uint64_t in)
{
	const struct format *f = chance(70) ? &BF16 : PICK(formats);
	const uint64_t shape[] = {1 + below(40), in};
	struct stored *s = add_stored(c, f->name, format_bytes(f) * 8, 2, shape);

	s->name = say("%s.weight", name);
	s->passes = true;
	s->data = take(s->bytes);
	for (uint64_t at = 0; at < s->bytes; at += format_bytes(f))
		store(s->data + at, usual_bits(f), format_bytes(f));
	return s;
}

static void add_family(struct checkpoint *c)
{
	static const char *const names[][PARTS_MAX] = {{"q_proj", "k_proj", "v_proj"}, {"gate_proj", "up_proj"}};
	static const char *const joined[] = {"self_attn.qkv_proj", "mlp.gate_up_proj"}, *const at[] = {
											    "self_attn", "mlp"};
	const size_t kind = below(2);
	const unsigned layer = 100 + c->family_count, plain = chance(10) ? 100 : 7;
	struct family_of_parts *f = &c->families[c->family_count++];
	const struct module *first = NULL;
	const uint64_t in = 1 + below(90);

	*f = (struct family_of_parts){.joined = say("model.layers.%u.%s", layer, joined[kind])};
	for (; f->count < PARTS_MAX && names[kind][f->count]; f->count++) {
		struct part *p = &f->parts[f->count];
		struct module *m = &c->modules[c->module_count];

		p->name = say("model.layers.%u.%s.%s", layer, at[kind], names[kind][f->count]);
		if (chance(plain)) {
			p->stored = add_plain_part(c, p->name, first ? first->in : in);
			continue;
		}
		c->module_count++;
		*m = (struct module){.name = p->name};
		if (first)
			draw_sibling(c, m, first);
		else
			do
				draw_shape(c, m);
			while (!is_decidable(c, m));
		first = first ? first : m;
		p->module = m;
		p->bias = fill_module(c, m);
	}
}

/* ---- everything else in a checkpoint ---- */

static const struct {
	const char *name;
	unsigned bits;
} other_dtypes[] = {
    {"I64", 64}, {"U8", 8}, {"BOOL", 8}, {"F8_E4M3", 8}, {"F8_E5M2", 8}, {"I32", 32}, {"U16", 16}, {"I8", 8}};

/* Scalars, empty tensors, odd ones; a shape of any length may hold a 0. */
static int draw_dims(uint64_t shape[3])
{
	const int ndim = (int)below(4);

	for (int i = 0; i < ndim; i++)
		shape[i] = chance(3) ? 0 : 1 + below(i == 1 && chance(3) ? 5000 : 24);
	return ndim;
}

static void add_passing(struct checkpoint *c)
{
	static const char *const names[] = {"model.norm.weight", "model.embed_tokens.weight",
	    "visual.\xe2\x82\xac.weight", "model.layers.0.input_layernorm.weight", "act.scales", "a", "Z.b\"\\/",
	    "model.rotary.inv_freq", "~last"};
	const struct format *f = chance(65) ? PICK(formats) : NULL;
	const size_t other = below(COUNT(other_dtypes));
	const char *name = PICK(names), *before = chance(50) ? "t" : "", *after = chance(50) ? "." : "";
	uint64_t shape[3];
	const int ndim = draw_dims(shape);
	struct stored *s = add_stored(c, f ? f->name : other_dtypes[other].name,
	    f ? format_bytes(f) * 8 : other_dtypes[other].bits, ndim, shape);

	/* A number before the name keeps names apart, whatever they end in. */
	s->name = say("%s%u%s%s", before, c->stored_count * 7, after, name);
	s->passes = true;
	s->data = take(s->bytes);
	for (uint64_t at = 0; f && at < s->bytes; at += format_bytes(f))
		store(s->data + at, chance(50) ? hard_bits(f) : usual_bits(f), format_bytes(f));
	for (uint64_t at = 0; !f && at < s->bytes; at++)
		s->data[at] = (unsigned char)any();
}

/* Tensors too large for one shard of a view. They are zeros, and neither the disk nor memory holds them. */
static void add_holes(struct checkpoint *c)
{
	const uint64_t count = 2 + below(3);

	c->has_holes = true;
	for (uint64_t i = 0; i < count; i++) {
		const unsigned bytes = chance(50) ? 1 : format_bytes(formats[below(3)]);
		const uint64_t shape[] = {(UINT64_C(1000000000) + below(2000000000)) / 1024 / bytes, 1024};
		struct stored *s = add_stored(c, bytes == 1 ? "U8" : bytes == 4 ? "F32" : "BF16", bytes * 8, 2, shape);

		s->name = say("large.%u.weight", (unsigned)below(4) * 10 + (unsigned)i);
		s->passes = true;
	}
}

/* Does the index name this file? */
static bool is_listed(const struct checkpoint *c, unsigned shard)
{
	for (unsigned i = 0; i < c->stored_count; i++)
		if (c->stored[i].shard == shard && !c->stored[i].stray)
			return true;
	return false;
}

/* In a listed shard, but not in the index: such a tensor counts. Or the index has it in another one: then it does not. */
static void add_stray(struct checkpoint *c)
{
	const struct stored *like = &c->stored[below(c->stored_count)];
	struct stored *s = add_stored(c, like->dtype, 8, 0, NULL);
	const unsigned shard = (like->shard + 1 + (unsigned)below(c->file_count)) % c->file_count;
	const bool unlisted = shard == like->shard || chance(30);

	*s = *like;
	s->shard = shard;
	if (unlisted)
		s->name = say("unlisted.%u", c->stored_count);
	s->stray = true;
	s->passes = unlisted && is_listed(c, shard);
	s->data = take(s->bytes);
	for (uint64_t at = 0; at < s->bytes; at++)
		s->data[at] = (unsigned char)any();
}

static int by_kind_and_name(const void *a, const void *b)
{
	const struct shown *x = a, *y = b;

	return !x->other != !y->other ? !y->other - !x->other : strcmp(x->name, y->name);
}

/* What the views must show, in order: floats, then the rest, each by name. */
static void expect_tensors(struct checkpoint *c)
{
	for (unsigned i = 0; i < c->module_count; i++) {
		struct shown *t = &c->shown[c->shown_count++];

		t->name = say("%s.weight", c->modules[i].name);
		t->module = &c->modules[i];
	}
	for (unsigned i = 0; i < c->stored_count; i++) {
		const struct stored *s = &c->stored[i];
		struct shown *t = &c->shown[c->shown_count];

		if (!s->passes)
			continue;
		t->name = s->name;
		t->stored = s;
		t->other = find_format(s->dtype) ? NULL : s->dtype;
		c->shown_count++;
	}
	qsort(c->shown, c->shown_count, sizeof(*c->shown), by_kind_and_name);
}

static const struct shown *find_shown(const struct checkpoint *c, const char *name)
{
	for (unsigned i = 0; i < c->shown_count; i++)
		if (strcmp(c->shown[i].name, name) == 0)
			return &c->shown[i];
	return NULL;
}

static uint64_t rows_of(const struct part *p)
{
	return p->module ? p->module->out : p->stored->shape[0];
}

static bool have_one_width(const struct family_of_parts *f)
{
	for (unsigned i = 1; i < f->count; i++) {
		const struct part *a = &f->parts[0], *b = &f->parts[i];

		if ((a->module ? a->module->in : a->stored->shape[1]) !=
		    (b->module ? b->module->in : b->stored->shape[1]))
			return false;
	}
	return true;
}

/* A weight or bias of a family, in the place of its parts. A family without any bias has none. */
static void expect_joined(struct checkpoint *c, const struct family_of_parts *f, const char *suffix)
{
	struct shown *t = &c->fused[c->fused_count], *parts = take(f->count * sizeof(*parts));
	bool any_there = false;

	for (unsigned i = 0; i < f->count; i++) {
		const struct shown *part = find_shown(c, say("%s%s", f->parts[i].name, suffix));

		parts[i] = part ? *part : (struct shown){.name = "", .zeros = rows_of(&f->parts[i])};
		any_there |= part != NULL;
		for (unsigned k = 0; part && k < c->fused_count; k++)
			if (strcmp(c->fused[k].name, part->name) == 0)
				c->fused[k--] = c->fused[--c->fused_count];
	}
	if (!any_there)
		return;
	t = &c->fused[c->fused_count++];
	*t = (struct shown){.name = say("%s%s", f->joined, suffix), .part_count = f->count, .parts = parts};
}

static void expect_fused(struct checkpoint *c)
{
	memcpy(c->fused, c->shown, sizeof(c->fused));
	c->fused_count = c->shown_count;
	for (unsigned i = 0; i < c->family_count; i++)
		if (have_one_width(&c->families[i])) {
			expect_joined(c, &c->families[i], ".weight");
			expect_joined(c, &c->families[i], ".bias");
		}
	qsort(c->fused, c->fused_count, sizeof(*c->fused), by_kind_and_name);
}

/* One file, several with an index, or several without. */
static void draw_files(struct checkpoint *c)
{
	static const char *const single[] = {"model.safetensors", "model.safetensors",
	    "gptq_model-4bit-128g.safetensors", "gptq_model-4bit--1g.safetensors", "x.safetensors"};
	static const char *const indexes[] = {
	    "model.safetensors.index.json", "gptq_model-4bit-128g.safetensors.index.json"};
	static const char *const schemes[] = {
	    "model-%05u-of-%05u.safetensors", "layers/%u/of%u.safetensors", "%u/w%u.safetensors"};
	const bool several = chance(50);
	const size_t scheme = below(COUNT(schemes));

	c->file_count = several ? 1 + (unsigned)below(SHARDS_MAX) : 1;
	c->index = several && (scheme || chance(85)) ? PICK(indexes) : NULL;
	c->files[0] = PICK(single);
	for (unsigned i = 0; several && i < c->file_count; i++)
		c->files[i] = say(schemes[scheme], i + 1, c->file_count);
}

static void draw_checkpoint(struct checkpoint *c)
{
	draw_settings(c);
	draw_files(c);
	if (chance(45))
		add_family(c);
	for (uint64_t i = 1 + below(3); i > 0; i--)
		add_module(c);
	for (uint64_t i = below(7); i > 0; i--)
		add_passing(c);
	if (below(400) == 0)
		add_holes(c);
	if (c->index && !c->has_holes && chance(15))
		add_stray(c);
	expect_tensors(c);
	expect_fused(c);
}

/* ---- writing ---- */

static _Noreturn void write_failed(const char *what)
{
	printf("%s: %s\n", what, strerror(errno));
	exit(1);
}

/* Opens dir/name for writing, after making the directories on its way. */
static int create(const struct checkpoint *c, const char *name)
{
	char path[512];
	size_t at = strlen(c->dir) + 1;
	int fd;

	snprintf(path, sizeof(path), "%s/%s", c->dir, name);
	for (char *slash = path + at; (slash = strchr(slash, '/')); slash++) {
		*slash = 0;
		if (mkdir(path, 0777) < 0 && errno != EEXIST)
			write_failed(path);
		*slash = '/';
	}
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	if (fd < 0)
		write_failed(path);
	return fd;
}

static void write_at(int fd, const void *data, uint64_t bytes, uint64_t at)
{
	if (bytes && pwrite(fd, data, bytes, (off_t)at) != (ssize_t)bytes)
		write_failed("pwrite");
}

static void write_text(const struct checkpoint *c, const char *name, const char *text)
{
	int fd = create(c, name);

	write_at(fd, text, strlen(text), 0);
	close(fd);
}

/* A text that grows by fprintf; closing it makes it whole. The case owns it. */
struct memo {
	FILE *out;
	char *text;
	size_t len;
};

static void memo_open(struct memo *memo)
{
	memo->out = open_memstream(&memo->text, &memo->len);
	if (!memo->out)
		write_failed("open_memstream");
}

static char *memo_close(struct memo *memo)
{
	char *text;

	fclose(memo->out);
	text = take(memo->len + 1);
	memcpy(text, memo->text, memo->len);
	free(memo->text);
	return text;
}

static void put_string(FILE *out, const char *s)
{
	putc('"', out);
	for (; *s; s++)
		fprintf(out, *s == '"' || *s == '\\' ? "\\%c" : "%c", *s);
	putc('"', out);
}

static void put_entry(FILE *out, const struct stored *s, uint64_t begin)
{
	put_string(out, s->name);
	fprintf(out, ":{\"dtype\":\"%s\",\"shape\":[", s->dtype);
	for (int i = 0; i < s->ndim; i++)
		fprintf(out, "%s%" PRIu64, i ? "," : "", s->shape[i]);
	fprintf(out, "],\"data_offsets\":[%" PRIu64 ",%" PRIu64 "]}", begin, begin + s->bytes);
}

/* The header may name tensors in another order than that of their data, and end at any byte. */
static char *shard_header(const struct checkpoint *c, unsigned shard, const uint64_t *begin)
{
	unsigned order[TENSORS_MAX];
	const char *between = "";
	struct memo memo;

	memo_open(&memo);
	putc('{', memo.out);
	if (chance(60)) {
		fprintf(memo.out, "\"__metadata__\":{\"format\":\"pt\",\"gptq_bits\":\"4\"}");
		between = ",";
	}
	shuffle(order, c->stored_count);
	for (unsigned i = 0; i < c->stored_count; i++)
		if (c->stored[order[i]].shard == shard) {
			fputs(between, memo.out);
			put_entry(memo.out, &c->stored[order[i]], begin[order[i]]);
			between = ",";
		}
	fprintf(memo.out, "}%*s", (int)below(17), "");
	return memo_close(&memo);
}

static void write_shard(const struct checkpoint *c, unsigned shard)
{
	unsigned order[TENSORS_MAX];
	uint64_t begin[TENSORS_MAX], at = 0;
	unsigned char length[8];
	char *header;
	int fd = create(c, c->files[shard]);

	shuffle(order, c->stored_count);
	for (unsigned i = 0; i < c->stored_count; i++)
		if (c->stored[order[i]].shard == shard) {
			begin[order[i]] = at;
			at += c->stored[order[i]].bytes;
		}
	header = shard_header(c, shard, begin);
	store(length, strlen(header), 8);
	write_at(fd, length, 8, 0);
	write_at(fd, header, strlen(header), 8);
	for (unsigned i = 0; i < c->stored_count; i++)
		if (c->stored[i].shard == shard && c->stored[i].data)
			write_at(fd, c->stored[i].data, c->stored[i].bytes, 8 + strlen(header) + begin[i]);
	if (ftruncate(fd, (off_t)(8 + strlen(header) + at)) < 0)
		write_failed("ftruncate");
	close(fd);
}

static void write_index(const struct checkpoint *c)
{
	unsigned order[TENSORS_MAX];
	const char *between = "";
	struct memo memo;

	memo_open(&memo);
	fprintf(memo.out, "{\"metadata\":{\"total_size\":12345},\"weight_map\":{");
	shuffle(order, c->stored_count);
	for (unsigned i = 0; i < c->stored_count; i++) {
		const struct stored *s = &c->stored[order[i]];

		if (s->stray)
			continue;
		fputs(between, memo.out);
		put_string(memo.out, s->name);
		putc(':', memo.out);
		put_string(memo.out, c->files[s->shard]);
		between = ",";
	}
	fprintf(memo.out, "}}");
	write_text(c, c->index, memo_close(&memo));
}

/* Overrides for modules that differ. They say what shapes say too; readers that go by them want them there. */
/* A name as a pattern that matches nothing else of this checkpoint. */
static void put_pattern(FILE *out, const char *name)
{
	char pattern[1024], *to = pattern;

	for (; *name; *to++ = *name++)
		if (strchr(".\\+*?[](){}^$|", *name))
			*to++ = '\\';
	strcpy(to, "$");
	put_string(out, pattern);
}

static void put_overrides(FILE *out, const struct checkpoint *c)
{
	fprintf(out, c->family == FAMILY_AUTOROUND ? ", \"extra_config\": {" : ", \"dynamic\": {\"-:.*router\": {}");
	for (unsigned i = 0; i < c->module_count; i++) {
		const struct module *m = &c->modules[i];

		fprintf(out, c->family == FAMILY_AUTOROUND ? i ? "," : "" : ",");
		(c->family == FAMILY_AUTOROUND ? put_string : put_pattern)(out, m->name);
		fprintf(out, ": {\"bits\": %u, \"group_size\": %" PRId64 "}", m->bits, m->group_size);
	}
	putc('}', out);
}

static void put_label(FILE *out, const char *key, const char *label)
{
	if (label)
		fprintf(out, ", \"%s\": \"%s\"", key, label);
}

static char *quant_text(const struct checkpoint *c)
{
	static const char *const methods[] = {"auto-round", "intel/auto-round"};
	static const char *const bits[] = {"bits", "w_bit", "wbits"};
	const char *method = c->family == FAMILY_AUTOROUND ? PICK(methods) : NULL;
	struct memo memo;

	memo_open(&memo);
	fprintf(memo.out, "{\"desc_act\": %s", chance(50) ? "true" : "false");
	put_label(memo.out, "checkpoint_format", c->checkpoint_format);
	put_label(memo.out, "format", c->format);
	put_label(memo.out, "packing_format", c->packing_format);
	if (method || chance(60))
		put_label(memo.out, method || chance(80) ? "quant_method" : "method", method ? method : "gptq");
	if (c->says_bits)
		fprintf(memo.out, ", \"%s\": %u", chance(80) ? "bits" : PICK(bits), c->bits);
	if (c->says_group_size)
		fprintf(memo.out, ", \"%sgroup_size\": %" PRId64, chance(90) ? "" : "q_", c->group_size);
	if (c->says_sym && chance(90))
		fprintf(memo.out, ", \"sym\": %s", c->sym ? "true" : "false");
	else if (c->says_sym)
		fprintf(memo.out, ", \"zero_point\": %s", c->sym ? "false" : "true");
	if (chance(30))
		fprintf(memo.out,
		    ", \"damp_percent\": 0.01, \"meta\": {\"quantizer\": [\"gptqmodel:7.7.0\"], \"v2\": false}");
	if (c->mixed)
		put_overrides(memo.out, c);
	putc('}', memo.out);
	return memo_close(&memo);
}

/* Another configuration, which contradicts all that this checkpoint's own says, and says no more. */
static char *other_text(const struct checkpoint *c)
{
	struct memo memo;

	memo_open(&memo);
	fprintf(memo.out, "{\"desc_act\": true");
	if (c->says_bits)
		fprintf(memo.out, ", \"bits\": 6");
	if (c->says_group_size)
		fprintf(memo.out, ", \"group_size\": 24");
	if (c->says_sym)
		fprintf(memo.out, ", \"sym\": %s", c->sym ? "false" : "true");
	if (c->checkpoint_format || c->format || c->packing_format)
		fprintf(memo.out, ", \"checkpoint_format\": \"gptq_p\"");
	putc('}', memo.out);
	return memo_close(&memo);
}

/* The first of these places that says a thing counts; what stands at later ones must not matter. */
static void write_configs(struct checkpoint *c)
{
	static const char *const files[] = {"quantize_config.json", "quant_config.json", "quantization_config.json"};
	const unsigned places = c->has_config ? 5 : 3;
	const char *at[5] = {NULL};
	unsigned first = (unsigned)below(places);

	if (c->family != FAMILY_NONE) {
		at[first] = c->quant_text = quant_text(c);
		for (unsigned i = first + 1; i < places; i++)
			at[i] = chance(10) ? other_text(c) : NULL;
	}
	for (unsigned i = 0; i < 3; i++)
		if (at[i])
			write_text(c, files[i], at[i]);
	if (c->has_config) {
		struct memo memo;

		memo_open(&memo);
		fprintf(memo.out, "{\"rope_theta\": 10000.0%s", chance(50) ? ", \"model_type\": \"llama\"" : "");
		if (at[3])
			fprintf(memo.out, ", \"quantization_config\": %s", at[3]);
		fprintf(memo.out, "%s", chance(50) ? ", \"torch_dtype\": \"bfloat16\"" : "");
		if (at[4])
			fprintf(memo.out, ", \"text_config\": {\"quantization_config\": %s}", at[4]);
		fprintf(memo.out, "}");
		write_text(c, "config.json", memo_close(&memo));
	}
}

/* Files beside the weights that must not be taken for weights. */
static void write_decoys(const struct checkpoint *c)
{
	if (chance(10))
		write_text(c, "adapter_model.safetensors", "no weights of this model");
	if (chance(10))
		write_text(c, ".hidden.safetensors", "");
	if (strcmp(c->files[0], "model.safetensors") == 0 && chance(20)) {
		write_text(c, "model.safetensors.index.json", "{\"weight_map\": {\"a\": \"gone.safetensors\"}}");
		write_text(c, "pytorch_model.safetensors", "left over");
	}
}

static void write_checkpoint(struct checkpoint *c)
{
	write_configs(c);
	/* A file that no index lists is no shard, and would pass as it is. */
	for (unsigned i = 0; i < c->file_count; i++)
		if (!c->index || is_listed(c, i))
			write_shard(c, i);
	if (c->index)
		write_index(c);
	write_decoys(c);
	write_text(c, "tokenizer.json", "{}");
}

/* ---- reading ---- */

/* A virtual file, in memory as far as it was read; what is too large for that is a hole here too. */
struct image {
	struct gptqfs *m;
	uint64_t ino, size;
	unsigned char *bytes;
};

/* Reads bytes into a buffer, in as many calls as it takes, of random sizes if asked to. */
static bool read_range(const struct image *image, uint64_t at, uint64_t size, bool pieces, unsigned char *to)
{
	while (size) {
		const uint64_t most = size < GPTQFS_READ_MAX ? size : GPTQFS_READ_MAX;
		const size_t n = pieces ? 1 + below(most) : most;
		struct gptqfs_reply reply;
		size_t got = 0;

		if (!CHECK(gptqfs_read(image->m, image->ino, at, n, &reply) == 0))
			return false;
		for (int i = 0; i < reply.count && got + reply.iov[i].iov_len <= n; i++) {
			memcpy(to + got, reply.iov[i].iov_base, reply.iov[i].iov_len);
			got += reply.iov[i].iov_len;
		}
		gptqfs_read_done(image->m, &reply);
		if (!CHECK(got == n && reply.bytes == n))
			return false;
		at += n, to += n, size -= n;
	}
	return true;
}

/* Fills part of an image: at once, or cut into pieces that are read in any order. */
static bool read_part(const struct image *image, uint64_t at, uint64_t size)
{
	uint64_t cuts[10] = {0};
	unsigned order[9], n = 1;
	bool good = true;

	if (chance(40))
		return read_range(image, at, size, false, image->bytes + at);
	while (n < 9 && cuts[n - 1] < size) {
		cuts[n] = cuts[n - 1] + 1 + below((size - cuts[n - 1] + 2) / 2);
		n++;
	}
	if (cuts[n - 1] > size)
		n--;
	cuts[n] = size;
	shuffle(order, n);
	for (unsigned i = 0; good && i < n; i++)
		good = read_range(image, at + cuts[order[i]], cuts[order[i] + 1] - cuts[order[i]], chance(30),
		    image->bytes + at + cuts[order[i]]);
	return good;
}

static bool image_open(struct image *image, struct gptqfs *m, uint64_t dir, const char *name)
{
	struct gptqfs_reply reply;
	struct stat st;

	if (gptqfs_lookup(m, dir, name, &st))
		return false;
	*image = (struct image){m, st.st_ino, (uint64_t)st.st_size, MAP_FAILED};
	image->bytes =
	    mmap(NULL, image->size + 1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (!CHECK(image->bytes != MAP_FAILED))
		return false;
	if (CHECK(gptqfs_read(m, st.st_ino, image->size + below(3), 9999, &reply) == 0)) {
		CHECK(reply.bytes == 0);
		gptqfs_read_done(m, &reply);
	}
	return true;
}

static void image_close(struct image *image)
{
	munmap(image->bytes, image->size + 1);
}

/* ---- comparing ---- */

struct check {
	const struct checkpoint *c;
	const struct shown *shown; /* [shown_count] what the view must have */
	unsigned shown_count;
	struct gptqfs *m;
	const struct format *view;
	uint64_t dir;
	unsigned seen;          /* tensors found so far; those of all shards stand in one order */
	uint64_t data_bytes;    /* of the shards so far */
	const struct json *map; /* weight_map, or NULL if there is no index */
};

static uint64_t elements_of(const struct shown *t)
{
	uint64_t n = 1;

	if (t->part_count) {
		n = 0;
		for (unsigned i = 0; i < t->part_count; i++)
			n += elements_of(&t->parts[i]);
		return n;
	}
	if (t->zeros)
		return t->zeros;
	if (t->module)
		return t->module->in * t->module->out;
	for (int i = 0; i < t->stored->ndim; i++)
		n *= t->stored->shape[i];
	return n;
}

static uint64_t shown_bytes(const struct shown *t, const struct format *view)
{
	return t->other ? t->stored->bytes : elements_of(t) * format_bytes(view);
}

/* The bytes that a view must have for a tensor. */
static unsigned char *expected_bytes(const struct shown *t, const struct format *view)
{
	const unsigned to = format_bytes(view);
	const struct format *f = t->stored && !t->other ? find_format(t->stored->dtype) : NULL;
	const uint64_t n = elements_of(t);
	unsigned char *bytes, *at;

	if (t->other || (f && f == view))
		return t->stored->data;
	bytes = at = take(n * to);
	for (unsigned i = 0; i < t->part_count; i++) {
		memcpy(at, expected_bytes(&t->parts[i], view), elements_of(&t->parts[i]) * to);
		at += elements_of(&t->parts[i]) * to;
	}
	if (t->part_count || t->zeros)
		return bytes;
	for (uint64_t i = 0; i < n; i++) {
		const double x = t->module ? t->module->weights[i]
		                           : decode(f, load(t->stored->data + i * format_bytes(f), format_bytes(f)));

		store(bytes + i * to, encode(view, x), to);
	}
	return bytes;
}

static bool compare_hole(const struct image *image, uint64_t at, uint64_t size)
{
	unsigned char got[5000];
	bool good = true;

	for (int i = 0; i < 8; i++) {
		const uint64_t n = 1 + below(sizeof(got)), from = i == 0 ? 0 : i == 1 ? size - n : below(size - n + 1);

		good &= read_range(image, at + from, n, false, got);
		for (uint64_t k = 0; k < n; k++)
			good &= got[k] == 0;
	}
	return good;
}

static bool compare_bytes(const struct check *k, const struct image *image, const struct shown *t, uint64_t at)
{
	const uint64_t size = shown_bytes(t, k->view);
	const unsigned char *expected;
	uint64_t first = 0;

	if (t->stored && !t->stored->data)
		return compare_hole(image, at, size);
	if (k->c->has_holes && !read_part(image, at, size))
		return false;
	expected = expected_bytes(t, k->view);
	if (size == 0 || memcmp(image->bytes + at, expected, size) == 0)
		return true;
	while (image->bytes[at + first] == expected[first])
		first++;
	printf("  byte %" PRIu64 " of %" PRIu64 ": expected %02x, found %02x\n", first, size, expected[first],
	    image->bytes[at + first]);
	return false;
}

static int64_t number(const struct json *value)
{
	int64_t n;

	return json_integer(value, &n) ? n : -1;
}

static bool same_shape(const struct shown *t, const struct json *shape)
{
	if (t->part_count) {
		const struct shown *first = &t->parts[0];
		const uint64_t columns = first->module                               ? first->module->in
		                         : first->stored && first->stored->ndim == 2 ? first->stored->shape[1]
		                                                                     : 1;
		const bool is_bias = strcmp(t->name + strlen(t->name) - 5, ".bias") == 0;

		return json_count(shape) == (is_bias ? 1 : 2) &&
		       number(json_at(shape, 0)) == (int64_t)(elements_of(t) / columns) &&
		       (is_bias || number(json_at(shape, 1)) == (int64_t)columns);
	}
	if (t->module)
		return json_count(shape) == 2 && number(json_at(shape, 0)) == (int64_t)t->module->out &&
		       number(json_at(shape, 1)) == (int64_t)t->module->in;
	if (json_count(shape) != (size_t)t->stored->ndim)
		return false;
	for (int i = 0; i < t->stored->ndim; i++)
		if (number(json_at(shape, (size_t)i)) != (int64_t)t->stored->shape[i])
			return false;
	return true;
}

/* One entry of a header against the tensor whose turn it is. Leaves in *at where its data ends. */
static bool check_tensor(struct check *k, const struct image *image, const struct json *entry, uint64_t data,
    uint64_t *at)
{
	const struct json *offsets = json_get(entry, "data_offsets");
	const char *dtype = json_str(json_get(entry, "dtype"));
	const struct shown *t = &k->shown[k->seen];
	const uint64_t begin = *at;
	bool good;

	if (!CHECK(k->seen < k->shown_count))
		return false;
	k->seen++;
	*at = begin + shown_bytes(t, k->view);
	good = CHECK(strcmp(json_key(entry), t->name) == 0);
	good = good && CHECK(dtype && strcmp(dtype, t->other ? t->other : k->view->name) == 0);
	good = good && CHECK(same_shape(t, json_get(entry, "shape")));
	good =
	    good && CHECK(number(json_at(offsets, 0)) == (int64_t)begin && number(json_at(offsets, 1)) == (int64_t)*at);
	good = good && CHECK(data + *at <= image->size);
	good = good && CHECK(compare_bytes(k, image, t, data + begin));
	if (!good)
		printf("  tensor %s, expected %s, view %s\n", json_key(entry), t->name, k->view->name);
	return good;
}

static void check_tensors(struct check *k, const struct image *image, const char *name, const struct json *header,
    uint64_t data)
{
	const struct json *e = json_first(header);
	uint64_t at = 0;
	unsigned count = 0;

	for (; e; e = json_after(e)) {
		const char *file = json_str(json_get(k->map, json_key(e)));

		if (strcmp(json_key(e), "__metadata__") == 0)
			continue;
		if (k->map)
			CHECK(file && strcmp(file, name) == 0);
		if (!check_tensor(k, image, e, data, &at))
			return;
		count++;
	}
	CHECK(count && data + at == image->size);
	CHECK(at <= SHARD_BYTES || count == 1);
	k->data_bytes += at;
}

static bool check_shard(struct check *k, const char *name)
{
	struct image image;
	struct gptqfs_error err;
	struct json *header = NULL;
	struct json_text text;
	uint64_t len;

	if (!image_open(&image, k->m, k->dir, name))
		return false;
	if (CHECK(image.size >= 8) && read_part(&image, 0, k->c->has_holes ? 8 : image.size)) {
		len = load(image.bytes, 8);
		text = (struct json_text){(char *)image.bytes + 8, len};
		if (CHECK(len <= image.size - 8 && (8 + len) % 4096 == 0) &&
		    (!k->c->has_holes || read_part(&image, 8, len)) && CHECK(json_check(text, name, &err) == 0) &&
		    CHECK(json_parse(text, name, &header, &err) == 0))
			check_tensors(k, &image, name, header, 8 + len);
	}
	json_free(header);
	image_close(&image);
	return true;
}

/* Reads a whole small file and parses it. */
static struct json *read_json(struct check *k, const char *name)
{
	struct gptqfs_error err;
	struct json *json = NULL;
	struct json_text text;
	struct image image;

	if (!image_open(&image, k->m, k->dir, name))
		return NULL;
	text = (struct json_text){(char *)image.bytes, image.size};
	if (read_part(&image, 0, image.size) && CHECK(json_check(text, name, &err) == 0))
		CHECK(json_parse(text, name, &json, &err) == 0);
	image_close(&image);
	return json;
}

/* Is more than one shard needed? Only then there are numbers and an index. */
static unsigned count_shards(const struct check *k)
{
	uint64_t bytes = 0;
	unsigned shards = 1;

	for (unsigned i = 0; i < k->shown_count; i++) {
		const uint64_t more = shown_bytes(&k->shown[i], k->view);

		shards += bytes && bytes + more > SHARD_BYTES;
		bytes = bytes && bytes + more > SHARD_BYTES ? more : bytes + more;
	}
	return shards;
}

static void check_weights(struct check *k)
{
	const unsigned shards = count_shards(k);
	struct json *index = read_json(k, "model.safetensors.index.json");
	char name[64];

	k->map = json_get(index, "weight_map");
	if (CHECK((shards > 1) == (index != NULL)) && !index)
		CHECK(check_shard(k, "model.safetensors"));
	for (unsigned i = 1; index && i <= shards; i++) {
		snprintf(name, sizeof(name), "model-%05u-of-%05u.safetensors", i, shards);
		CHECK(check_shard(k, name));
	}
	CHECK(k->seen == k->shown_count);
	if (index) {
		CHECK(json_count(k->map) == k->shown_count);
		CHECK(number(json_get(json_get(index, "metadata"), "total_size")) == (int64_t)k->data_bytes);
	}
	json_free(index);
}

/* Nothing in a view says "quantized", and its type is the view's. */
static void check_config(struct check *k)
{
	static const char *const hidden[] = {"quantize_config.json", "quant_config.json", "quantization_config.json",
	    "adapter_model.safetensors", "x.safetensors", "layers", "1"};
	const char *type = k->view == &F16 ? "float16" : k->view == &BF16 ? "bfloat16" : "float32";
	struct json *config = read_json(k, "config.json");
	struct stat st;

	for (size_t i = 0; i < COUNT(hidden); i++)
		CHECK(gptqfs_lookup(k->m, k->dir, hidden[i], &st) == -ENOENT);
	CHECK(gptqfs_lookup(k->m, k->dir, "tokenizer.json", &st) == 0 && st.st_size == 2);
	if (!CHECK(k->c->has_config == (config != NULL)) || !config)
		return;
	CHECK(!json_get(config, "quantization_config"));
	CHECK(!json_get(json_get(config, "text_config"), "quantization_config"));
	CHECK(json_str(json_get(config, "torch_dtype")) && !strcmp(json_str(json_get(config, "torch_dtype")), type));
	json_free(config);
}

/* A directory below another, or 0. */
static uint64_t find_directory(struct gptqfs *m, uint64_t parent, const char *name)
{
	struct stat st;

	return CHECK(gptqfs_lookup(m, parent, name, &st) == 0 && S_ISDIR(st.st_mode)) ? st.st_ino : 0;
}

static void check_view(const struct checkpoint *c, struct gptqfs *m, const struct format *view, bool fused,
    bool is_root)
{
	const char *name = view == &F16 ? "fp16" : view == &BF16 ? "bf16" : "fp32";
	struct check k = {.c = c,
	    .shown = fused ? c->fused : c->shown,
	    .shown_count = fused ? c->fused_count : c->shown_count,
	    .m = m,
	    .view = view,
	    .dir = GPTQFS_ROOT};

	if (!is_root && fused)
		k.dir = find_directory(m, k.dir, "fused");
	if (!is_root && k.dir)
		k.dir = find_directory(m, k.dir, name);
	if (!k.dir)
		return;
	check_weights(&k);
	check_config(&k);
}

/* ---- tensors/ ---- */

/* Opens NAME<suffix> of a tensor. */
static bool open_file_of(const struct check *k, const struct shown *t, const char *suffix, struct image *image)
{
	const size_t len = strlen(t->name), tail = strlen(".weight");
	const bool weight = len > tail && strcmp(t->name + len - tail, ".weight") == 0;
	struct text path = {0};
	struct stat st = {.st_ino = k->dir};
	char *part, *slash;
	bool good;

	escape_path(t->name, weight ? len - tail : len, &path);
	text_put(&path, suffix, strlen(suffix) + 1);
	if (path.failed)
		abort();
	for (part = path.data; (slash = strchr(part, '/')); part = slash + 1) {
		*slash = 0;
		if (gptqfs_lookup(k->m, st.st_ino, part, &st))
			break;
	}
	good = !slash && image_open(image, k->m, st.st_ino, part);
	text_free(&path);
	return good;
}

/* NAME.npy or NAME.t.npy: what is described, and the bytes. */
static void check_array(const struct check *k, const struct shown *t, bool transposed)
{
	const struct check as = {.c = k->c, .view = k->view == &BF16 ? &F32 : k->view};
	const char *dtype = t->other ? t->other : as.view->name;
	const int ndim = t->module ? 2 : t->stored->ndim;
	const uint64_t linear[] = {t->module ? t->module->out : 0, t->module ? t->module->in : 0};
	const struct npy npy = {
	    dtype_parse(dtype, strlen(dtype)), t->module ? linear : t->stored->shape, ndim, transposed};
	struct text header = {0};
	struct image image;
	bool good;

	if (!open_file_of(k, t, transposed ? ".t.npy" : ".npy", &image)) {
		CHECK(!npy_descr(npy.dtype) || (transposed && ndim != 2));
		return;
	}
	npy_write(&npy, &header);
	good = CHECK(npy_descr(npy.dtype) && (!transposed || ndim == 2)) &&
	       CHECK(image.size == header.len + shown_bytes(t, as.view)) &&
	       read_part(&image, 0, k->c->has_holes ? header.len : image.size) &&
	       CHECK(memcmp(image.bytes, header.data, header.len) == 0) &&
	       CHECK(compare_bytes(&as, &image, t, header.len));
	if (!good)
		printf("  tensor %s, array of %s\n", t->name, dtype);
	text_free(&header);
	image_close(&image);
}

/* NAME.safetensors: the tensor comes first. */
static void check_own_file(struct check *k, const struct shown *t)
{
	struct gptqfs_error err;
	struct json *header = NULL;
	struct json_text text;
	struct image image;
	uint64_t len, at = 0;

	if (!CHECK(open_file_of(k, t, ".safetensors", &image)))
		return;
	if (CHECK(image.size >= 8) && read_part(&image, 0, k->c->has_holes ? 8 : image.size)) {
		len = load(image.bytes, 8);
		text = (struct json_text){(char *)image.bytes + 8, len};
		if (CHECK(len <= image.size - 8 && (8 + len) % 4096 == 0) &&
		    (!k->c->has_holes || read_part(&image, 8, len)) &&
		    CHECK(json_parse(text, t->name, &header, &err) == 0) && CHECK(json_count(header) <= 3))
			check_tensor(k, &image, json_after(json_first(header)), 8 + len, &at);
		CHECK(json_count(header) == 3 || 8 + len + at == image.size);
	}
	json_free(header);
	image_close(&image);
}

static void check_tensors_view(const struct checkpoint *c, struct gptqfs *m, const struct format *type, bool is_root)
{
	struct check k = {.c = c, .m = m, .view = type, .dir = GPTQFS_ROOT};

	if (!is_root)
		k.dir = find_directory(m, k.dir, "tensors");
	if (!k.dir)
		return;
	k.shown = c->shown;
	k.shown_count = c->shown_count;
	for (unsigned i = 0; i < c->shown_count; i++) {
		k.seen = i;
		check_own_file(&k, &c->shown[i]);
		check_array(&k, &c->shown[i], false);
		check_array(&k, &c->shown[i], true);
	}
	/* Joined ones stand beside their parts. */
	k.shown = c->fused;
	k.shown_count = c->fused_count;
	for (unsigned i = 0; i < c->fused_count; i++) {
		k.seen = i;
		if (c->fused[i].part_count)
			check_own_file(&k, &c->fused[i]);
	}
}

/* ---- the packed view ---- */

/* The view's one shard and its configuration, and how many of its tensors were compared. */
struct packed {
	const struct checkpoint *c;
	struct check k; /* reads files */
	struct image image;
	struct json *header, *config;
	uint64_t data; /* where tensors begin */
	unsigned seen;
};

/* A tensor of the header that has this type and shape; its bytes, or NULL. */
static const unsigned char *packed_bytes(struct packed *p, const char *name, const char *dtype, int ndim,
    const uint64_t *shape)
{
	const struct json *entry = json_get(p->header, name), *found = json_get(entry, "shape");
	const char *type = json_str(json_get(entry, "dtype"));
	bool good = CHECK(entry && type && strcmp(type, dtype) == 0) && CHECK(json_count(found) == (size_t)ndim);

	for (int i = 0; good && i < ndim; i++)
		good = CHECK(number(json_at(found, (size_t)i)) == (int64_t)shape[i]);
	if (!good) {
		printf("  packed tensor %s\n", name);
		return NULL;
	}
	p->seen++;
	return p->image.bytes + p->data + number(json_at(json_get(entry, "data_offsets"), 0));
}

static unsigned get_code(const struct module *m, const unsigned char *data, uint64_t first, uint64_t step,
    uint64_t index)
{
	unsigned code = 0;

	for (unsigned bit = 0; bit < m->bits; bit++) {
		const uint64_t at = place(m, index, bit), element = first + at / m->word_bits * step;

		code |= (data[element * m->word_bits / 8 + at % m->word_bits / 8] >> at % 8 & 1u) << bit;
	}
	return code;
}

/* Modules side by side: one, or those of a family. */
struct row {
	const char *name;
	const struct module *parts[PARTS_MAX];
	unsigned count;
	uint64_t out;
};

static void compare_codes(struct packed *p, const struct row *r)
{
	const struct module *m = r->parts[0];
	const uint64_t shape[] = {div_up(m->in * m->bits, m->word_bits), r->out};
	const unsigned char *data = packed_bytes(p, say("%s.qweight", r->name), word_dtype(m), 2, shape);
	uint64_t column = 0, wrong = 0;

	for (unsigned i = 0; data && i < r->count; column += r->parts[i++]->out)
		for (uint64_t k = 0; k < m->in; k++)
			for (uint64_t n = 0; n < r->parts[i]->out; n++)
				wrong += get_code(m, data, column + n, r->out, k) !=
				         r->parts[i]->codes[k * r->parts[i]->out + n];
	CHECK(wrong == 0);
}

static void compare_zeros(struct packed *p, const struct row *r)
{
	const struct module *m = r->parts[0];
	const bool less = !p->c->v2 && !m->planar;
	const uint64_t words = div_up(r->out * m->bits, m->word_bits), shape[] = {m->groups, words};
	const unsigned char *stored = packed_bytes(p, say("%s.qzeros", r->name), word_dtype(m), 2, shape);
	unsigned char *data = take(m->groups * words * m->word_bits / 8);
	uint64_t column = 0, wrong = 0, ones = 0;

	if (!stored)
		return;
	for (unsigned at = 0; less && m->bits != 3 && at < m->word_bits; at += m->bits)
		ones |= UINT64_C(1) << at;
	for (uint64_t i = 0; i < m->groups * words; i++)
		store(data + i * m->word_bits / 8, load(stored + i * m->word_bits / 8, m->word_bits / 8) + ones,
		    m->word_bits / 8);
	for (unsigned i = 0; i < r->count; column += r->parts[i++]->out)
		for (uint64_t g = 0; g < m->groups; g++)
			for (uint64_t n = 0; n < r->parts[i]->out; n++) {
				const unsigned code = get_code(m, data, g * words, 1, column + n);

				wrong += (less && m->bits == 3 ? (code + 1) & 7 : code) !=
				         r->parts[i]->zeros[g * r->parts[i]->out + n];
			}
	CHECK(wrong == 0);
}

static void compare_scales(struct packed *p, const struct row *r)
{
	const struct module *m = r->parts[0];
	const unsigned bytes = format_bytes(m->scale_format);
	const uint64_t shape[] = {m->groups, r->out};
	const unsigned char *data = packed_bytes(p, say("%s.scales", r->name), m->scale_format->name, 2, shape);
	uint64_t column = 0, wrong = 0;

	for (unsigned i = 0; data && i < r->count; column += r->parts[i++]->out)
		for (uint64_t g = 0; g < m->groups; g++)
			for (uint64_t n = 0; n < r->parts[i]->out; n++)
				wrong += load(data + (g * r->out + column + n) * bytes, bytes) !=
				         r->parts[i]->scales[g * r->parts[i]->out + n];
	CHECK(wrong == 0);
}

/* There if one of the parts has it. */
static void compare_g_idx(struct packed *p, const struct row *r)
{
	const struct module *m = r->parts[0];
	const char *name = say("%s.g_idx", r->name);
	const unsigned char *data;
	bool stored = false;
	uint64_t wrong = 0;

	for (unsigned i = 0; i < r->count; i++)
		stored |= r->parts[i]->order != GROUPS_ABSENT;
	if (!CHECK(stored == (json_get(p->header, name) != NULL)) || !stored)
		return;
	data = packed_bytes(p, name, "I32", 1, &m->in);
	for (uint64_t k = 0; data && k < m->in; k++)
		wrong += load(data + k * 4, 4) != m->group_of[k];
	CHECK(wrong == 0);
}

/* What the configuration says of a module, by a pattern for just its name or for all. */
static const struct json *said(const struct packed *p, const char *name, const char *key)
{
	char pattern[300] = "+:^", *to = pattern + 3;
	const struct json *own;

	for (; *name; *to++ = *name++)
		if (strchr(".\\+*?[](){}^$|", *name))
			*to++ = '\\';
	strcpy(to, "$");
	own = json_get(json_get(json_get(p->config, "dynamic"), pattern), key);
	return own ? own : json_get(p->config, key);
}

static void compare_config(struct packed *p, const struct row *r)
{
	const struct module *m = r->parts[0];
	const char *word = json_str(said(p, r->name, "pack_dtype"));
	bool middle = true;

	for (unsigned i = 0; i < r->count; i++)
		for (uint64_t z = 0; z < m->groups * r->parts[i]->out; z++)
			middle &= r->parts[i]->zeros[z] == 1u << (m->bits - 1);
	CHECK(number(said(p, r->name, "bits")) == m->bits);
	/* Groups of any size have no size. */
	CHECK(m->order == GROUPS_ARBITRARY ||
	      div_up(m->in, whole_size(number(said(p, r->name, "group_size")), m->in)) == m->groups);
	CHECK(word && strcmp(word, say("int%u", m->word_bits)) == 0);
	CHECK(!json_bool(said(p, r->name, "sym"), true) || middle || p->c->sym);
}

static void compare_row(struct packed *p, const struct row *r)
{
	const unsigned failed = test_failed;

	compare_codes(p, r);
	compare_zeros(p, r);
	compare_scales(p, r);
	compare_g_idx(p, r);
	compare_config(p, r);
	if (test_failed > failed)
		printf("  packed module %s\n", r->name);
}

/* A tensor that is not quantized: as stored, or those of parts one after the other. */
static void compare_plain(struct packed *p, const struct shown *t)
{
	const struct stored *first = t->stored;
	uint64_t shape[3], at = 0;
	const unsigned char *data;

	for (unsigned i = 0; i < t->part_count; i++)
		first = first ? first : t->parts[i].stored;
	memcpy(shape, first->shape, sizeof(shape));
	for (unsigned i = 0; i < t->part_count; i++)
		shape[0] = (i ? shape[0] : 0) + (t->parts[i].stored ? t->parts[i].stored->shape[0] : t->parts[i].zeros);
	data = packed_bytes(p, t->name, first->dtype, first->ndim, shape);
	if (data && !t->part_count)
		CHECK(memcmp(data, first->data, first->bytes) == 0);
	for (unsigned i = 0; data && i < t->part_count; i++) {
		const struct shown *part = &t->parts[i];
		const uint64_t bytes =
		    part->stored ? part->stored->bytes : part->zeros * format_bytes(find_format(first->dtype));
		const unsigned char *zeros = take(bytes);

		CHECK(memcmp(data + at, part->stored ? part->stored->data : zeros, bytes) == 0);
		at += bytes;
	}
}

/* Do the parts make one module? */
static bool alike(const struct module *a, const struct module *b)
{
	return a->bits == b->bits && a->word_bits == b->word_bits && a->scale_format == b->scale_format &&
	       a->groups == b->groups && memcmp(a->group_of, b->group_of, a->in * sizeof(*a->group_of)) == 0;
}

static bool is_packed_joined(const struct family_of_parts *f)
{
	const struct part *first = &f->parts[0];
	const struct stored *bias = NULL;

	if (!have_one_width(f))
		return false;
	for (unsigned i = 0; i < f->count; i++) {
		const struct part *p = &f->parts[i];

		if (!first->module != !p->module)
			return false;
		if (p->module ? !alike(first->module, p->module) : strcmp(first->stored->dtype, p->stored->dtype) != 0)
			return false;
		if (bias && p->bias && strcmp(bias->dtype, p->bias->dtype) != 0)
			return false;
		bias = bias ? bias : p->bias;
	}
	return true;
}

static const struct family_of_parts *family_of(const struct checkpoint *c, const char *name)
{
	for (unsigned i = 0; i < c->family_count; i++)
		for (unsigned k = 0; k < c->families[i].count; k++)
			if (strncmp(name, c->families[i].parts[k].name, strlen(c->families[i].parts[k].name)) == 0)
				return &c->families[i];
	return NULL;
}

static void compare_family(struct packed *p, const struct family_of_parts *f)
{
	struct row row = {.name = f->joined, .count = f->count};

	for (unsigned i = 0; i < f->count && f->parts[i].module; i++) {
		row.parts[i] = f->parts[i].module;
		row.out += f->parts[i].module->out;
	}
	if (row.out)
		compare_row(p, &row);
	/* The bias, and the weight if it is not quantized, are as in the fused views. */
	for (unsigned i = 0; i < p->c->fused_count; i++) {
		const struct shown *t = &p->c->fused[i];

		if (t->part_count && strncmp(t->name, f->joined, strlen(f->joined)) == 0 && !t->parts[0].module)
			compare_plain(p, t);
	}
}

static void compare_packed(struct packed *p)
{
	for (unsigned i = 0; i < p->c->family_count; i++)
		if (is_packed_joined(&p->c->families[i]))
			compare_family(p, &p->c->families[i]);
	for (unsigned i = 0; i < p->c->shown_count; i++) {
		const struct shown *t = &p->c->shown[i];
		const struct family_of_parts *f = family_of(p->c, t->name);

		if (f && is_packed_joined(f))
			continue;
		if (t->module)
			compare_row(p, &(struct row){t->module->name, {t->module}, 1, t->module->out});
		else
			compare_plain(p, t);
	}
	/* And nothing else, but __metadata__. */
	CHECK(json_count(p->header) == p->seen + 1);
}

static void check_packed(const struct checkpoint *c, struct gptqfs *m, uint64_t dir)
{
	struct packed p = {.c = c, .k = {.c = c, .m = m, .dir = dir}};
	struct gptqfs_error err;
	struct json_text text;

	p.config = read_json(&p.k, "quantize_config.json");
	if (CHECK(p.config) && CHECK(image_open(&p.image, m, dir, "model.safetensors"))) {
		p.data = read_part(&p.image, 0, p.image.size) ? 8 + load(p.image.bytes, 8) : 8;
		text = (struct json_text){(char *)p.image.bytes + 8, p.data - 8};
		if (CHECK(p.data % 4096 == 0) && CHECK(json_parse(text, "packed", &p.header, &err) == 0))
			compare_packed(&p);
		image_close(&p.image);
	}
	json_free(p.header);
	json_free(p.config);
}

/* ---- the packed view as a checkpoint ---- */

static void copy_file(const struct checkpoint *to, struct gptqfs *m, uint64_t dir, const char *name)
{
	struct image image;
	int fd;

	if (!CHECK(image_open(&image, m, dir, name)))
		return;
	if (CHECK(read_part(&image, 0, image.size))) {
		fd = create(to, name);
		write_at(fd, image.bytes, image.size, 0);
		close(fd);
	}
	image_close(&image);
}

/* Written to a disk and opened, it has fused views like those of the model it was made from. */
static void check_packed_again(const struct checkpoint *c, struct gptqfs *m, uint64_t dir)
{
	static struct checkpoint copy;
	struct gptqfs_options options = {.cpu = "c", .uid = (uid_t)-1, .gid = (gid_t)-1};
	struct gptqfs_dirent entry;
	struct gptqfs_error err;
	struct gptqfs *again;

	copy = *c;
	memcpy(copy.dir + strlen(c->dir), "/again", sizeof("/again"));
	if (mkdir(copy.dir, 0777) < 0)
		write_failed(copy.dir);
	for (uint64_t i = 2; gptqfs_readdir(m, dir, i, &entry) == 0; i++)
		copy_file(&copy, m, dir, entry.name);
	if (!CHECK(gptqfs_open(copy.dir, &options, &again, &err) == 0)) {
		printf("  packed: %s\n", err.text);
		return;
	}
	for (size_t i = 0; i < 3; i++)
		check_view(&copy, again, formats[i], true, false);
	gptqfs_close(again);
}

static void check_checkpoint(const struct checkpoint *c)
{
	static const char *const names[] = {
	    "fp16", "bf16", "fp32", "fused/fp16", "fused/bf16", "fused/fp32", "tensors"};
	static const size_t caches[] = {0, 1, 5000, 100000, GPTQFS_CACHE_DEFAULT};
	const enum cpu_level level = (enum cpu_level)below((uint64_t)cpu_detect() + 1);
	const size_t all = COUNT(names), root = chance(25) ? below(all) : all, cache = PICK(caches), type = below(3);
	struct gptqfs_options options = {.cpu = chance(80) ? cpu_name(level) : NULL,
	    .cache_bytes = cache,
	    .uid = (uid_t)-1,
	    .gid = (gid_t)-1,
	    .view = root < all ? names[root] : NULL,
	    .dtype = type || chance(50) ? names[type] : NULL};
	struct gptqfs_error err;
	struct gptqfs *m;

	if (!CHECK(gptqfs_open(c->dir, &options, &m, &err) == 0)) {
		printf("  %s\n", err.text);
		return;
	}
	for (size_t i = 0; i < 6; i++)
		if (root == all ? i < 3 || c->family_count : root == i)
			check_view(c, m, formats[i % 3], i >= 3, root < all);
	if (root >= 6)
		check_tensors_view(c, m, formats[type], root < all);
	if (root == all && !c->has_holes) {
		check_packed(c, m, find_directory(m, GPTQFS_ROOT, "packed"));
		if (chance(25))
			check_packed_again(c, m, find_directory(m, GPTQFS_ROOT, "packed"));
	}
	if (chance(5)) {
		FILE *null = fopen("/dev/null", "w");

		CHECK(null && gptqfs_check(m, chance(50), null, NULL) == 0);
		fclose(null);
	}
	if (chance(10))
		gptqfs_trim(m);
	gptqfs_close(m);
	if (test_failed)
		printf("  cpu %s, cache %zu, view %s\n", options.cpu ? options.cpu : "any", options.cache_bytes,
		    options.view ? options.view : "any");
}

/* ---- cases ---- */

static void print_case(const struct checkpoint *c, uint64_t seed)
{
	static const char *const orders[] = {"absent", "trivial", "act-order", "arbitrary"};

	printf("  SEED=%" PRIu64 " CASES=1 repeats this case: %u files%s%s\n  %s\n", seed, c->file_count,
	    c->index ? ", " : "", c->index ? c->index : "", c->quant_text ? c->quant_text : "no configuration");
	for (unsigned i = 0; i < c->module_count; i++) {
		const struct module *m = &c->modules[i];

		printf("  %s: %u bits%s in words of %u, in %" PRIu64 ", out %" PRIu64 ", groups %" PRIu64 " of %" PRId64
		       ", g_idx %s, zeros %s, scales %s\n",
		    m->name, m->bits, m->planar ? " planar" : "", m->word_bits, m->in, m->out, m->groups, m->group_size,
		    orders[m->order],
		    !m->has_zeros        ? "absent"
		    : c->v2 || m->planar ? "v2"
					 : "v1",
		    m->scale_format->name);
	}
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st, (void)type, (void)ftw;
	return remove(path);
}

/* Memory rather than disk where there is any; holes stay holes there too. */
static void make_directory(char dir[256])
{
	const char *tmp = getenv("TMPDIR");

	if (access("/dev/shm", W_OK | X_OK) == 0) {
		snprintf(dir, 256, "/dev/shm/gptqfs-random.XXXXXX");
		if (mkdtemp(dir))
			return;
	}
	snprintf(dir, 256, "%s/gptqfs-random.XXXXXX", tmp ? tmp : "/tmp");
	if (!mkdtemp(dir))
		write_failed(dir);
}

static bool run_case(uint64_t seed)
{
	static struct checkpoint c;
	const unsigned failed = test_failed;

	chance_state = seed * UINT64_C(0xd1342543de82ef95);
	draw_checkpoint(&c);
	make_directory(c.dir);
	write_checkpoint(&c);
	check_checkpoint(&c);
	if (test_failed > failed)
		print_case(&c, seed);
	if (test_failed > failed && getenv("KEEP"))
		printf("  %s\n", c.dir);
	else
		nftw(c.dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
	release_all();
	return test_failed == failed;
}

static uint64_t from_environment(const char *name, uint64_t otherwise)
{
	const char *given = getenv(name);

	return given ? strtoull(given, NULL, 0) : otherwise;
}

int main(void)
{
	const uint64_t seed = from_environment("SEED", (uint64_t)time(NULL) * 1000);
	const uint64_t cases = from_environment("CASES", 3000);
	unsigned bad = 0;

	printf("seed %" PRIu64 ", %" PRIu64 " cases (SEED=%" PRIu64 " repeats them)\n", seed, cases, seed);
	for (uint64_t i = 0; i < cases && bad < 5; i++)
		bad += !run_case(seed + i);
	return test_done();
}
