/* SPDX-License-Identifier: MIT */

/* What a checkpoint holds: its settings, modules, families of modules and all other tensors. */

#include <strings.h>

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

bool is_planar(const struct checkpoint *c, unsigned bits)
{
	return bits == 5 || bits == 6 || bits == 7 || (bits == 3 && c->planar);
}

/* True if codes of this width would have tensors of the same shapes. */
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

uint64_t whole_size(int64_t group_size, uint64_t in)
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

void draw_groups(struct module *m)
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

void draw_values(const struct checkpoint *c, struct module *m)
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
void multiply(struct module *m)
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

/* True if the index names this file. */
bool is_listed(const struct checkpoint *c, unsigned shard)
{
	for (unsigned i = 0; i < c->stored_count; i++)
		if (c->stored[i].shard == shard && !c->stored[i].stray)
			return true;
	return false;
}

/* In a listed shard, but not in the index: such a tensor counts. Or the index has it in another one: then it does not.
 */
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

bool have_one_width(const struct family_of_parts *f)
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

void draw_checkpoint(struct checkpoint *c)
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
