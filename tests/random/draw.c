/* SPDX-License-Identifier: MIT */

/* Common to checkpoints of all families: files, unquantized tensors, and what the views must show. */

#include "random.h"

struct stored *add_stored(struct checkpoint *c, const char *dtype, unsigned bits, int ndim, const uint64_t *shape)
{
	struct stored *s = &c->stored[c->stored_count++];
	uint64_t elements = 1;

	*s = (struct stored){.dtype = dtype, .ndim = ndim, .shard = (unsigned)below(c->file_count)};
	for (int i = 0; i < ndim; i++)
		elements *= s->shape[i] = shape[i];
	s->bytes = elements * bits / 8;
	return s;
}

/* A part that was not quantized. */
const struct stored *add_plain_part(struct checkpoint *c, const char *name, uint64_t in)
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

/* Never all zeros: old writers left those where the model has no bias. */
const struct stored *add_bias(struct checkpoint *c, const char *module, uint64_t out)
{
	static const struct format *const types[] = {&F16, &BF16, &F32};
	const struct format *f = PICK(types);
	const unsigned bytes = format_bytes(f);
	struct stored *s = add_stored(c, f->name, bytes * 8, 1, &out);

	s->name = say("%s.bias", module);
	s->passes = true;
	s->data = take(s->bytes);
	for (uint64_t n = 0; n < out; n++)
		store(s->data + n * bytes, n ? hard_bits(f) : usual_bits(f), bytes);
	return s;
}

/* ---- everything else in a checkpoint ---- */

static const struct {
	const char *name;
	unsigned bits;
} other_dtypes[] = {
    {"I64", 64}, {"U8", 8}, {"BOOL", 8}, {"F8_E8M0", 8}, {"I16", 16}, {"I32", 32}, {"U16", 16}, {"I8", 8}};

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
	const char *name, *before = chance(50) ? "t" : "", *after = chance(50) ? "." : "";
	uint64_t shape[3];
	const int ndim = draw_dims(shape);
	struct stored *s = add_stored(c, f ? f->name : other_dtypes[other].name,
	    f ? format_bytes(f) * 8 : other_dtypes[other].bits, ndim, shape);

	do
		name = PICK(names);
	while ((c->shunned && strcmp(name, c->shunned) == 0) || (c->no_codes && !f && strstr(name, ".weight")));
	/* A number before the name makes it unique, whatever its suffix. */
	s->name = say("%s%u%s%s", before, c->stored_count * 7, after, name);
	s->passes = true;
	s->data = take(s->bytes);
	for (uint64_t at = 0; f && at < s->bytes; at += format_bytes(f))
		store(s->data + at, chance(50) ? hard_bits(f) : usual_bits(f), format_bytes(f));
	for (uint64_t at = 0; !f && at < s->bytes; at++)
		s->data[at] = (unsigned char)any();
}

/* Tensors too large for one shard of a view. They are zeros, stored neither on disk nor in memory. */
static void add_holes(struct checkpoint *c)
{
	const uint64_t count = 2 + below(3);

	c->has_holes = true;
	for (uint64_t i = 0; i < count; i++) {
		const unsigned bytes = chance(50) ? 1 : format_bytes(formats[below(3)]);
		const uint64_t shape[] = {(UINT64_C(1000000000) + below(2000000000)) / 1024 / bytes, 1024};
		struct stored *s = add_stored(c, bytes == 1 ? "U8" : bytes == 4 ? "F32" : "BF16", bytes * 8, 2, shape);

		s->name = say("large.%u.%s", (unsigned)below(4) * 10 + (unsigned)i,
		    c->no_codes && bytes == 1 ? "table" : "weight");
		s->passes = true;
	}
}

/* True if the index names this file. */
bool is_listed(const struct checkpoint *c, unsigned shard)
{
	for (unsigned i = 0; i < c->stored_count; i++)
		if (c->stored[i].shard == shard && !c->stored[i].stray)
			return true;
	return false;
}

/* A tensor in a listed shard but not in the index counts. If the index has it in another shard, it does not. */
static void add_stray(struct checkpoint *c)
{
	const struct stored *like = &c->stored[below(c->stored_count)];
	const unsigned shard = (like->shard + 1 + (unsigned)below(c->file_count)) % c->file_count;
	const bool unlisted = shard == like->shard || chance(30);
	struct stored *s;

	if (unlisted && strncmp(like->dtype, "F8_E", 4) == 0)
		return; /* renamed, it would lack its scale, and the model would be refused */
	s = add_stored(c, like->dtype, 8, 0, NULL);
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

/* Adds a tensor that the views must show; the caller fills it in. */
struct shown *add_shown(struct checkpoint *c, const char *name)
{
	struct shown *t = &c->shown[c->shown_count++];

	*t = (struct shown){.name = name};
	return t;
}

static int by_kind_and_name(const void *a, const void *b)
{
	const struct shown *x = a, *y = b;

	return !x->other != !y->other ? !y->other - !x->other : strcmp(x->name, y->name);
}

/* Adds passed tensors to the decoded ones, in order: floats, then the rest, each by name. */
static void expect_tensors(struct checkpoint *c)
{
	for (unsigned i = 0; i < c->stored_count; i++) {
		const struct stored *s = &c->stored[i];
		struct shown *t;

		if (!s->passes)
			continue;
		t = add_shown(c, s->name);
		t->stored = s;
		t->other = find_format(s->dtype) ? NULL : s->dtype;
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
	return p->weight ? p->weight->shape[0] : p->stored->shape[0];
}

bool have_one_width(const struct family_of_parts *f)
{
	for (unsigned i = 1; i < f->count; i++) {
		const struct part *a = &f->parts[0], *b = &f->parts[i];

		if ((a->weight ? a->weight->shape : a->stored->shape)[1] !=
		    (b->weight ? b->weight->shape : b->stored->shape)[1])
			return false;
	}
	return true;
}

/* Adds the joined weight or bias of a family in place of its parts. A family without any bias has none. */
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

/* One file, or several with or without an index. */
void draw_files(struct checkpoint *c)
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

/* Unquantized tensors. */
void add_others(struct checkpoint *c)
{
	for (uint64_t i = below(7); i > 0; i--)
		add_passing(c);
	if (below(400) == 0)
		add_holes(c);
	if (c->index && !c->has_holes && chance(15))
		add_stray(c);
}

void expect_views(struct checkpoint *c)
{
	expect_tensors(c);
	expect_fused(c);
}
