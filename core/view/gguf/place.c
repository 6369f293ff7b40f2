/* SPDX-License-Identifier: MIT */
#include "view/gguf/place.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "tree/generator.h"

#define NAME_MAX_BYTES 256

/* ---- the model's tensors by name ---- */

/* A tensor of the checkpoint: parts of joined tensors, and experts, are separate. */
struct leaf {
	const struct tensor *t;
	bool placed;
};

struct placer {
	struct checkpoint *c;
	const struct gguf_hparams *h;
	struct gguf_tensors *out;
	struct gptqfs_error *err;
	struct leaf *leaves; /* [count] by name */
	size_t count;
	const char *prefix; /* "model." */
	const char *head;   /* "lm_head" */
};

static size_t count_leaves(const struct tensor *t)
{
	const struct tensor *const *parts;
	size_t count, leaves = 0;

	parts = tensor_parts(&t, &count);
	if (count == 1 && parts[0] == t)
		return 1;
	for (size_t i = 0; i < count; i++)
		leaves += count_leaves(parts[i]);
	return leaves;
}

static void add_leaves(struct placer *p, const struct tensor *t)
{
	const struct tensor *const *parts;
	size_t count;

	parts = tensor_parts(&t, &count);
	if (count == 1 && parts[0] == t)
		p->leaves[p->count++] = (struct leaf){.t = t, .placed = t->origin == TENSOR_ZEROS};
	else
		for (size_t i = 0; i < count; i++)
			add_leaves(p, parts[i]);
}

static int leaf_order(const void *a, const void *b)
{
	return strcmp(((const struct leaf *)a)->t->name, ((const struct leaf *)b)->t->name);
}

static int leaf_find_order(const void *name, const void *leaf)
{
	return strcmp(name, ((const struct leaf *)leaf)->t->name);
}

static int list_leaves(struct placer *p, const struct tensors *ts)
{
	size_t count = 0;

	for (size_t i = 0; i < ts->count; i++)
		count += count_leaves(&ts->list[i]);
	p->leaves = calloc(count + 1, sizeof(*p->leaves));
	if (!p->leaves)
		return err_memory(p->err);
	for (size_t i = 0; i < ts->count; i++)
		add_leaves(p, &ts->list[i]);
	qsort(p->leaves, p->count, sizeof(*p->leaves), leaf_order);
	return 0;
}

static struct leaf *leaf_find(const struct placer *p, const char *name)
{
	return bsearch(name, p->leaves, p->count, sizeof(*p->leaves), leaf_find_order);
}

/* ---- one tensor of the file ---- */

/* A module of the model; experts count as one. */
struct source {
	const struct gguf_place *place;
	uint32_t layer;
	const char *suffix; /* ".weight" or ".bias" */
};

/* Returns the name in the checkpoint; `module` may have a '#' for the expert. */
static void source_name(const struct placer *p, const struct source *s, const char *module, uint32_t expert,
    char name[NAME_MAX_BYTES])
{
	const char *number = strchr(module, '#');

	if (number)
		snprintf(name, NAME_MAX_BYTES, "%slayers.%u.%.*s%u%s%s", p->prefix, s->layer, (int)(number - module),
		    module, expert, number + 1, s->suffix);
	else
		snprintf(name, NAME_MAX_BYTES, "%slayers.%u.%s%s", p->prefix, s->layer, module, s->suffix);
}

static int refuse_shape(const struct placer *p, const struct tensor *t, const char *expected)
{
	return err_set(p->err, -EBADMSG, "tensor %.200s has a shape that does not fit; expected %s", t->name, expected);
}

static int refuse_missing(const struct placer *p, const char *name)
{
	return err_set(p->err, -ENOTSUP, "tensor %.200s is missing, which %s models have", name, p->h->arch->name);
}

static struct gguf_tensor *new_tensor(struct placer *p, size_t parts)
{
	struct gguf_tensors *out = p->out;
	const size_t room = out->room * 2 + 64;
	struct gguf_tensor *list = out->list, *t;

	if (out->count == out->room)
		list = reallocarray(out->list, room, sizeof(*list));
	if (!list)
		return NULL;
	out->room = out->count == out->room ? room : out->room;
	out->list = list;
	t = &list[out->count];
	*t = (struct gguf_tensor){.parts = arena_alloc(&out->arena, parts, sizeof(*t->parts))};
	if (parts && !t->parts)
		return NULL;
	out->count++;
	return t;
}

