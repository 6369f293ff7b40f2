/* SPDX-License-Identifier: MIT */

/* compressed-tensors, integers: codes packed along a row, or a byte each, and the groups of the configuration. */

#include "families.h"

enum strategy { TENSOR, CHANNEL, GROUP, BLOCK };

/* A config group. The modules of one scheme are its targets. */
struct scheme {
	unsigned bits;
	enum strategy strategy;
	int64_t group_size;
	uint64_t block[2];
	bool bytes, actorder;
	char targets[1024];
};

static struct scheme schemes[MODULES_MAX];
static unsigned scheme_count;
static const char *version; /* of the library; NULL if not in the configuration */
static bool says_stream;    /* packing by version, if both fit */

struct module {
	const char *name;
	const struct scheme *scheme;
	uint64_t in, out, rows, columns; /* the latter of the scale */
	bool stream;                     /* else words of whole fields */
	const uint32_t *group_of;        /* NULL: k / size */
	uint64_t size;                   /* of a group, or a block's columns */
	int32_t *codes;                  /* [out][in], signed */
	int32_t *zeros;                  /* [rows][columns], signed; NULL if there are none */
	struct stored *scale;
};

static void begin(struct mixture *x)
{
	static const char *const versions[] = {NULL, "0.8.1", "0.9.4", "0.12.2", "0.15.0.1", "0.18.0", "0.20.1", "1.0"};
	const size_t i = below(COUNT(versions));

	scheme_count = 0;
	version = versions[i];
	says_stream = i >= 5;
	x->has_config_groups = true;
}

/* ---- drawing ---- */

static struct scheme *draw_scheme(void)
{
	static const short sizes[] = {16, 32, 32, 64, 128, 24, 40};
	static const unsigned char blocks[] = {128, 64, 32, 16, 24};
	struct scheme *s;

	if (scheme_count == COUNT(schemes) || (scheme_count && chance(40)))
		return &schemes[below(scheme_count)];
	s = &schemes[scheme_count++];
	*s = (struct scheme){.bits = chance(50) ? 4 : 2 + (unsigned)below(7), .bytes = chance(30)};
	s->strategy = chance(50) ? GROUP : (enum strategy)below(4);
	if (s->bytes && chance(70))
		s->bits = 8;
	s->group_size = s->strategy == GROUP ? PICK(sizes) : 0;
	s->block[0] = PICK(blocks);
	s->block[1] = PICK(blocks);
	s->actorder = s->strategy == GROUP && !s->bytes && chance(30);
	return s;
}

static uint64_t columns_of(uint64_t in, unsigned bits, bool stream)
{
	return stream ? div_up(in * bits, 32) : div_up(in, 32 / bits);
}

static void draw_shape(struct module *m, uint64_t in)
{
	const struct scheme *s = m->scheme;

	do {
		m->in = in ? in : draw_size(chance(50) ? 1 : 32);
		m->out = draw_size(1);
		m->stream = chance(80) ? says_stream : chance(50);
		/* If both packings take the same number of words, the version decides. */
	} while (m->stream != says_stream && columns_of(m->in, s->bits, true) == columns_of(m->in, s->bits, false));
	m->rows = s->strategy == TENSOR ? 1 : s->strategy == BLOCK ? div_up(m->out, s->block[0]) : m->out;
	m->size = s->strategy == GROUP ? (uint64_t)s->group_size : s->strategy == BLOCK ? s->block[1] : m->in;
	m->columns = div_up(m->in, m->size);
}

static void draw_codes(struct module *m, bool zeros)
{
	const int32_t half = 1 << (m->scheme->bits - 1);

	m->codes = take(m->in * m->out * sizeof(*m->codes));
	for (uint64_t i = 0; i < m->in * m->out; i++)
		m->codes[i] = (int32_t)below((uint64_t)half * 2) - half;
	if (!zeros)
		return;
	m->zeros = take(m->rows * m->columns * sizeof(*m->zeros));
	for (uint64_t i = 0; i < m->rows * m->columns; i++)
		m->zeros[i] = (int32_t)below((uint64_t)half * 2) - half;
}

/* ---- packing ---- */

/* A field of a row of words: signed codes are stored with half of their range added. */
static void put_signed(const struct module *m, unsigned char *words, uint64_t index, int32_t code)
{
	const unsigned bits = m->scheme->bits, whole = 32 / bits;
	const uint64_t at = m->stream ? index * bits : index / whole * 32 + index % whole * bits;

	put_bits(words, at, bits, (unsigned)(code + (1 << (bits - 1))));
}

