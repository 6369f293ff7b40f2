/* SPDX-License-Identifier: MIT */

/*
 * GPTQ: a module X is stored as X.qweight, X.qzeros, X.scales and X.g_idx instead of X.weight. The four may stand in
 * four shards; g_idx may be absent, and so may qzeros where zeros are symmetric. How wide the codes are is read from
 * the shapes, because configurations only give a default for all modules.
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/err.h"
#include "file/pages.h"
#include "quant/gptq/zeros.h"
#include "tensor/architecture.h"
#include "tensor/source.h"

/* Rows of the output are buffered whole; the widest real layer has 53,248 input features. */
#define IN_FEATURES_MAX ((uint64_t)1 << 22)
#define OUT_FEATURES_MAX ((uint64_t)1 << 31)
#define BIAS_BYTES_MAX ((uint64_t)64 << 20)

/* Tensors that the disk is asked for ahead, where they are read at all, and the longest g_idx that is worth it. */
#define FETCH_AHEAD 1024
#define FETCH_MAX ((uint64_t)1 << 20)

#define TALLIES 12

struct parts {
	const char *name; /* of the module */
	const struct st_tensor *qweight, *qzeros, *scales, *g_idx;
};

struct opener {
	struct checkpoint *c;
	struct source *out;
	struct gptqfs_error *err;
	const uint32_t *shared_g_idx; /* of the module before: q, k and v mostly have the same */
	uint32_t shared_len;
	const struct architecture *architecture;
	struct {
		const char *what, *first; /* module */
		size_t count;
	} tallies[TALLIES];
};

static bool gptq_probe(const struct checkpoint *c)
{
	for (size_t i = 0; i < c->tensor_count; i++)
		if (ends_with(c->tensors[i].name, ".qweight"))
			return true;
	return false;
}

/* ---- warnings: one per kind, however many modules ---- */

#define NOT_MIDDLE "the configuration says sym, but zeros are not the middle value; served as stored"
#define OTHER_BITS "the configuration gives another number of bits; the shapes count"
#define OTHER_GROUP "the configuration gives another group size; the shapes count"
#define ZERO_BIAS "an all-zero bias that the architecture does not have; left out"

static void tally(struct opener *o, const char *what, const char *module)
{
	size_t i = 0;

	while (i < TALLIES - 1 && o->tallies[i].what && strcmp(o->tallies[i].what, what) != 0)
		i++;
	o->tallies[i].what = what;
	if (!o->tallies[i].count++)
		o->tallies[i].first = module;
}

static void warn_tallies(const struct opener *o)
{
	for (size_t i = 0; i < TALLIES && o->tallies[i].what; i++)
		checkpoint_warn(o->c, "%zu module%s (the first: %s): %s%s", o->tallies[i].count,
		    o->tallies[i].count > 1 ? "s" : "", o->tallies[i].first, o->tallies[i].what,
		    strncmp(o->tallies[i].what, "zeros", 5) == 0 || strncmp(o->tallies[i].what, "3-bit", 5) == 0
			? "; read as the middle value"
			: "");
}

/* ---- finding the parts ---- */

static const struct st_tensor *find_part(const struct opener *o, const char *module, const char *suffix)
{
	char name[1024];

	if (snprintf(name, sizeof(name), "%s%s", module, suffix) >= (int)sizeof(name))
		return NULL;
	return checkpoint_find(o->c, name);
}

static const char *file_of(const struct opener *o, const struct st_tensor *t)
{
	return checkpoint_file(o->c, t)->name;
}

static int missing(const struct opener *o, const struct parts *p, const char *what, const char *expected)
{
	return err_set(o->err, -EBADMSG, "%s: tensor %.200s%s is missing (expected %s); fetch the model again",
	    file_of(o, p->qweight), p->name, what, expected);
}