static int take_part(struct placer *p, struct gguf_tensor *out, struct leaf *leaf)
{
	if (!tensor_is_float(leaf->t))
		return err_set(p->err, -ENOTSUP, "tensor %.200s is not of a float type", leaf->t->name);
	leaf->placed = true;
	out->parts[out->count++] = leaf->t;
	return 0;
}

/* Computes the shape of the file's tensor from its parts: rows in sequence, experts in sequence. */
static int settle_shape(const struct placer *p, struct gguf_tensor *out, bool experts)
{
	const struct tensor *first = out->parts[0];
	const bool matrix = out->kind == GGUF_MATRIX || out->kind == GGUF_ROUTER;
	uint64_t rows = 0;

	if (first->ndim != (matrix ? 2 : 1))
		return refuse_shape(p, first, matrix ? "a matrix" : "one dimension");
	for (size_t i = 0; i < out->count; i++) {
		const struct tensor *t = out->parts[i];

		if (t->ndim != first->ndim || t->shape[t->ndim - 1] != first->shape[first->ndim - 1] ||
		    (experts && t->shape[0] != first->shape[0]))
			return refuse_shape(p, t, "that of the tensor before it");
		rows += t->shape[0];
	}
	if (!rows || !first->shape[first->ndim - 1])
		return refuse_shape(p, first, "no dimension of 0");
	out->ndim = experts ? 3 : first->ndim;
	out->shape[0] = matrix ? first->shape[1] : rows;
	out->shape[1] = matrix ? experts ? first->shape[0] : rows : 1;
	out->shape[2] = experts ? out->count : 1;
	return 0;
}

/* Returns how many tensors of the model a module has: one for each expert. */
static uint32_t count_placed_experts(const struct placer *p, const struct gguf_place *place)
{
	return strchr(place->from, '#') ? p->h->experts : 1;
}

static uint32_t rows_of_head(const struct placer *p, const struct gguf_place *place)
{
	return p->h->arch->rope_order && place->rows != GGUF_ROWS ? p->h->head_dim : 0;
}

static int check_heads(const struct placer *p, const struct gguf_place *place, const struct gguf_tensor *t)
{
	const uint64_t heads = place->rows == GGUF_ROPE_Q ? p->h->heads : p->h->kv_heads;
	const uint64_t rows = t->kind == GGUF_BIAS ? t->shape[0] : t->shape[1];

	if (t->head && rows != heads * t->head)
		return refuse_shape(p, t->parts[0], "as many rows as the heads of config.json have together");
	return 0;
}

/* Appends the tensors of a module, of each expert, to those of a tensor of the file. */
static int take_parts(struct placer *p, const struct source *s, const char *module, struct gguf_tensor *out)
{
	const uint32_t count = count_placed_experts(p, s->place);
	char name[NAME_MAX_BYTES];
	int rc = 0;

	for (uint32_t i = 0; rc == 0 && i < count; i++) {
		struct leaf *leaf;

		source_name(p, s, module, i, name);
		leaf = leaf_find(p, name);
		rc = leaf ? take_part(p, out, leaf) : refuse_missing(p, name);
	}
	return rc;
}

/* Adds a weight or bias of a layer, from one tensor or several. */
static int place_source(struct placer *p, const struct source *s)
{
	const struct gguf_place *place = s->place;
	const uint32_t experts = count_placed_experts(p, place);
	char name[NAME_MAX_BYTES];
	struct gguf_tensor *t;
	bool halves;
	int rc;

	if (experts > p->count)
		return err_set(p->err, -ENOTSUP, "config.json has %u experts, the checkpoint %zu tensors", experts,
		    p->count);
	source_name(p, s, place->from, 0, name);
	halves = place->halves[0] && !leaf_find(p, name);
	t = new_tensor(p, halves ? 2 : experts);
	if (!t)
		return err_memory(p->err);
	rc = take_parts(p, s, halves ? place->halves[0] : place->from, t);
	if (rc == 0 && halves)
		rc = take_parts(p, s, place->halves[1], t);
	if (rc)
		return rc;
	snprintf(t->name, sizeof(t->name), "blk.%u.%s%s", s->layer, place->to, s->suffix);
	t->kind = strcmp(s->suffix, ".bias") == 0 ? GGUF_BIAS : place->kind;
	t->head = rows_of_head(p, place);
	rc = settle_shape(p, t, strchr(place->from, '#') != NULL);
	return rc ? rc : check_heads(p, place, t);
}

/* ---- biases ---- */

struct zero_scan {
	const unsigned char *data;
	size_t bytes, element;
	bool zero;
};

