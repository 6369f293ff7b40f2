/* SPDX-License-Identifier: MIT */

/* A GPTQ checkpoint: its settings, modules, families of modules. */

#include <strings.h>

#include "gptq.h"

/* ---- what the configuration says ---- */

static void draw_labels(struct gptq *g)
{
	static const char *const labels[] = {NULL, "gptq", "GPTQ", "gptq_v2", "Gptq_V2", "gptq_p"};
	const char *counts;

	g->checkpoint_format = PICK(labels);
	g->format = chance(50) ? g->checkpoint_format : PICK(labels);
	counts = g->checkpoint_format ? g->checkpoint_format : g->format ? g->format : "gptq";
	g->v2 = strcasecmp(counts, "gptq") != 0;
	g->planar = strcasecmp(counts, "gptq_p") == 0;
}

static void draw_packing(struct gptq *g)
{
	static const struct {
		const char *packing;
		bool v2;
	} labels[] = {{NULL, false}, {"auto_round:auto_gptq", false}, {"auto_round:gptq", false},
	    {"auto_round:auto_gptq:exllamav2", false}, {"auto_round:gptqmodel", true}, {"auto_round", true}};
	const uint64_t i = below(COUNT(labels));

	g->packing_format = labels[i].packing;
	g->v2 = labels[i].v2;
}

static unsigned draw_bits(const struct gptq *g)
{
	static const unsigned char usual[] = {2, 3, 4, 4, 8}, all[] = {2, 3, 3, 4, 4, 5, 6, 7, 8};

	return g->family == FAMILY_GPTQ ? PICK(all) : PICK(usual);
}

static int64_t draw_group_size(void)
{
	static const int usual[] = {-1, 8, 16, 32, 32, 64, 128, 4096};

	return chance(80) ? PICK(usual) : 1 + (int64_t)below(150);
}

/* Of 7.3.1 with a base of 3 bits nobody knows what it did to other widths. */
static void draw_version(struct gptq *g)
{
	static const char *const versions[] = {"0.8.5", "0.9.0", "5.0.0", "6.0.3", "7.3.1", "7.3.2"};
	const char *version = PICK(versions);

	if (g->family == FAMILY_GPTQ && !g->v2 && !g->sym && g->says_bits && chance(50) &&
	    !(g->bits == 3 && g->mixed && strcmp(version, "7.3.1") == 0))
		g->version = version;
}

static void draw_settings(struct gptq *g)
{
	*g = (struct gptq){.family = chance(5) ? FAMILY_NONE : chance(75) ? FAMILY_GPTQ : FAMILY_AUTOROUND};
	if (g->family == FAMILY_GPTQ)
		draw_labels(g);
	if (g->family == FAMILY_AUTOROUND)
		draw_packing(g);
	g->sym = chance(35) || g->family == FAMILY_NONE;
	g->says_sym = g->family != FAMILY_NONE && (!g->sym || chance(80));
	g->says_bits = g->family != FAMILY_NONE && chance(95);
	g->says_group_size = g->family != FAMILY_NONE && chance(95);
	g->bits = draw_bits(g);
	g->group_size = draw_group_size();
	g->mixed = chance(30);
	g->base.has_config = chance(85);
	draw_version(g);
}

/* ---- modules ---- */

bool is_planar(const struct gptq *g, unsigned bits)
{
	return bits == 5 || bits == 6 || bits == 7 || (bits == 3 && g->planar);
}

