/* SPDX-License-Identifier: MIT */

/* FP8: one byte a weight, and scales in a grid of any kind. */

#include "families.h"

/* Of the whole checkpoint. */
static uint64_t block[2]; /* of the configuration; 0 if it gives none */
static bool inverse;      /* GPTQModel: scales divide */
static bool bare;         /* no weight has a scale, so codes are plain numbers */

static const char *const codes[] = {"F8_E4M3", "F8_E4M3", "F8_E4M3", "F8_E5M2"};
static const char *const scale_types[] = {"F32", "F32", "BF16", "F16", "U8", "F8_E8M0"};

/* The places where writers put it; the groups may be of another family. */
static void say_block(struct mixture *x)
{
	const uint64_t how = x->has_config_groups ? 0 : below(3);
	const char *const weights =
	    "\"config_groups\": {\"group_0\": {\"targets\": [\"Linear\"], \"weights\": {\"type\": \"float\", ";

	if (how == 2)
		block[0] = 1;
	if (how == 0)
		say_setting(x, say("\"weight_block_size\": [%" PRIu64 ", %" PRIu64 "]", block[0], block[1]));
	else if (how == 1)
		say_setting(x,
		    say("%s\"block_structure\": [%" PRIu64 ", %" PRIu64 "]}}}", weights, block[0], block[1]));
	else
		say_setting(x, say("%s\"group_size\": %" PRIu64 "}}}", weights, block[1]));
}

static void begin(struct mixture *x)
{
	static const unsigned char usual[] = {128, 128, 64, 16, 7};
	static const char *const methods[] = {"fp8", "mxfp8", "fbgemm_fp8", "compressed-tensors", "modelopt", "quark"};

	block[0] = block[1] = 0;
	x->method = x->method ? x->method : PICK(methods);
	inverse = *x->method && chance(10); /* unknown without a quantization_config */
	bare = x->is_pure && chance(5);
	if (bare)
		x->base.shunned = "act.scales"; /* might be those of the weights */
	if (inverse)
		say_setting(x, "\"weight_scale_semantics\": \"inverse\"");
	if (*x->method && (x->has_config_groups || chance(60))) {
		const uint64_t rows = PICK(usual), columns = chance(70) ? rows : PICK(usual);

		block[0] = rows;
		block[1] = columns;
		say_block(x);
	}
}

/* ---- grids ---- */

struct matrix {
	uint64_t rows, columns;
	uint64_t grid_rows, grid_columns;   /* of scales */
	uint64_t block_rows, block_columns; /* block of one scale */
	bool transposed;                    /* stored as [out, 1] although the matrix is [in, out] */
};

static bool fits(struct matrix *m, uint64_t rows, uint64_t columns)
{
	if (!rows || !columns || div_up(m->rows, rows) != m->grid_rows ||
	    div_up(m->columns, columns) != m->grid_columns)
		return false;
	m->block_rows = rows;
	m->block_columns = columns;
	return true;
}

static bool divides(uint64_t part, uint64_t whole)
{
	return part && whole % part == 0;
}

/* Finds the block of a grid by the first rule that fits. */
static bool read_grid(struct matrix *m, bool expert)
{
	const uint64_t n = m->rows, k = m->columns, r = m->grid_rows, c = m->grid_columns;

	if (r == 1 && c == 1)
		return fits(m, n, k);
	if (r == n && c == 1)
		return fits(m, 1, k);
	if (r == 1 && c == k)
		return fits(m, n, 1);
	if (expert && c == 1 && r == k) {
		m->grid_rows = 1;
		m->grid_columns = r;
		m->transposed = true;
		return fits(m, n, 1);
	}
	return fits(m, block[0], block[1]) || (r == n && divides(c, k) && fits(m, 1, k / c)) || fits(m, 128, 128) ||
	       ((c > 1 || expert) && divides(r, n) && divides(c, k) && fits(m, n / r, k / c));
}

/* Draws a grid of some kind. */
static void draw_grid(struct matrix *m, bool expert)
{
	m->grid_rows = m->grid_columns = 1;
	switch (below(expert ? 7 : 6)) {
	case 0:
		break;
	case 1:
		m->grid_rows = m->rows;
		break;
	case 2:
		m->grid_columns = m->columns;
		break;
	case 3:
		m->grid_rows = div_up(m->rows, block[0] ? block[0] : 128);
		m->grid_columns = div_up(m->columns, block[1] ? block[1] : 128);
		break;
	case 4: /* MXFP8's groups of 32, and others */
		m->grid_rows = m->rows;
		m->columns = div_up(m->columns, 32) * 32;
		m->grid_columns = m->columns / (chance(60) ? 32 : 16);
		break;
	case 5:
		m->grid_rows = 1 + below(3);
		m->grid_columns = 1 + below(3);
		m->rows = div_up(m->rows, m->grid_rows) * m->grid_rows;
		m->columns = div_up(m->columns, m->grid_columns) * m->grid_columns;
		break;
	default:
		m->grid_rows = m->columns;
	}
}

/* The shape of the scales of one matrix in files. */
static int grid_shape(const struct matrix *m, uint64_t shape[4])
{
	const bool one = m->grid_rows == 1 && m->grid_columns == 1;

	shape[0] = m->grid_rows;
	shape[1] = m->grid_columns;
	if (one)
		return (int)below(3);
	if (m->grid_columns == 1 && m->grid_rows == m->rows && chance(40))
		return 1;
	if (chance(15)) { /* ModelOpt */
		shape[2] = m->grid_columns;
		shape[1] = shape[3] = 1;
		return 4;
	}
	return 2;
}