static void scan_zero(void *ctx)
{
	struct zero_scan *s = ctx;

	s->zero = true;
	for (size_t i = 0; i < s->bytes; i++)
		s->zero &= !(i % s->element == s->element - 1 ? s->data[i] & 0x7f : s->data[i]);
}

/* Returns 1 if the tensor has the checkpoint's own floats, all zero, 0 if not, or -EIO. */
static int is_all_zero(const struct placer *p, const struct tensor *t)
{
	struct source_file *file;
	struct zero_scan s;

	if (t->origin != TENSOR_STORED || !tensor_is_float(t))
		return 0;
	file = checkpoint_file(p->c, t->stored);
	s.data = checkpoint_data(p->c, t->stored);
	s.bytes = t->stored->bytes;
	s.element = dtype_bytes(t->stored->dtype);
	if (inputs_guard(&(struct inputs){.files = &file, .count = 1}, scan_zero, &s))
		return err_set(p->err, -EIO, "tensor %.200s cannot be read", t->name);
	return s.zero;
}

/*
 * Examines a bias: it has a counterpart if the architecture adds it; all-zero ones, which some quantizers write, need
 * none. Returns 1 if it must be placed, 0 if not or if there is none, or -errno.
 */
static int look_at_bias(struct placer *p, const char *name, bool kept)
{
	struct leaf *leaf = leaf_find(p, name);
	int zero;

	if (!leaf || kept)
		return leaf != NULL;
	zero = is_all_zero(p, leaf->t);
	if (zero == 0 && p->h->arch->biases != GGUF_BIAS_LINEAR)
		return err_set(p->err, -ENOTSUP, "%s models have no bias %.200s", p->h->arch->name, name);
	leaf->placed |= zero == 1;
	return zero < 0 ? zero : !zero;
}

static int place_bias(struct placer *p, const struct source *s)
{
	const struct gguf_place *place = s->place;
	const char *const modules[] = {place->from, place->halves[0], place->halves[1]};
	const bool kept = p->h->arch->biases == GGUF_BIAS_QKV && place->qkv;
	char name[NAME_MAX_BYTES];
	bool some = false;

	for (size_t m = 0; m < 3; m++)
		for (uint32_t i = 0; modules[m] && i < count_placed_experts(p, place); i++) {
			int rc;

			source_name(p, s, modules[m], i, name);
			rc = look_at_bias(p, name, kept);
			if (rc < 0)
				return rc;
			some |= rc;
		}
	return some ? place_source(p, s) : 0;
}

static int place_layer(struct placer *p, uint32_t layer)
{
	int rc = 0;

	for (const struct gguf_place *const *list = p->h->arch->layer; *list; list++)
		for (const struct gguf_place *place = *list; rc == 0 && place->from; place++) {
			rc = place_source(p, &(struct source){place, layer, ".weight"});
			if (rc == 0 && place->kind != GGUF_NORM)
				rc = place_bias(p, &(struct source){place, layer, ".bias"});
		}
	return rc;
}

/* ---- the tensors around the layers ---- */

static int place_single(struct placer *p, const char *from, const char *to, enum gguf_kind kind)
{
	struct leaf *leaf = leaf_find(p, from);
	struct gguf_tensor *t = leaf ? new_tensor(p, 1) : NULL;
	int rc;

	if (!leaf)
		return refuse_missing(p, from);
	if (!t)
		return err_memory(p->err);
	rc = take_part(p, t, leaf);
	if (rc)
		return rc;
	snprintf(t->name, sizeof(t->name), "%s", to);
	t->kind = kind;
	return settle_shape(p, t, false);
}

/* Adds factors of rope: those of config.json's list `key`, or else computed. */
static int place_made(struct placer *p, const char *name, const char *key)
{
	struct gguf_tensor *t = new_tensor(p, 0);
	int rc;

	if (!t)
		return err_memory(p->err);
	rc = key ? gguf_rope_long(p->h, key, &t->made, p->err) : gguf_rope_llama3(p->h, &t->made, p->err);
	snprintf(t->name, sizeof(t->name), "%s", name);
	t->kind = GGUF_NORM;
	t->ndim = 1;
	t->shape[0] = t->made.len / sizeof(float);
	t->shape[1] = t->shape[2] = 1;
	return rc == 0 && t->made.failed ? err_memory(p->err) : rc;
}