static void pack_codes(struct mixture *x, const struct module *m)
{
	const uint64_t words = columns_of(m->in, m->scheme->bits, m->stream);
	struct stored *s = add_bytes(x, say("%s.weight_packed", m->name), "I32", 2, (const uint64_t[]){m->out, words});
	static const char *const types[] = {"I64", "I64", "I32"};
	const char *type = PICK(types);
	const unsigned bytes = type[1] == '6' ? 8 : 4;
	const uint64_t two = 2;
	struct stored *shape = add_bytes(x, say("%s.weight_shape", m->name), type, 1, &two);

	fill_any(s);
	for (uint64_t n = 0; n < m->out; n++)
		for (uint64_t k = 0; k < m->in; k++)
			put_signed(m, s->data + n * words * 4, k, m->codes[n * m->in + k]);
	store(shape->data, m->out, bytes);
	store(shape->data + bytes, m->in, bytes);
}

static void put_signed_bytes(struct stored *s, const int32_t *codes)
{
	for (uint64_t i = 0; i < s->bytes; i++)
		s->data[i] = (unsigned char)codes[i];
}

/* The shape of scales, and of zero points that are bytes. */
static int grid_shape(const struct module *m, uint64_t shape[2])
{
	shape[0] = m->rows;
	shape[1] = m->columns;
	return 2;
}

/* Along the rows of the weight: words of one column are those of many rows. */
static void pack_zeros(struct mixture *x, const struct module *m)
{
	const uint64_t words = columns_of(m->out, m->scheme->bits, m->stream);
	unsigned char *column = take(words * 4);
	struct stored *s =
	    add_bytes(x, say("%s.weight_zero_point", m->name), "I32", 2, (const uint64_t[]){words, m->columns});

	for (uint64_t g = 0; g < m->columns; g++) {
		memset(column, chance(50) ? 0 : 0xff, words * 4);
		for (uint64_t n = 0; n < m->out; n++)
			put_signed(m, column, n, m->zeros[n * m->columns + g]);
		for (uint64_t i = 0; i < words; i++)
			memcpy(s->data + (i * m->columns + g) * 4, column + i * 4, 4);
	}
}

static void add_zeros(struct mixture *x, const struct module *m, int ndim, const uint64_t *shape)
{
	const bool rows = m->scheme->strategy == GROUP || m->scheme->strategy == CHANNEL;
	struct stored *s;

	if (!m->scheme->bytes && rows && chance(70)) {
		pack_zeros(x, m);
		return;
	}
	s = add_bytes(x, say("%s.weight_zero_point", m->name), "I8", ndim, shape);
	put_signed_bytes(s, m->zeros);
}

/* A group for each column, in any order; a -1 makes the whole tensor void. */
static void add_g_idx(struct mixture *x, struct module *m)
{
	struct stored *s = add_bytes(x, say("%s.weight_g_idx", m->name), "I32", 1, &m->in);
	uint32_t *groups = take(m->in * sizeof(*groups));
	unsigned *rank = take(m->in * sizeof(*rank));

	shuffle(rank, (unsigned)m->in);
	for (uint64_t k = 0; k < m->in; k++)
		groups[k] = chance(3) ? (uint32_t)below(m->columns) : (uint32_t)(rank[k] / m->size);
	for (uint64_t k = 0; k < m->in; k++)
		store(s->data + k * 4, groups[k], 4);
	if (chance(20))
		store(s->data + below(m->in) * 4, UINT32_MAX, 4);
	else
		m->group_of = groups;
}

static void multiply(const struct module *m, double *values)
{
	for (uint64_t n = 0; n < m->out; n++)
		for (uint64_t k = 0; k < m->in; k++) {
			const uint64_t row = m->scheme->strategy == BLOCK ? n / m->scheme->block[0] : n % m->rows;
			const uint64_t group = m->group_of ? m->group_of[k] : k / m->size;
			const uint64_t at = row * m->columns + group;
			const int32_t difference = m->codes[n * m->in + k] - (m->zeros ? m->zeros[at] : 0);

			values[n * m->in + k] = fl(scale_at(m->scale, at) * difference);
		}
}

/* Tensors of runtimes beside a weight, which no view shows. */
static void add_hidden(struct mixture *x, const char *module)
{
	static const char *const names[] = {"input_scale", "input_zero_point", "input_global_scale", "output_scale",
	    "output_zero_point", "k_scale", "v_scale", "q_scale", "k_zero_point"};
	static const char *const types[] = {"F16", "BF16", "F32"};
	const struct scales s = draw_scales(types, COUNT(types));
	const uint64_t one = 1;

	add_scales(x, say("%s.%s", module, PICK(names)), &s, 1, &one);
}

static bool is_plain(const char *name)
{
	return strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789._") == strlen(name);
}

/* By name or by a pattern that matches only this name; both before any class. */
static void target(struct scheme *s, const char *name)
{
	char *to = s->targets + strlen(s->targets);
	struct memo memo;
	const char *text;

	memo_open(&memo);
	if (*s->targets)
		fputs(", ", memo.out);
	if (is_plain(name) && chance(25)) {
		fputs("\"re:", memo.out);
		for (const char *p = name; *p; p++)
			fprintf(memo.out, *p == '.' ? "\\\\." : "%c", *p);
		fputs("$\"", memo.out);
	} else {
		put_string(memo.out, name);
	}
	text = memo_close(&memo);
	if (strlen(s->targets) + strlen(text) < sizeof(s->targets))
		strcpy(to, text);
	else
		abort();
}