/* True if codes of this width would have tensors of the same shapes. */
static bool fits(const struct gptq *g, const struct module *m, unsigned bits)
{
	const uint64_t w = m->word_bits, rows = div_up(m->in * m->bits, w);
	const uint64_t in = m->order == GROUPS_ABSENT ? rows * w / bits : m->in;

	if (w % bits && (w != 32 || bits == 8))
		return false;
	if (is_planar(g, bits) && (w != 32 || in % 32 || m->out % 32))
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
 * Widths and group sizes follow from shapes or, if these are ambiguous, from the configuration, of the module or else
 * of all. Checkpoints that are still ambiguous are avoided.
 */
static bool is_decidable(const struct gptq *g, const struct module *m)
{
	const bool named = g->mixed && g->family != FAMILY_NONE; /* the configuration names the module */
	const uint64_t size = whole_size(m->group_size, m->in);
	const uint64_t said = whole_size(g->says_group_size ? g->group_size : -1, m->in);

	if (named)
		return true;
	for (unsigned bits = 2; bits <= 8; bits++)
		if (bits != m->bits && fits(g, m, bits) && !(g->says_bits && g->bits == m->bits))
			return false;
	if (m->order != GROUPS_ABSENT || said == size)
		return true;
	return div_up(m->in, said) != m->groups && m->groups * size == m->in;
}

static enum groups draw_order(const struct gptq *g)
{
	static const unsigned char usual[] = {
	    GROUPS_ABSENT, GROUPS_TRIVIAL, GROUPS_TRIVIAL, GROUPS_ACT_ORDER, GROUPS_ACT_ORDER, GROUPS_ARBITRARY};

	if (g->family != FAMILY_AUTOROUND)
		return PICK(usual);
	return g->packing_format && strstr(g->packing_format, "gptqmodel") ? GROUPS_TRIVIAL : GROUPS_ABSENT;
}

/* in and out: multiples that the packing requires; mostly few rows and columns, sometimes hundreds. */
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
	/* Rows too long to be decoded for small reads go through the cache. */
	if (below(300) == 0) {
		m->in = step_in * div_up(9000 + below(12000), step_in);
		m->out = m->planar ? 32 : 1 + below(40);
	}
}

static void draw_shape(const struct gptq *g, struct module *m)
{
	static const unsigned char words[] = {8, 16, 64};

	m->bits = g->mixed && chance(50) ? draw_bits(g) : g->bits;
	m->group_size = g->mixed && chance(50) ? draw_group_size() : g->group_size;
	m->word_bits = (m->bits == 2 || m->bits == 4 || m->bits == 8) && chance(10) ? PICK(words) : 32;
	m->planar = is_planar(g, m->bits);
	m->order = draw_order(g);
	m->has_zeros = !(g->sym && g->says_sym && chance(25));
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
	uint64_t sum = 0;

	m->group_of = take(m->in * sizeof(*m->group_of));
	shuffle(rank, (unsigned)m->in);
	for (uint64_t k = 0; k < m->in; k++)
		if (m->order == GROUPS_ARBITRARY)
			m->group_of[k] = (uint32_t)below(m->groups);
		else
			m->group_of[k] = (uint32_t)((m->order == GROUPS_ACT_ORDER ? rank[k] : k) / size);
	/* With several groups, one of zeros alone is taken for one that was never filled in. */
	for (uint64_t k = 0; k < m->in; k++)
		sum += m->group_of[k];
	if (m->order == GROUPS_ARBITRARY && m->groups > 1 && !sum)
		m->group_of[0] = 1;
}

void draw_values(const struct gptq *g, struct module *m)
{
	static const unsigned char shares[] = {0, 0, 0, 10, 100};
	const unsigned mask = (1u << m->bits) - 1, hard = PICK(shares), few = chance(30) ? 60 : 0;

	m->codes = take(m->in * m->out);
	m->zeros = take(m->groups * m->out);
	m->scales = take(m->groups * m->out * sizeof(*m->scales));
	for (uint64_t i = 0; i < m->in * m->out; i++)
		m->codes[i] = any() & mask;
	for (uint64_t i = 0; i < m->groups * m->out; i++) {
		/* Many zeros of 0: borrows between fields, and through fields that are 0 themselves. */
		m->zeros[i] = g->sym ? 1u << (m->bits - 1) : chance(few) ? 0 : any() & mask;
		m->scales[i] = chance(hard) ? hard_bits(m->scale_format) : usual_bits(m->scale_format);
	}
}

/* Products of at most 24 and 9 bits are exact in a double. */
void multiply(struct module *m)
{
	m->weight = (struct weight){2, {m->out, m->in}, take(m->in * m->out * sizeof(*m->weight.values))};
	for (uint64_t k = 0; k < m->in; k++)
		for (uint64_t n = 0; n < m->out; n++) {
			const uint64_t at = m->group_of[k] * m->out + n;
			const int difference = m->codes[k * m->out + n] - m->zeros[at];
			const double product = decode(m->scale_format, m->scales[at]) * difference;

			m->weight.values[n * m->in + k] = decode(&F32, encode(&F32, product));
		}
}