static int find_parts(const struct opener *o, struct parts *p)
{
	if (find_part(o, p->name, ".weight"))
		return err_set(o->err, -EBADMSG,
		    "%s: module %.200s has both .qweight and .weight; which one counts cannot be known: remove one",
		    file_of(o, p->qweight), p->name);
	p->scales = find_part(o, p->name, ".scales");
	p->qzeros = find_part(o, p->name, ".qzeros");
	p->g_idx = find_part(o, p->name, ".g_idx");
	if (!p->scales)
		return missing(o, p, ".scales", "F16, BF16 or F32 [groups, out_features]");
	if (!p->qzeros && !o->c->quant.sym)
		return missing(o, p, ".qzeros",
		    "words [groups, out_features * bits / 32]; only a symmetric model may lack it");
	return 0;
}

/* Is `t` NAME<suffix> of a module, one that has NAME.qweight? */
static bool stands_beside_qweight(const struct opener *o, const struct st_tensor *t, const char *suffix)
{
	const size_t len = strlen(t->name) - strlen(suffix);
	char module[1024];

	if (!ends_with(t->name, suffix) || len >= sizeof(module))
		return false;
	memcpy(module, t->name, len);
	module[len] = 0;
	return find_part(o, module, ".qweight") != NULL;
}

/*
 * Is this stored tensor a part of a module, which the dense model does not have? A part without its qweight is an
 * error: a module that lost its codes would otherwise vanish without a word. (Only .scales may be some other tensor's
 * name.)
 */
static int check_part(const struct opener *o, const struct st_tensor *t, bool *part)
{
	static const char *const suffixes[] = {".scales", ".qzeros", ".g_idx"};

	*part = false;
	for (int i = 0; i < 3; i++) {
		if (!ends_with(t->name, suffixes[i]))
			continue;
		*part = stands_beside_qweight(o, t, suffixes[i]);
		if (!*part && i > 0) {
			const size_t len = strlen(t->name) - strlen(suffixes[i]);

			return err_set(o->err, -EBADMSG,
			    "%s: tensor %.*s.qweight is missing (%.200s is there); fetch the model again",
			    file_of(o, t), len < 200 ? (int)len : 200, t->name, t->name);
		}
	}
	return 0;
}

/* ---- sizes ---- */

static bool is_matrix(const struct st_tensor *t)
{
	return t->ndim == 2 && t->shape[0] && t->shape[1];
}

