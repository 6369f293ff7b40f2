/* SPDX-License-Identifier: MIT */

/* Finds the modules of a GPTQ checkpoint, and determines their parameters from shapes and configuration. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/err.h"
#include "file/pages.h"
#include "quant/gptq/gptq.h"
#include "quant/gptq/zeros.h"

/* Output rows are buffered whole; real layers have up to 53,248 input features, vocabularies some 260,000 entries. */
#define IN_FEATURES_MAX ((uint64_t)1 << 22)
#define OUT_FEATURES_MAX ((uint64_t)1 << 24)
#define BIAS_BYTES_MAX ((uint64_t)64 << 20)

/* Number of small tensors prefetched from disk, and the longest g_idx for which that pays. */
#define FETCH_AHEAD 1024
#define FETCH_MAX ((uint64_t)1 << 20)

struct gptq_opener {
	struct opening *o;
	const struct quant_config *config;
	const uint32_t *shared_g_idx; /* of the previous module: q, k and v mostly share theirs */
	uint32_t shared_len;
};

static bool gptq_is_codes(const struct opening *o, const struct st_tensor *t)
{
	(void)o;
	return ends_with(t->name, ".qweight");
}

static bool gptq_claims(const struct opening *o)
{
	return opening_has(o, gptq_is_codes);
}

/* ---- warnings ---- */

#define NO_SYM "no zeros are stored, and no configuration says sym"
#define NOT_MIDDLE "the configuration says sym, but zeros are not the middle value"
#define OTHER_BITS "the configuration gives another number of bits"
#define OTHER_GROUP "the configuration gives another group size"
#define SHAPES_COUNT "; the shapes take precedence"
#define ZERO_BIAS "an all-zero bias that the architecture does not have"

/* ---- finding the parts ---- */

static int missing_part(const struct gptq_opener *o, const struct gptq_module *m, const char *what,
    const char *expected)
{
	return err_set(o->o->err, -EBADMSG, "%s: tensor %.200s%s is missing (expected %s); fetch the model again",
	    opening_file(o->o, m->e.part[GPTQ_QWEIGHT]), m->e.module, what, expected);
}

/* Returns the override of a module that says sym, or NULL; *unsure if a pattern may be one and cannot be evaluated. */
static const struct override *find_sym(const struct gptq_opener *o, const struct gptq_module *m, bool *unsure)
{
	const struct override *found = NULL;

	*unsure = o->config->overrides.syms && overrides_find(&o->config->overrides, m->e.module, &found);
	return !*unsure && found && found->has_sym ? found : NULL;
}

/* A module without zeros is symmetric unless stated otherwise. */
static int allow_no_zeros(const struct gptq_opener *o, const struct gptq_module *m)
{
	bool unsure;
	const struct override *own = find_sym(o, m, &unsure);

	if (unsure || !(own ? own->sym : o->config->sym))
		return missing_part(o, m, ".qzeros",
		    "words [groups, out_features * bits / 32]; only a symmetric model may lack it");
	if (!own && !o->config->has_sym)
		opening_tally(o->o, NO_SYM, "; treated as symmetric", m->e.module);
	return 0;
}

static int find_gptq_parts(const struct gptq_opener *o, struct gptq_module *m)
{
	const struct st_tensor *qweight;
	int rc;

	for (size_t i = GPTQ_QWEIGHT; i <= GPTQ_G_IDX; i++)
		opening_part(o->o, &m->e, i, opening_find(o->o, m->e.module, gptq_suffixes[i]));
	qweight = m->e.part[GPTQ_QWEIGHT];
	rc = opening_check_weight(o->o, qweight, ".qweight");
	if (rc)
		return rc;
	if (opening_find(o->o, m->e.module, ".zeros"))
		return err_set(o->o->err, -ENOTSUP,
		    "%s: tensor %.200s.zeros: float zeros are those of the first GPTQ-for-LLaMa (March 2023), which are not supported; fetch a later version of the model",
		    opening_file(o->o, qweight), m->e.module);
	if (!m->e.part[GPTQ_SCALES])
		return missing_part(o, m, ".scales", "F16, BF16 or F32 [groups, out_features]");
	return m->e.part[GPTQ_QZEROS] ? 0 : allow_no_zeros(o, m);
}