/* ---- modules ---- */

/* The values of one matrix; its scales begin at `first`. */
static void multiply(const struct matrix *m, const struct stored *w, const struct stored *s, uint64_t first,
    uint64_t expert, double *values)
{
	const bool wide = strcmp(w->dtype, "F8_E5M2") == 0;
	const uint64_t columns = div_up(m->columns, m->block_columns), skip = expert * m->rows * m->columns;

	for (uint64_t n = 0; n < m->rows; n++)
		for (uint64_t k = 0; k < m->columns; k++) {
			const unsigned code = w->data[skip + n * m->columns + k];
			const uint64_t at = first + n / m->block_rows * columns + k / m->block_columns;
			const double scale = s ? scale_at(s, at) : 1;
			const double weight = wide ? e5m2(code) : e4m3(code);

			values[skip + n * m->columns + k] = fl(inverse ? weight / scale : weight * scale);
		}
}

static void draw_codes(struct stored *w)
{
	/* All codes, or those of real models, without NaN. */
	const bool finite = chance(50);

	for (uint64_t i = 0; i < w->bytes; i++) {
		w->data[i] = (unsigned char)any();
		if (finite && (w->data[i] & 0x7f) >= 0x7c)
			w->data[i] ^= 0x40;
	}
}

/* Tensors of static activation schemes beside a weight, or of an attention's cache. No view shows them. */
static void add_activations(struct mixture *x, const char *module)
{
	static const char *const names[] = {"input_scale", "activation_scale", "k_scale", "output_scale", "k_bias"};
	static const char *const types[] = {"F32", "BF16"};
	const struct scales s = draw_scales(types, COUNT(types));
	const uint64_t one = 1;

	add_scales(x, say("%s.%s", module, PICK(names)), &s, chance(50) ? 1 : 0, &one);
}

static const struct weight *add(struct mixture *x, const char *module, uint64_t in)
{
	static const char *const names[] = {"weight_scale_inv", "weight_scale", "scale", "qscale_weight"};
	const struct scales type = draw_scales(scale_types, COUNT(scale_types));
	struct matrix m;
	uint64_t shape[4];
	struct stored *w, *s;
	struct weight *weight;
	int ndim;

	do {
		m = (struct matrix){.rows = draw_size(1), .columns = in ? in : draw_size(1)};
		draw_grid(&m, false);
	} while (!read_grid(&m, false));
	w = add_bytes(x, say("%s.weight", module), PICK(codes), 2, (const uint64_t[]){m.rows, m.columns});
	draw_codes(w);
	ndim = grid_shape(&m, shape);
	s = bare ? NULL
	         : add_scales(x, say("%s.%s", module, chance(80) ? names[below(2)] : PICK(names)), &type, ndim, shape);
	if (!bare && chance(15))
		add_activations(x, module);
	weight = add_weight(x, w->name, 2, w->shape);
	multiply(&m, w, s, 0, 0, weight->values);
	note(x, say("FP8 %s, [%" PRIu64 ", %" PRIu64 "], %s scales [%" PRIu64 ", %" PRIu64 "] of %d dimensions%s",
		    w->dtype + 3, m.rows, m.columns, s ? s->dtype : "no", m.grid_rows, m.grid_columns, ndim,
		    inverse ? ", inverse" : ""));
	return weight;
}

/* The experts of a layer in one tensor, whose name does not end in ".weight". */
static const struct weight *add_experts(struct mixture *x, const char *module, uint64_t in)
{
	const struct scales type = draw_scales(scale_types, COUNT(scale_types));
	const uint64_t experts = 1 + below(4);
	struct matrix m;
	struct stored *w, *s = NULL;
	struct weight *weight;
	bool one;

	(void)in;
	do {
		m = (struct matrix){.rows = draw_size(1), .columns = draw_size(1)};
		draw_grid(&m, true);
		one = m.grid_rows == 1 && m.grid_columns == 1 && chance(50);
	} while (!read_grid(&m, true));
	w = add_bytes(x, say("%s.experts.gate_up_proj", module), PICK(codes), 3,
	    (const uint64_t[]){experts, m.rows, m.columns});
	draw_codes(w);
	if (!bare)
		s = add_scales(x, say("%s%s", w->name, chance(50) ? "_scale_inv" : "_scale"), &type,
		    one ? (int)below(2) : 3,
		    one ? (const uint64_t[]){1}
			: (const uint64_t[]){
			      experts, m.transposed ? m.grid_columns : m.grid_rows, m.transposed ? 1 : m.grid_columns});
	weight = add_weight(x, w->name, 3, w->shape);
	for (uint64_t e = 0; e < experts; e++)
		multiply(&m, w, s, one ? 0 : e * m.grid_rows * m.grid_columns, e, weight->values);
	note(x,
	    say("FP8 experts [%" PRIu64 ", %" PRIu64 ", %" PRIu64 "], %s scales [%" PRIu64 ", %" PRIu64 "]%s", experts,
		m.rows, m.columns, s ? s->dtype : "no", m.grid_rows, m.grid_columns, one ? ", one for all" : ""));
	return weight;
}

const struct packer fp8 = {"fp8", true, NULL, NULL, begin, add, NULL};
const struct packer fp8_experts = {"fp8", false, NULL, NULL, begin, add_experts, NULL};