static int bad_shape(const struct opener *o, const struct st_tensor *t, const char *expected)
{
	return err_set(o->err, -EBADMSG, "%s: tensor %.200s has %s [%llu, %llu], expected %s; fetch the model again",
	    file_of(o, t), t->name, dtype_name(t->dtype), t->ndim ? (unsigned long long)t->shape[0] : 0,
	    t->ndim > 1 ? (unsigned long long)t->shape[1] : 0, expected);
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

static int check_shapes(const struct opener *o, const struct parts *p, struct qtensor *q)
{
	const struct st_tensor *w = p->qweight, *s = p->scales, *z = p->qzeros;

	q->word_bits = (uint8_t)word_bits(w);
	if (!is_matrix(w) || !q->word_bits)
		return bad_shape(o, w, "I32 [in_features * bits / 32, out_features]");
	if (!is_matrix(s) || (s->dtype != DTYPE_F16 && s->dtype != DTYPE_BF16 && s->dtype != DTYPE_F32))
		return bad_shape(o, s, "F16, BF16 or F32 [groups, out_features]");
	if (s->shape[1] != w->shape[1] && w->shape[1] * 8 == s->shape[1])
		return err_set(o->err, -ENOTSUP,
		    "%s: tensor %.200s is packed along out_features: this is AWQ, which is not served; fetch the GPTQ version of "
		    "the model",
		    file_of(o, w), w->name);
	if (s->shape[1] != w->shape[1])
		return err_set(o->err, -EBADMSG,
		    "%s: tensor %.200s has %llu columns, expected the %llu of %s.qweight; fetch the model again",
		    file_of(o, s), s->name, (unsigned long long)s->shape[1], (unsigned long long)w->shape[1], p->name);
	if (z && (!is_matrix(z) || word_bits(z) != q->word_bits || z->shape[0] != s->shape[0]))
		return bad_shape(o, z, "words as in qweight, with as many rows as scales");
	if (p->g_idx && (p->g_idx->ndim != 1 || !p->g_idx->shape[0] || p->g_idx->dtype != DTYPE_I32))
		return bad_shape(o, p->g_idx, "I32 [in_features]");
	if (w->shape[1] > OUT_FEATURES_MAX || w->shape[0] > IN_FEATURES_MAX || s->shape[0] > IN_FEATURES_MAX)
		return bad_shape(o, w, "at most 4194304 rows and 2147483648 columns");
	q->out_features = (uint32_t)w->shape[1];
	q->groups = (uint32_t)s->shape[0];
	q->scale_dtype = s->dtype;
	return 0;
}

static bool planar(const struct checkpoint *c, int bits)
{
	return bits == 5 || bits == 6 || bits == 7 || (bits == 3 && c->quant.planar);
}

/* in_features if codes have `bits` bits, or 0 if the shapes do not fit that. */
static uint64_t fit_bits(const struct opener *o, const struct parts *p, const struct qtensor *q, unsigned bits)
{
	const uint64_t rows = p->qweight->shape[0], w = q->word_bits;
	const uint64_t in = p->g_idx ? p->g_idx->shape[0] : rows * w / bits;

	if (w % bits != 0 && (w != 32 || bits > 7))
		return 0;
	if (planar(o->c, (int)bits) && (w != 32 || in % 32 || q->out_features % 32))
		return 0;
	if (p->qzeros && div_up((uint64_t)q->out_features * bits, w) != p->qzeros->shape[1])
		return 0;
	return in <= IN_FEATURES_MAX && div_up(in * bits, w) == rows ? in : 0;
}

/* The width that the shapes allow; where tiny shapes allow several, the configuration's. */
static int find_bits(const struct opener *o, const struct parts *p, struct qtensor *q)
{
	const struct override *override;
	uint64_t in[9] = {0};
	unsigned fits = 0, bits = 0;

	for (unsigned b = 2; b <= 8; b++) {
		in[b] = fit_bits(o, p, q, b);
		bits = in[b] ? b : bits;
		fits += in[b] != 0;
	}
	if (fits > 1) {
		const bool own =
		    overrides_find(&o->c->quant.overrides, p->name, &override) == 0 && override && override->bits;
		const int64_t wanted = own ? override->bits : o->c->quant.bits;

		bits = wanted >= 2 && wanted <= 8 ? (unsigned)wanted : 0;
	}
	if (in[bits]) {
		q->bits = (uint8_t)bits;
		q->in_features = (uint32_t)in[bits];
		return 0;
	}
	return err_set(o->err, -EBADMSG,
	    "%s: module %.200s: qweight [%llu, %u], qzeros [%llu, %llu] and g_idx [%llu] fit %s; expected ceil(in_features * "
	    "bits / %u) rows and ceil(out_features * bits / %u) columns; fetch the model again",
	    file_of(o, p->qweight), p->name, (unsigned long long)p->qweight->shape[0], q->out_features,
	    p->qzeros ? (unsigned long long)p->qzeros->shape[0] : 0,
	    p->qzeros ? (unsigned long long)p->qzeros->shape[1] : 0,
	    p->g_idx ? (unsigned long long)p->g_idx->shape[0] : 0,
	    fits ? "several widths, and the configuration names none of them" : "no width from 2 to 8 bits",
	    q->word_bits, q->word_bits);
}

/*
 * The group size where no g_idx gives groups: the configuration's for this module, if the rows of scales agree with it.
 * A pattern that cannot be evaluated is no excuse for guessing, unless the shapes leave nothing open.
 */
static int find_group_size(struct opener *o, const struct parts *p, struct qtensor *q)
{
	const struct override *override;
	const int unsure = overrides_find(&o->c->quant.overrides, p->name, &override);
	const bool own = !unsure && override && override->group_size;
	const int64_t wanted = own ? override->group_size : o->c->quant.group_size;
	const uint64_t size = wanted > 0 && wanted < q->in_features ? (uint64_t)wanted : q->in_features;
	const bool even = q->in_features % q->groups == 0;

	q->group_size = even ? q->in_features / q->groups : (uint32_t)size;
	if (unsure && !(even && q->group_size == size))
		return err_set(o->err, -ENOTSUP,
		    "%s: module %.200s has no g_idx, and whether the pattern \"%.200s\" of the configuration changes its group size "
		    "cannot be said (not a POSIX expression); name the module in plain words",
		    file_of(o, p->scales), p->name, override->pattern);
	if (div_up(q->in_features, size) == q->groups) {
		q->group_size = (uint32_t)size;
		return 0;
	}
	if (even && !own) {
		tally(o, OTHER_GROUP, p->name);
		return 0;
	}
	return err_set(o->err, -EBADMSG,
	    "%s: module %.200s has %u groups for %u in_features, no g_idx, and group_size %lld in the configuration, which "
	    "makes %llu; correct group_size or fetch the model again",
	    file_of(o, p->scales), p->name, q->groups, q->in_features, (long long)wanted,
	    (unsigned long long)div_up(q->in_features, size));
}

/* ---- g_idx ---- */

/* Does every k belong to group k / group_size, for one group_size? Then kernels need no g_idx. */
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

/* Reads g_idx into private memory: checked once, it must not change under a kernel's hands. */
static int read_g_idx(struct opener *o, const struct parts *p, struct qtensor *q)
{
	struct source_file *f = checkpoint_file(o->c, p->g_idx);
	uint32_t *g_idx = malloc((size_t)q->in_features * 4), *copy;

	if (!g_idx)
		return err_memory(o->err);
	if (source_file_read(f, g_idx, (size_t)q->in_features * 4, p->g_idx->begin)) {
		free(g_idx);
		return err_set(o->err, -EIO, "%s: tensor %.200s cannot be read", f->name, p->g_idx->name);
	}
	for (uint32_t k = 0; k < q->in_features; k++)
		if (g_idx[k] >= q->groups) {
			int32_t found = (int32_t)g_idx[k];

			free(g_idx);
			return err_set(o->err, -EBADMSG,
			    "%s: tensor %.200s: element %u is %d, expected 0 to %u (scales have %u rows); fetch the model again",
			    f->name, p->g_idx->name, k, found, q->groups - 1, q->groups);
		}
	if (!is_trivial(g_idx, q)) {
		if (o->shared_g_idx && o->shared_len == q->in_features &&
		    memcmp(o->shared_g_idx, g_idx, (size_t)q->in_features * 4) == 0) {
			q->g_idx = o->shared_g_idx;
		} else {
			copy = arena_alloc(&o->c->arena, q->in_features, 4);
			if (copy)
				q->g_idx = memcpy(copy, g_idx, (size_t)q->in_features * 4);
		}
		o->shared_g_idx = q->g_idx;
		o->shared_len = q->in_features;
		q->group_size = o->c->quant.group_size > 0 ? (uint32_t)o->c->quant.group_size : q->in_features;
		if (!q->g_idx) {
			free(g_idx);
			return err_memory(o->err);
		}
	}
	free(g_idx);
	return 0;
}

/* ---- zeros ---- */

/* Row 0 of qzeros tells whether zeros are symmetric, and shows the known faults of writers. */
static int check_zeros(struct opener *o, struct module *m)
{
	const struct quant_config *quant = &o->c->quant;
	struct zeros_finding found;
	const size_t row_bytes = m->qzeros ? (size_t)(m->qzeros->bytes / m->q.groups) : 0;
	unsigned char *row;
	int rc;

	m->symmetric = !m->qzeros;
	if (m->symmetric)
		return 0;
	row = malloc(row_bytes);
	if (!row)
		return err_memory(o->err);
	rc = source_file_read(checkpoint_file(o->c, m->qzeros), row, row_bytes, m->qzeros->begin);
	if (rc)
		err_set(o->err, rc, "%s: tensor %.200s cannot be read", file_of(o, m->qzeros), m->qzeros->name);
	else if (zeros_examine(&m->q, row, quant->bits, &found))
		rc = err_memory(o->err);
	free(row);
	if (rc)
		return rc;
	m->symmetric = found.middle;
	if (!quant->has_sym || !quant->sym || found.middle)
		return 0;
	if (found.fault) {
		m->repair = found.fault;
		m->symmetric = true;
		m->q.zeros = ZEROS_MIDDLE;
		m->q.qzeros = NULL;
		tally(o, found.fault, m->name);
	} else if (!quant->overrides.count) {
		tally(o, NOT_MIDDLE, m->name);
	}
	return 0;
}

/* ---- modules ---- */

static void add_file(struct module *m, struct source_file *f)
{
	size_t i = 0;

	while (m->files[i] && m->files[i] != f)
		i++;
	m->files[i] = f;
}

static int open_module(struct opener *o, struct parts *p, struct module *m)
{
	struct qtensor *q = &m->q;
	int rc = find_parts(o, p);

	m->name = p->name;
	if (rc == 0)
		rc = check_shapes(o, p, q);
	if (rc == 0)
		rc = find_bits(o, p, q);
	if (rc == 0)
		rc = p->g_idx ? read_g_idx(o, p, q) : find_group_size(o, p, q);
	if (rc)
		return rc;
	q->packing = planar(o->c, q->bits) ? PACKING_PLANAR : PACKING_STREAM;
	m->convention = q->packing == PACKING_PLANAR ? ZEROS_V2 : o->c->quant.zeros;
	q->zeros = p->qzeros ? m->convention : ZEROS_MIDDLE;
	q->qweight = checkpoint_data(o->c, p->qweight);
	q->qzeros = p->qzeros ? checkpoint_data(o->c, p->qzeros) : NULL;
	q->scales = checkpoint_data(o->c, p->scales);
	add_file(m, checkpoint_file(o->c, p->qweight));
	add_file(m, checkpoint_file(o->c, p->scales));
	if (p->qzeros)
		add_file(m, checkpoint_file(o->c, p->qzeros));
	m->qweight = p->qweight;
	m->scales = p->scales;
	m->qzeros = p->qzeros;
	m->g_idx = p->g_idx;
	m->qweight_bytes = p->qweight->bytes;
	m->keep_orientation = architecture_keeps_orientation(o->architecture, m->name);
	m->packed_bytes = p->qweight->bytes + p->scales->bytes + (p->qzeros ? p->qzeros->bytes : 0) +
	                  (p->g_idx ? p->g_idx->bytes : 0);
	if (o->c->quant.bits && o->c->quant.bits != q->bits && !o->c->quant.overrides.count)
		tally(o, OTHER_BITS, m->name);
	return check_zeros(o, m);
}

static int add_module(struct opener *o, const struct st_tensor *qweight, struct tensor *t)
{
	struct arena *arena = &o->c->arena;
	struct module *m = &o->out->modules[o->out->module_count];
	struct parts p = {.qweight = qweight};
	uint64_t *shape = arena_alloc(arena, 2, sizeof(*shape));
	int rc;

	p.name = arena_strndup(arena, qweight->name, strlen(qweight->name) - strlen(".qweight"));
	if (!shape || !p.name)
		return err_memory(o->err);
	rc = open_module(o, &p, m);
	if (rc)
		return rc;
	shape[m->keep_orientation] = m->q.out_features;
	shape[!m->keep_orientation] = m->q.in_features;
	*t = (struct tensor){.name = arena_printf(arena, "%s.weight", p.name), .shape = shape, .ndim = 2, .module = m};
	o->out->module_count++;
	return t->name ? 0 : err_memory(o->err);
}

/* Has every byte of a small tensor the value 0 (or -0.0: only the sign bit of an element)? */
static int is_zero(const struct opener *o, const struct st_tensor *t, bool *zero)
{
	const size_t element = dtype_bytes(t->dtype), bytes = (size_t)t->bytes;
	unsigned char *data = malloc(bytes + 1);

	if (!data)
		return err_memory(o->err);
	if (source_file_read(checkpoint_file(o->c, t), data, bytes, t->begin)) {
		free(data);
		return err_set(o->err, -EIO, "%s: tensor %.200s cannot be read", file_of(o, t), t->name);
	}
	*zero = true;
	for (size_t i = 0; i < bytes; i++)
		*zero &= !(i % element == element - 1 ? data[i] & 0x7f : data[i]);
	free(data);
	return 0;
}

/*
 * AutoGPTQ 0.2 to 0.7 gave every module a bias, which is all zero where the architecture has none. The class would
 * not know what to do with it.
 */
static int is_spurious_bias(struct opener *o, const struct st_tensor *t, bool *spurious)
{
	char *module;
	int rc;

	*spurious = false;
	if (!dtype_is_cast(t->dtype) || t->bytes > BIAS_BYTES_MAX || !stands_beside_qweight(o, t, ".bias"))
		return 0;
	module = arena_strndup(&o->c->arena, t->name, strlen(t->name) - strlen(".bias"));
	if (!module)
		return err_memory(o->err);
	if (architecture_has_bias(o->architecture, o->c->config_json, module))
		return 0;
	rc = is_zero(o, t, spurious);
	if (rc == 0 && *spurious)
		tally(o, ZERO_BIAS, module);
	return rc;
}

static int add_tensor(struct opener *o, const struct st_tensor *s)
{
	struct tensor *t = &o->out->tensors[o->out->tensor_count];
	bool part, spurious;
	int rc = check_part(o, s, &part);

	if (rc || part)
		return rc;
	if (ends_with(s->name, ".qweight")) {
		rc = add_module(o, s, t);
	} else {
		rc = is_spurious_bias(o, s, &spurious);
		if (rc || spurious)
			return rc;
		*t = (struct tensor){.name = s->name, .shape = s->shape, .ndim = s->ndim, .stored = s};
	}
	o->out->tensor_count++;
	return rc;
}

static void warn_config(const struct opener *o)
{
	const struct json *config = o->c->config_json;

	warn_tallies(o);
	if (!o->c->quant.file)
		checkpoint_warn(o->c,
		    "no quantization configuration: zeros are taken to be v1, widths and groups from shapes");
	if (find_part(o, "lm_head", ".qweight") && json_bool(json_get(config, "tie_word_embeddings"), false))
		checkpoint_warn(o->c,
		    "config.json ties lm_head to the embedding, but there is a quantized lm_head: loaders ignore "
		    "the latter");
}

/* What is read of every module is small and lies apart from the rest: with one read at a time, opening a model of very
 * many modules on a cold disk would take as long as all those reads one after the other. */
static void fetch_ahead(const struct checkpoint *c, size_t i)
{
	const struct st_tensor *t = i < c->tensor_count ? &c->tensors[i] : NULL;

	if (t && ends_with(t->name, ".g_idx") && t->bytes <= FETCH_MAX)
		source_file_advise(checkpoint_file(c, t), t->begin, t->bytes);
	if (t && ends_with(t->name, ".qzeros") && t->ndim == 2 && t->shape[0])
		source_file_advise(checkpoint_file(c, t), t->begin, t->bytes / t->shape[0]);
}

static int gptq_open(struct checkpoint *c, struct source *out, struct gptqfs_error *err)
{
	struct opener o = {.c = c, .out = out, .err = err, .architecture = architecture_find(c->config_json)};
	size_t modules = 0;
	int rc = 0;

	for (size_t i = 0; i < c->tensor_count; i++)
		modules += ends_with(c->tensors[i].name, ".qweight");
	out->format = "GPTQ";
	out->tensors = arena_alloc(&c->arena, c->tensor_count, sizeof(*out->tensors));
	out->modules = arena_alloc(&c->arena, modules, sizeof(*out->modules));
	if (!out->tensors || !out->modules)
		return err_memory(err);
	for (size_t i = 0; i < FETCH_AHEAD; i++)
		fetch_ahead(c, i);
	for (size_t i = 0; rc == 0 && i < c->tensor_count; i++) {
		fetch_ahead(c, i + FETCH_AHEAD);
		rc = add_tensor(&o, &c->tensors[i]);
	}
	if (rc == 0)
		warn_config(&o);
	return rc;
}

const struct source_ops source_gptq = {"GPTQ", gptq_probe, gptq_open};
