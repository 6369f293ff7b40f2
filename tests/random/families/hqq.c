/* SPDX-License-Identifier: MIT */

/* HQQ as transformers saves it: the weight as a matrix of groups, cut into slices of rows that share bytes. */

#include "families.h"

static const struct packing {
	const char *name;
	unsigned bits, lanes;
} packings[] = {
    {"8bit_u8", 8, 1}, {"4bit_u8", 4, 2}, {"4bit_u8", 4, 2}, {"3bit_32", 3, 10}, {"2bit_u8", 2, 4}, {"1bit_u8", 1, 8}};

struct module {
	const char *name;
	const struct packing *packing;
	uint64_t n, k, size;
	bool by_columns;        /* axis 0 */
	uint64_t rows, columns; /* of the matrix of groups */
	uint64_t slice;         /* rows in one slice */
	const struct stored *scale, *zero;
	struct stored *codes;
};

static void draw_shape(struct module *m, uint64_t in)
{
	static const unsigned char sizes[] = {8, 16, 32, 64, 64, 128};

	do {
		m->packing = &PICK(packings);
		m->size = PICK(sizes);
		m->by_columns = chance(40);
		m->n = draw_size(chance(50) ? 8 : 1);
		m->k = in ? in : draw_size(chance(60) ? 8 : 1);
		m->rows = m->by_columns ? m->size : m->n * m->k / m->size;
		m->columns = m->by_columns ? m->n * m->k / m->size : m->size;
		/* Only slices of 3 bits are filled up. */
	} while (m->n * m->k % m->size || (m->packing->lanes != 10 && m->rows % m->packing->lanes));
	m->slice = div_up(m->rows, m->packing->lanes);
}

static void add_number(struct mixture *x, const struct module *m, const char *key, const char *dtype, uint64_t value)
{
	struct stored *s = add_bytes(x, say("%s.%s", m->name, key), dtype, 0, NULL);

	if (strcmp(dtype, "F32") == 0)
		value = encode(&F32, (double)value);
	store(s->data, value, (unsigned)s->bytes);
}

static void add_text(struct mixture *x, const struct module *m, const char *key, const char *text)
{
	const uint64_t len = strlen(text);

	memcpy(add_bytes(x, say("%s.%s", m->name, key), "U8", 1, &len)->data, text, len);
}

/* The settings of a module are tensors. */
static void add_settings(struct mixture *x, const struct module *m, bool as_float)
{
	static const char *const types[] = {"torch.float16", "torch.bfloat16", "torch.float32"};
	static const char *const truths[] = {"optimize", "round_zero", "offload_meta", "stores_quant_config"};
	const uint64_t two = 2;
	struct stored *shape = add_bytes(x, say("%s.shape", m->name), "I64", 1, &two);

	store(shape->data, m->n, 8);
	store(shape->data + 8, m->k, 8);
	add_number(x, m, "nbits", chance(80) ? "I32" : "F32", m->packing->bits);
	add_number(x, m, "group_size", "I32", m->size);
	add_number(x, m, "axis", "I32", !m->by_columns);
	add_text(x, m, "packing", m->packing->name);
	add_text(x, m, "compute_dtype", PICK(types));
	add_text(x, m, "unpack_view_dtype", m->packing->lanes == 10 ? "torch.int32" : "torch.uint8");
	add_number(x, m, "view_as_float", "U8", as_float);
	add_number(x, m, "channel_wise", "U8", 1);
	add_number(x, m, "quant_scale", "U8", 0);
	add_number(x, m, "quant_zero", "U8", 0);
	add_number(x, m, "encoded_state_dict", "U8", 1);
	for (size_t i = 0; i < COUNT(truths); i++)
		add_number(x, m, truths[i], "U8", chance(50));
}

/* A code: the first slice has the highest bits. */
static void put_code(const struct module *m, uint64_t row, uint64_t column, unsigned code)
{
	const unsigned word = m->packing->lanes == 10 ? 32 : 8;
	const unsigned lane = (unsigned)(row / m->slice), shift = (m->packing->lanes - 1 - lane) * m->packing->bits;

	put_bits(m->codes->data, (row % m->slice * m->columns + column) * word + shift, m->packing->bits, code);
}

static void fill(const struct module *m, double *values)
{
	for (uint64_t i = 0; i < m->n * m->k; i++) {
		const uint64_t row = i / m->columns, column = i % m->columns, group = m->by_columns ? column : row;
		const unsigned q = (unsigned)below(UINT64_C(1) << m->packing->bits);

		put_code(m, row, column, q);
		values[i] = fl(fl(q - scale_at(m->zero, group)) * scale_at(m->scale, group));
	}
}

static const struct weight *add(struct mixture *x, const char *module, uint64_t in)
{
	static const char *const types[] = {"F16", "BF16", "F32"};
	const struct scales type = draw_scales(types, COUNT(types));
	struct module m = {.name = module};
	struct weight *weight;
	uint64_t groups[2];
	bool as_float;

	draw_shape(&m, in);
	as_float = m.packing->lanes != 10 && m.columns % 2 == 0 && chance(20);
	groups[m.by_columns] = m.by_columns ? m.columns : m.rows;
	groups[!m.by_columns] = 1;
	m.codes = add_bytes(x, say("%s.W_q", module),
	    m.packing->lanes == 10 ? "I32"
	    : as_float             ? "F16"
				   : "U8",
	    2, (const uint64_t[]){m.slice, as_float ? m.columns / 2 : m.columns});
	fill_any(m.codes);
	m.scale = add_scales(x, say("%s.scale", module), &type, 2, groups);
	m.zero = add_scales(x, say("%s.zero", module), &type, 2, groups);
	add_settings(x, &m, as_float);
	weight = add_weight(x, say("%s.weight", module), 2, (const uint64_t[]){m.n, m.k});
	fill(&m, weight->values);
	note(x, say("HQQ %s, [%" PRIu64 ", %" PRIu64 "], groups of %" PRIu64 ", axis %d, %s%s", m.packing->name, m.n,
		    m.k, m.size, !m.by_columns, type.dtype, as_float ? ", as float" : ""));
	return weight;
}

const struct packer hqq = {"hqq", true, "hqq", NULL, NULL, add, NULL};