/*
 * Refuses a part without its qweight: a module that lost its codes would otherwise silently vanish. (Only .scales is
 * also used by other formats.)
 */
static int check_orphan(const struct gptq_opener *o, const struct st_tensor *t)
{
	static const char *const suffixes[] = {".qzeros", ".g_idx"};

	for (int i = 0; i < 2; i++)
		if (ends_with(t->name, suffixes[i]) && !opening_beside(o->o, t, suffixes[i], ".qweight")) {
			const size_t len = strlen(t->name) - strlen(suffixes[i]);

			return err_set(o->o->err, -EBADMSG,
			    "%s: tensor %.*s.qweight is missing (%.200s is there); fetch the model again",
			    opening_file(o->o, t), len < 200 ? (int)len : 200, t->name, t->name);
		}
	return 0;
}

/* ---- sizes ---- */

static bool gptq_is_matrix(const struct st_tensor *t)
{
	return t->ndim == 2 && t->shape[0] && t->shape[1];
}

static int word_bits(const struct st_tensor *t)
{
	switch (t->dtype) {
	case DTYPE_I8:
	case DTYPE_I16:
	case DTYPE_I32:
	case DTYPE_I64:
	case DTYPE_U8:
	case DTYPE_U16:
	case DTYPE_U32:
		return (int)dtype_bits(t->dtype);
	default:
		return 0;
	}
}

static int check_shapes(const struct gptq_opener *o, struct gptq_module *m)
{
	const struct st_tensor *w = m->e.part[GPTQ_QWEIGHT], *s = m->e.part[GPTQ_SCALES], *z = m->e.part[GPTQ_QZEROS];
	const struct st_tensor *g_idx = m->e.part[GPTQ_G_IDX];
	struct qtensor *q = &m->q;

	q->word_bits = (uint8_t)word_bits(w);
	if (!gptq_is_matrix(w) || !q->word_bits)
		return opening_bad_tensor(o->o, w, "I32 [in_features * bits / 32, out_features]");
	if (!gptq_is_matrix(s) || !dtype_is_view(s->dtype))
		return opening_bad_tensor(o->o, s, "F16, BF16 or F32 [groups, out_features]");
	if (s->shape[1] != w->shape[1] && w->shape[1] * 8 == s->shape[1])
		return err_set(o->o->err, -ENOTSUP,
		    "%s: tensor %.200s is packed along out_features, as AWQ does, but the configuration says GPTQ; "
		    "correct it, or fetch the model again",
		    opening_file(o->o, w), w->name);
	if (s->shape[1] != w->shape[1])
		return err_set(o->o->err, -EBADMSG,
		    "%s: tensor %.200s has %llu columns, expected the %llu of %s.qweight; fetch the model again",
		    opening_file(o->o, s), s->name, (unsigned long long)s->shape[1], (unsigned long long)w->shape[1],
		    m->e.module);
	if (z && (!gptq_is_matrix(z) || word_bits(z) != q->word_bits || z->shape[0] != s->shape[0]))
		return opening_bad_tensor(o->o, z, "words as in qweight, with as many rows as scales");
	if (g_idx && (g_idx->ndim != 1 || !g_idx->shape[0] || g_idx->dtype != DTYPE_I32))
		return opening_bad_tensor(o->o, g_idx, "I32 [in_features]");
	if (w->shape[1] > OUT_FEATURES_MAX || w->shape[0] > IN_FEATURES_MAX || s->shape[0] > IN_FEATURES_MAX)
		return opening_bad_tensor(o->o, w, "at most 4194304 rows and 16777216 columns");
	q->out_features = (uint32_t)w->shape[1];
	q->groups = (uint32_t)s->shape[0];
	q->scale_dtype = s->dtype;
	return 0;
}