static const struct weight *add(struct mixture *x, const char *module, uint64_t in)
{
	static const char *const types[] = {"F16", "BF16", "F32"};
	static const char *const strategies[] = {"tensor", "channel", "group", "block"};
	const struct scales type = draw_scales(types, COUNT(types));
	struct scheme *scheme = draw_scheme();
	struct module m = {.name = module, .scheme = scheme};
	struct weight *weight;
	uint64_t shape[2];
	int ndim;

	draw_shape(&m, in);
	draw_codes(&m, chance(50));
	target(scheme, module);
	if (scheme->bytes)
		put_signed_bytes(add_bytes(x, say("%s.weight", module), "I8", 2, (const uint64_t[]){m.out, m.in}),
		    m.codes);
	else
		pack_codes(x, &m);
	ndim = scheme->strategy == TENSOR ? (int)below(2) : grid_shape(&m, shape);
	if (scheme->strategy == TENSOR)
		shape[0] = 1;
	m.scale = add_scales(x, say("%s.weight_scale", module), &type, ndim, shape);
	if (m.zeros)
		add_zeros(x, &m, ndim, shape);
	if (scheme->actorder)
		add_g_idx(x, &m);
	if (chance(15))
		add_hidden(x, module);
	weight = add_weight(x, say("%s.weight", module), 2, (const uint64_t[]){m.out, m.in});
	multiply(&m, weight->values);
	note(x, say("CT %u bits %s, [%" PRIu64 ", %" PRIu64 "], %s of %" PRIu64 "%s, %s scales%s", scheme->bits,
		    scheme->bytes ? "in bytes"
		    : m.stream    ? "in a stream"
				  : "in words",
		    m.out, m.in, strategies[scheme->strategy], m.size,
		    scheme->actorder ? m.group_of ? ", ordered" : ", -1" : "", type.dtype, m.zeros ? ", zeros" : ""));
	return weight;
}

/* ---- the configuration ---- */

static void say_scheme(FILE *out, const struct scheme *s)
{
	static const char *const strategies[] = {"tensor", "channel", "group", "block"};

	fprintf(out, "{\"targets\": [%s], \"weights\": {\"num_bits\": %u, \"type\": \"int\", \"strategy\": \"%s\"",
	    s->targets, s->bits, strategies[s->strategy]);
	if (s->strategy == GROUP)
		fprintf(out, ", \"group_size\": %" PRId64, s->group_size);
	if (s->strategy == BLOCK && chance(70))
		fprintf(out, ", \"block_structure\": [%" PRIu64 ", %" PRIu64 "]", s->block[0], s->block[1]);
	else if (s->strategy == BLOCK)
		fprintf(out, ", \"block_structure\": \"%" PRIu64 "x%" PRIu64 "\"", s->block[0], s->block[1]);
	fprintf(out, ", \"actorder\": %s}, \"format\": \"%s\"}", s->actorder ? "\"group\"" : "null",
	    s->bytes ? "int-quantized" : "pack-quantized");
}

/* Groups that do not count: one of floats, and one whose targets a later one has too. */
static void say_losers(FILE *out)
{
	static const unsigned char sizes[] = {16, 24, 32, 40, 64};

	if (scheme_count && chance(20))
		fprintf(out,
		    "\"floats\": {\"targets\": [\"Linear\"], \"weights\": {\"num_bits\": 4, \"type\": \"float\", "
		    "\"group_size\": %u}}, ",
		    PICK(sizes));
	for (unsigned i = 0; i < scheme_count; i++)
		if (chance(10))
			fprintf(out,
			    "\"loser_%u\": {\"targets\": [%s], \"weights\": {\"num_bits\": %u, \"type\": \"int\", "
			    "\"group_size\": %u}}, ",
			    i, schemes[i].targets, schemes[i].bits, PICK(sizes));
}

static void end(struct mixture *x)
{
	struct memo memo;

	/* A class has the lowest precedence, after names and patterns. */
	if (scheme_count && chance(30))
		strcpy(schemes[below(scheme_count)].targets, "\"Linear\"");
	if (version)
		say_setting(x, say("\"version\": \"%s\"", version));
	memo_open(&memo);
	fprintf(memo.out, "\"format\": \"mixed-precision\", \"config_groups\": {");
	say_losers(memo.out);
	for (unsigned i = 0; i < scheme_count; i++) {
		fprintf(memo.out, "%s\"group_%u\": ", i ? ", " : "", i);
		say_scheme(memo.out, &schemes[i]);
	}
	putc('}', memo.out);
	say_setting(x, memo_close(&memo));
}

const struct packer ct = {"ct", true, "compressed-tensors", NULL, begin, add, end};