static void add_module(struct gptq *g)
{
	static const char *const names[] = {"self_attn.q_proj", "self_attn.k_proj", "mlp.down_proj", "mlp.up_proj",
	    "mlp.experts.3.w1", "mlp.experts.10.w2", "o_pr\"oj", "\xc3\xa9tage.x\\y"};
	const unsigned number = g->module_count, layer = number * (unsigned)(1 + below(6));
	struct module *m = &g->modules[g->module_count++];

	if (chance(5))
		m->name = say("lm_head%u", number);
	else
		m->name = say("model.layers.%u.%s", layer, PICK(names));
	for (unsigned i = 0; i < number; i++)
		if (strcmp(g->modules[i].name, m->name) == 0)
			m->name = say("again.%u", number);
	do
		draw_shape(g, m);
	while (!is_decidable(g, m));
	fill_module(g, m);
}

/* ---- families ---- */

/* A sibling of a module: mostly equal except for the number of columns. */
static void draw_sibling(const struct gptq *g, struct module *m, const struct module *first)
{
	unsigned tries = chance(85) ? 50 : 0;

	for (; tries; tries--) {
		const char *name = m->name;

		*m = *first;
		m->name = name;
		m->out = m->planar ? 32 * (1 + below(3)) : 1 + below(70);
		m->has_zeros = !(g->sym && g->says_sym && chance(25));
		if (m->order == GROUPS_ABSENT || m->order == GROUPS_TRIVIAL)
			m->order =
			    m->in % 32 == 0 && g->family != FAMILY_AUTOROUND && chance(30) ? GROUPS_TRIVIAL : m->order;
		m->group_of = m->order == first->order && chance(90) ? first->group_of : NULL;
		if (is_decidable(g, m))
			return;
	}
	m->group_of = NULL;
	do
		draw_shape(g, m);
	while (!is_decidable(g, m));
}

static void add_family(struct gptq *g)
{
	static const char *const names[][PARTS_MAX] = {{"q_proj", "k_proj", "v_proj"}, {"gate_proj", "up_proj"}};
	static const char *const joined[] = {"self_attn.qkv_proj", "mlp.gate_up_proj"}, *const at[] = {
											    "self_attn", "mlp"};
	const size_t kind = below(2);
	const unsigned layer = 100 + g->base.family_count, plain = chance(10) ? 100 : 7;
	struct family_of_parts *f = &g->base.families[g->base.family_count++];
	const struct module *first = NULL;
	const uint64_t in = 1 + below(90);

	*f = (struct family_of_parts){.joined = say("model.layers.%u.%s", layer, joined[kind])};
	for (; f->count < PARTS_MAX && names[kind][f->count]; f->count++) {
		struct part *p = &f->parts[f->count];
		struct module *m = &g->modules[g->module_count];

		p->name = say("model.layers.%u.%s.%s", layer, at[kind], names[kind][f->count]);
		if (chance(plain)) {
			p->stored = add_plain_part(&g->base, p->name, first ? first->in : in);
			continue;
		}
		g->module_count++;
		*m = (struct module){.name = p->name};
		if (first)
			draw_sibling(g, m, first);
		else
			do
				draw_shape(g, m);
			while (!is_decidable(g, m));
		first = first ? first : m;
		p->weight = &m->weight;
		p->bias = fill_module(g, m);
	}
}

struct checkpoint *draw_gptq(void)
{
	static struct gptq g;

	draw_settings(&g);
	draw_files(&g.base);
	if (chance(45))
		add_family(&g);
	for (uint64_t i = 1 + below(3); i > 0; i--)
		add_module(&g);
	for (unsigned i = 0; i < g.module_count; i++)
		add_shown(&g.base, say("%s.weight", g.modules[i].name))->weight = &g.modules[i].weight;
	add_others(&g.base);
	expect_views(&g.base);
	add_configs(&g);
	return &g.base;
}