static bool is_planar(const struct quant_config *config, int bits)
{
	return bits == 5 || bits == 6 || bits == 7 || (bits == 3 && config->planar);
}

/* Returns in_features if codes have `bits` bits, or 0 if the shapes do not fit that. */
static uint64_t fit_bits(const struct gptq_opener *o, const struct gptq_module *m, unsigned bits)
{
	const struct st_tensor *qzeros = m->e.part[GPTQ_QZEROS], *g_idx = m->e.part[GPTQ_G_IDX];
	const struct qtensor *q = &m->q;
	const uint64_t rows = m->e.part[GPTQ_QWEIGHT]->shape[0], w = q->word_bits;
	const uint64_t in = g_idx ? g_idx->shape[0] : rows * w / bits;

	if (w % bits != 0 && (w != 32 || bits > 7))
		return 0;
	if (is_planar(o->config, (int)bits) && (w != 32 || in % 32 || q->out_features % 32))
		return 0;
	if (qzeros && div_up((uint64_t)q->out_features * bits, w) != qzeros->shape[1])
		return 0;
	return in <= IN_FEATURES_MAX && div_up(in * bits, w) == rows ? in : 0;
}

/* Determines the width by the shapes; if tiny shapes allow several, by the configuration. */
static int find_bits(const struct gptq_opener *o, struct gptq_module *m)
{
	const struct st_tensor *qzeros = m->e.part[GPTQ_QZEROS], *g_idx = m->e.part[GPTQ_G_IDX];
	struct qtensor *q = &m->q;
	const struct override *override;
	uint64_t in[9] = {0};
	unsigned fits = 0, bits = 0;

	for (unsigned b = 2; b <= 8; b++) {
		in[b] = fit_bits(o, m, b);
		bits = in[b] ? b : bits;
		fits += in[b] != 0;
	}
	if (fits > 1) {
		const int unsure = overrides_find(&o->config->overrides, m->e.module, &override);
		const int64_t wanted = override && override->bits ? override->bits : o->config->bits;

		if (unsure)
			return err_set(o->o->err, -ENOTSUP,
			    "%s: module %.200s fits several widths, and it is unknown which one the configuration names: the "
			    "pattern \"%.100s\" %s; use the plain name of the module",
			    opening_file(o->o, m->e.part[GPTQ_QWEIGHT]), m->e.module, override->pattern.text,
			    override->pattern.fault);
		bits = wanted >= 2 && wanted <= 8 ? (unsigned)wanted : 0;
	}
	if (in[bits]) {
		q->bits = (uint8_t)bits;
		q->in_features = (uint32_t)in[bits];
		return 0;
	}
	return err_set(o->o->err, -EBADMSG,
	    "%s: module %.200s: qweight [%llu, %u], qzeros [%llu, %llu] and g_idx [%llu] fit %s; expected ceil(in_features * "
	    "bits / %u) rows and ceil(out_features * bits / %u) columns; fetch the model again",
	    opening_file(o->o, m->e.part[GPTQ_QWEIGHT]), m->e.module,
	    (unsigned long long)m->e.part[GPTQ_QWEIGHT]->shape[0], q->out_features,
	    qzeros ? (unsigned long long)qzeros->shape[0] : 0, qzeros ? (unsigned long long)qzeros->shape[1] : 0,
	    g_idx ? (unsigned long long)g_idx->shape[0] : 0,
	    fits ? "several widths, and the configuration names none of them" : "no width from 2 to 8 bits",
	    q->word_bits, q->word_bits);
}

/*
 * Determines the group size of a module without g_idx: the configuration's, if the rows of scales agree. If a pattern
 * that may apply cannot be evaluated, the module is refused unless its shapes leave no choice.
 */