static int place_factors(struct placer *p)
{
	int rc;

	if (p->h->rope == GGUF_ROPE_LLAMA3)
		return place_made(p, "rope_freqs.weight", NULL);
	if (p->h->rope != GGUF_ROPE_LONG)
		return 0;
	rc = place_made(p, "rope_factors_long.weight", "long_factor");
	return rc ? rc : place_made(p, "rope_factors_short.weight", "short_factor");
}

static int place_head(struct placer *p)
{
	char name[NAME_MAX_BYTES];
	struct leaf *leaf;

	snprintf(name, sizeof(name), "%s.weight", p->head);
	leaf = leaf_find(p, name);
	if (!leaf)
		return 0;
	/* llama.cpp uses gemma's embedding as its head, as the class does, which ignores another one. */
	if (p->h->arch->plus_one && !p->h->untied) {
		leaf->placed = true;
		return 0;
	}
	if (strcmp(p->h->arch->name, "gemma2") == 0 && p->h->untied)
		return err_set(p->err, -ENOTSUP,
		    "tensor %.200s is not the embedding, which llama.cpp uses as the head of gemma2", leaf->t->name);
	return place_single(p, name, "output.weight", GGUF_MATRIX);
}

/* Tensors that llama.cpp does not use, and zero ones. */
static int check_rest(const struct placer *p)
{
	static const char *const ignored[] = {".rotary_emb.inv_freq", ".attention.bias", ".attention.masked_bias"};
	static const char *const towers[] = {
	    "vision_tower.", "vision_model.", "visual.", "multi_modal_projector.", "mm_projector."};

	for (size_t i = 0; i < p->count; i++) {
		const char *name = p->leaves[i].t->name;
		const char *part = strncmp(name, "model.", 6) == 0 ? name + 6 : name;
		bool known = p->leaves[i].placed;

		for (size_t k = 0; k < sizeof(ignored) / sizeof(*ignored); k++)
			known |= ends_with(name, ignored[k]);
		for (size_t k = 0; k < sizeof(towers) / sizeof(*towers); k++)
			known |= strncmp(part, towers[k], strlen(towers[k])) == 0;
		if (!known)
			return err_set(p->err, -ENOTSUP, "tensor %.200s has no place in a GGUF file of %s", name,
			    p->h->arch->name);
	}
	return 0;
}

static int find_name_prefix(struct placer *p)
{
	static const struct {
		const char *prefix, *head;
	} known[] = {{"model.", "lm_head"}, {"language_model.model.", "language_model.lm_head"},
	    {"model.language_model.", "lm_head"}};
	char name[NAME_MAX_BYTES];

	for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++) {
		snprintf(name, sizeof(name), "%sembed_tokens.weight", known[i].prefix);
		if (!leaf_find(p, name))
			continue;
		p->prefix = known[i].prefix;
		p->head = known[i].head;
		return 0;
	}
	return refuse_missing(p, "model.embed_tokens.weight");
}

static int place_tensors(struct placer *p)
{
	char name[NAME_MAX_BYTES];
	int rc = find_name_prefix(p);

	if (rc)
		return rc;
	snprintf(name, sizeof(name), "%sembed_tokens.weight", p->prefix);
	rc = place_single(p, name, "token_embd.weight", GGUF_MATRIX);
	if (rc == 0 && p->out->list[0].shape[1] != p->h->vocabulary)
		rc = refuse_shape(p, p->out->list[0].parts[0], "a row for each token of config.json's vocab_size");
	if (rc == 0)
		rc = place_factors(p);
	for (uint32_t i = 0; rc == 0 && i < p->h->blocks; i++)
		rc = place_layer(p, i);
	snprintf(name, sizeof(name), "%snorm.weight", p->prefix);
	if (rc == 0)
		rc = place_single(p, name, "output_norm.weight", GGUF_NORM);
	if (rc == 0)
		rc = place_head(p);
	return rc ? rc : check_rest(p);
}

int gguf_place_all(struct checkpoint *c, const struct tensors *ts, const struct gguf_hparams *h,
    struct gguf_tensors *out, struct gptqfs_error *err)
{
	struct placer p = {.c = c, .h = h, .out = out, .err = err};
	int rc = list_leaves(&p, ts);

	*out = (struct gguf_tensors){0};
	if (rc == 0)
		rc = place_tensors(&p);
	free(p.leaves);
	return rc;
}

void gguf_tensors_free(struct gguf_tensors *ts)
{
	for (size_t i = 0; i < ts->count; i++)
		text_free(&ts->list[i].made);
	free(ts->list);
	arena_free(&ts->arena);
}