static int find_group_size(struct gptq_opener *o, struct gptq_module *m)
{
	struct qtensor *q = &m->q;
	const struct override *override;
	const int unsure = overrides_find_size(&o->config->overrides, m->e.module, &override);
	const bool own = !unsure && override && override->group_size;
	const int64_t wanted = own ? override->group_size : o->config->group_size;
	const uint64_t size = wanted > 0 && wanted < q->in_features ? (uint64_t)wanted : q->in_features;
	const bool even = q->in_features % q->groups == 0;

	q->group_size = even ? q->in_features / q->groups : (uint32_t)size;
	if (unsure && !(even && q->group_size == size))
		return err_set(o->o->err, -ENOTSUP,
		    "%s: module %.200s has no g_idx, and it is unknown whether the configuration changes its group "
		    "size: the pattern \"%.100s\" %s; use the plain name of the module",
		    opening_file(o->o, m->e.part[GPTQ_SCALES]), m->e.module, override->pattern.text,
		    override->pattern.fault);
	if (div_up(q->in_features, size) == q->groups) {
		q->group_size = (uint32_t)size;
		return 0;
	}
	if (even && !own) {
		opening_tally(o->o, OTHER_GROUP, SHAPES_COUNT, m->e.module);
		return 0;
	}
	return err_set(o->o->err, -EBADMSG,
	    "%s: module %.200s has %u groups for %u in_features, no g_idx, and group_size %lld in the configuration, "
	    "which makes %llu; correct group_size or fetch the model again",
	    opening_file(o->o, m->e.part[GPTQ_SCALES]), m->e.module, q->groups, q->in_features, (long long)wanted,
	    (unsigned long long)div_up(q->in_features, size));
}

/* ---- g_idx ---- */

/* True if every k is in group k / group_size, for some group_size: then kernels need no g_idx. */
static bool is_trivial(const uint32_t *g_idx, struct qtensor *q)
{
	uint32_t size = 0;

	while (size < q->in_features && g_idx[size] == 0)
		size++;
	for (uint32_t k = 0; k < q->in_features; k++)
		if (!size || g_idx[k] != k / size)
			return false;
	q->group_size = size;
	return true;
}

/* Keeps a copy of g_idx in the arena, sharing that of the previous module if equal. */
static int keep_g_idx(struct gptq_opener *o, const uint32_t *g_idx, struct qtensor *q)
{
	const size_t bytes = (size_t)q->in_features * 4;

	if (!o->shared_g_idx || o->shared_len != q->in_features || memcmp(o->shared_g_idx, g_idx, bytes) != 0) {
		uint32_t *copy = arena_alloc(&o->o->c->arena, q->in_features, 4);

		if (!copy)
			return err_memory(o->o->err);
		o->shared_g_idx = memcpy(copy, g_idx, bytes);
		o->shared_len = q->in_features;
	}
	q->g_idx = o->shared_g_idx;
	q->group_size = o->config->group_size > 0 ? (uint32_t)o->config->group_size : q->in_features;
	return 0;
}

static int check_g_idx(const struct gptq_opener *o, const struct gptq_module *m, const uint32_t *g_idx)
{
	const struct st_tensor *t = m->e.part[GPTQ_G_IDX];

	for (uint32_t k = 0; k < m->q.in_features; k++)
		if (g_idx[k] >= m->q.groups)
			return err_set(o->o->err, -EBADMSG,
			    "%s: tensor %.200s: element %u is %d, expected 0 to %u (scales have %u rows); fetch the model again",
			    opening_file(o->o, t), t->name, k, (int32_t)g_idx[k], m->q.groups - 1, m->q.groups);
	return 0;
}

/* Returns the number of groups that occur in g_idx. */
static int count_groups(const struct gptq_opener *o, const struct gptq_module *m, const uint32_t *g_idx, uint32_t *used)
{
	bool *seen = calloc(m->q.groups, sizeof(*seen));

	if (!seen)
		return err_memory(o->o->err);
	*used = 0;
	for (uint32_t k = 0; k < m->q.in_features; k++) {
		*used += !seen[g_idx[k]];
		seen[g_idx[k]] = true;
	}
	free(seen);
	return 0;
}

/* A g_idx with only one of several groups was never filled in; one without some of them is suspicious. */
static int take_g_idx(struct gptq_opener *o, struct gptq_module *m, const uint32_t *g_idx)
{
	uint32_t used = 0;
	int rc = check_g_idx(o, m, g_idx);

	if (rc == 0)
		rc = count_groups(o, m, g_idx, &used);
	if (rc)
		return rc;
	if (used == 1 && g_idx[0] == 0 && m->q.groups > 1)
		return find_group_size(o, m);
	if (used < m->q.groups)
		opening_tally(o->o, "g_idx leaves groups unused", "; served as stored", m->e.module);
	return is_trivial(g_idx, &m->q) ? 0 : keep_g_idx(o, g_idx, &m->q);
}

/* Reads g_idx into private memory: once checked, it must not change while a kernel uses it. */
static int read_g_idx(struct gptq_opener *o, struct gptq_module *m)
{
	void *g_idx;
	int rc = opening_read(o->o, m->e.part[GPTQ_G_IDX], (uint64_t)m->q.in_features * 4, &g_idx);

	if (rc == 0)
		rc = take_g_idx(o, m, g_idx);
	free(g_idx);
	return rc;
}

/* ---- zeros ---- */

/* Reads row 0 of qzeros, which reveals symmetric zeros and the known faults of writers. */
static int read_zeros(const struct gptq_opener *o, const struct gptq_module *m, struct zeros_finding *found)
{
	const struct st_tensor *t = m->e.part[GPTQ_QZEROS];
	void *row;
	int rc = opening_read(o->o, t, t->bytes / m->q.groups, &row);

	if (rc == 0 && zeros_examine(&m->q, row, o->config->bits, found))
		rc = err_memory(o->o->err);
	free(row);
	return rc;
}

/* True if a configuration says that all zeros of a module are the middle value. */
static bool is_said_symmetric(const struct gptq_opener *o, const struct gptq_module *m)
{
	bool unsure;
	const struct override *own = find_sym(o, m, &unsure);

	return own ? own->sym : o->config->has_sym && o->config->sym;
}

/* Makes a copy of zeros that were shifted, as v2 zeros. */
static int copy_zeros(struct gptq_opener *o, struct gptq_module *m, const struct zeros_shift *shift)
{
	const struct st_tensor *t = m->e.part[GPTQ_QZEROS];
	unsigned char *copy;
	void *read;
	int rc = opening_read(o->o, t, t->bytes, &read);

	if (rc)
		return rc;
	copy = arena_alloc(&o->o->c->arena, t->bytes, 1);
	if (copy)
		memcpy(copy, read, t->bytes);
	free(read);
	if (!copy)
		return err_memory(o->o->err);
	for (uint32_t g = 0; g < m->q.groups; g++)
		zeros_unshift(copy + (size_t)g * t->shape[1] * 4, t->shape[1], shift);
	m->symmetric = false;
	m->q.zeros = ZEROS_V2;
	m->q.qzeros = copy;
	m->repair = shift->fault;
	opening_tally(o->o, shift->fault, "; read as that version does", m->e.module);
	return 0;
}

/* Zeros without a telling pattern are read as the version of their writer wrote them. */
static int shift_zeros(struct gptq_opener *o, struct gptq_module *m)
{
	const struct zeros_shift *shift;

	if (m->q.zeros != ZEROS_V1 || m->q.word_bits != 32)
		return 0;
	if (zeros_find_shift(o->config->gptqmodel, o->config->bits, m->q.bits, &shift))
		return err_set(o->o->err, -ENOTSUP,
		    "%s: tensor %.200s.qzeros: some builds of %.80s wrote zeros of %d bits differently, and it is "
		    "unknown which wrote this one; save the model again as gptq_v2 with the GPTQModel that wrote it",
		    opening_file(o->o, m->e.part[GPTQ_QZEROS]), m->e.module, o->config->producer, m->q.bits);
	if (shift)
		return copy_zeros(o, m, shift);
	if (is_said_symmetric(o, m))
		opening_tally(o->o, NOT_MIDDLE, "; served as stored", m->e.module);
	return 0;
}

static int check_gptq_zeros(struct gptq_opener *o, struct gptq_module *m)
{
	struct zeros_finding found;
	int rc;

	m->symmetric = !m->qzeros;
	if (m->symmetric)
		return 0;
	rc = read_zeros(o, m, &found);
	if (rc)
		return rc;
	m->symmetric = found.middle;
	if (!is_said_symmetric(o, m) || (!found.middle && !found.fault))
		return shift_zeros(o, m);
	if (found.middle)
		return 0;
	m->repair = found.fault;
	m->symmetric = true;
	m->q.zeros = ZEROS_MIDDLE;
	m->q.qzeros = NULL;
	opening_tally(o->o, found.fault, "; read as the middle value", m->e.module);
	return 0;
}

/* ---- modules ---- */

static int measure_module(struct gptq_opener *o, struct gptq_module *m)
{
	int rc = find_gptq_parts(o, m);

	if (rc == 0)
		rc = check_shapes(o, m);
	if (rc == 0)
		rc = find_bits(o, m);
	if (rc)
		return rc;
	return m->e.part[GPTQ_G_IDX] ? read_g_idx(o, m) : find_group_size(o, m);
}

static int open_module(struct gptq_opener *o, struct gptq_module *m)
{
	const struct st_tensor *const *part = m->e.part;
	struct qtensor *q = &m->q;
	int rc = measure_module(o, m);

	if (rc)
		return rc;
	q->packing = is_planar(o->config, q->bits) ? PACKING_PLANAR : PACKING_STREAM;
	m->stored = q->packing == PACKING_PLANAR ? ZEROS_V2 : o->config->zeros;
	m->qzeros = part[GPTQ_QZEROS] ? checkpoint_data(o->o->c, part[GPTQ_QZEROS]) : NULL;
	q->zeros = m->qzeros ? m->stored : ZEROS_MIDDLE;
	q->qweight = checkpoint_data(o->o->c, part[GPTQ_QWEIGHT]);
	q->qzeros = m->qzeros;
	q->scales = checkpoint_data(o->o->c, part[GPTQ_SCALES]);
	m->e.transposed = architecture_keeps_orientation(o->o->architecture, &o->o->tables,
	    (struct linear){m->e.module, q->in_features, q->out_features});
	if (o->config->bits && o->config->bits != q->bits && !o->config->overrides.count)
		opening_tally(o->o, OTHER_BITS, SHAPES_COUNT, m->e.module);
	return check_gptq_zeros(o, m);
}

static int gptq_add_module(struct gptq_opener *o, const struct st_tensor *qweight)
{
	struct gptq_module *m = arena_alloc(&o->o->c->arena, 1, sizeof(*m));
	int rc;

	if (!m)
		return err_memory(o->o->err);
	m->config = o->config;
	m->e.encoding = &gptq_encoding;
	m->e.module = opening_module(o->o, qweight, ".qweight");
	if (!m->e.module)
		return err_memory(o->o->err);
	rc = open_module(o, m);
	return rc ? rc : opening_add_matrix(o->o, &m->e, m->q.out_features, m->q.in_features);
}

/* Finds out whether all elements of a small tensor are 0 or -0.0. */
static int is_zero(const struct gptq_opener *o, const struct st_tensor *t, bool *zero)
{
	const size_t element = dtype_bytes(t->dtype);
	void *read;
	const unsigned char *data;
	int rc = opening_read(o->o, t, t->bytes, &read);

	*zero = true;
	data = read;
	for (size_t i = 0; rc == 0 && i < t->bytes; i++)
		*zero &= !(i % element == element - 1 ? data[i] & 0x7f : data[i]);
	free(read);
	return rc;
}

/*
 * AutoGPTQ 0.2 to 0.7 gave every module a bias, all zero if the architecture has none. Leaves those out: the class
 * would not expect them.
 */
static int drop_spurious_bias(struct gptq_opener *o, const struct st_tensor *t)
{
	const char *module;
	bool zero = false;
	int rc;

	if (!dtype_is_cast(t->dtype) || t->bytes > BIAS_BYTES_MAX || !opening_beside(o->o, t, ".bias", ".qweight"))
		return 0;
	module = opening_module(o->o, t, ".bias");
	if (!module)
		return err_memory(o->o->err);
	if (architecture_has_bias(o->o->architecture, &o->o->biases, module))
		return 0;
	rc = is_zero(o, t, &zero);
	if (rc == 0 && zero) {
		opening_take(o->o, t);
		opening_tally(o->o, ZERO_BIAS, "; left out", module);
	}
	return rc;
}

static void warn_config(const struct gptq_opener *o)
{
	struct checkpoint *c = o->o->c;

	if (!o->config->file)
		checkpoint_warn(c, "no quantization configuration: %s, widths and groups from shapes",
		    c->zeros ? "zeros as the option says" : "zeros are assumed to be v1 (see -o zeros=)");
}

/*
 * Data read per module is small and scattered. Without prefetching, opening a model of many modules on a cold disk
 * would wait for each of these reads in turn.
 */
static void gptq_advise(const struct checkpoint *c, size_t i)
{
	const struct st_tensor *t = i < c->tensor_count ? &c->tensors[i] : NULL;

	if (t && ends_with(t->name, ".g_idx") && t->bytes <= FETCH_MAX)
		source_file_advise(checkpoint_file(c, t), t->begin, t->bytes);
	if (t && ends_with(t->name, ".qzeros") && t->ndim == 2 && t->shape[0])
		source_file_advise(checkpoint_file(c, t), t->begin, t->bytes / t->shape[0]);
}

static int open_stored(struct gptq_opener *o, const struct st_tensor *t)
{
	int rc;

	if (opening_is_taken(o->o, t))
		return 0;
	rc = check_orphan(o, t);
	if (rc == 0 && ends_with(t->name, ".qweight"))
		return gptq_add_module(o, t);
	return rc ? rc : drop_spurious_bias(o, t);
}

static bool is_module(const void *opening, const char *name)
{
	return opening_find(opening, name, ".qweight") || opening_find(opening, name, ".weight");
}

static int gptq_open(struct opening *opening)
{
	struct checkpoint *c = opening->c;
	struct quant_config *config = arena_alloc(&c->arena, 1, sizeof(*config));
	struct gptq_opener o = {.o = opening, .config = config};
	int rc = config ? quant_config_collect(opening, config) : err_memory(opening->err);

	if (rc)
		return rc;
	overrides_bind(&config->overrides, is_module, opening);
	opening->out->labels =
	    (struct tensors_labels){config->file, config->format, config->producer, config->group_size};
	for (size_t i = 0; i < FETCH_AHEAD; i++)
		gptq_advise(c, i);
	for (size_t i = 0; rc == 0 && i < c->tensor_count; i++) {
		gptq_advise(c, i + FETCH_AHEAD);
		rc = open_stored(&o, &c->tensors[i]);
	}
	if (rc == 0)
		warn_config(&o);
	return rc;
}

const struct family gptq_family = {"GPTQ", gptq_claims, gptq_open};
