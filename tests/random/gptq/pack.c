/* SPDX-License-Identifier: MIT */

/* Packs a module bit by bit, as the description of the format says. */

#include "gptq.h"

/* Returns the position of bit `bit` of code `index`, from the first bit of the first word. */
uint64_t place(const struct module *m, uint64_t index, unsigned bit)
{
	static const unsigned char planes[][4] = {[3] = {2, 1}, [5] = {4, 1}, [6] = {4, 2}, [7] = {4, 2, 1}};
	const unsigned char *width = planes[m->bits < 8 ? m->bits : 0];
	const uint64_t block = index / 32, i = index % 32;
	unsigned low = 0;

	if (!m->planar)
		return index * m->bits + bit;
	while (bit >= low + *width)
		low += *width++;
	/* Before this plane are whole blocks of `bits` words and the words of the lower planes, one per bit. */
	return (block * m->bits + low + i * *width / 32) * 32 + i * *width % 32 + (bit - low);
}

/* Puts a code into words that are `step` elements apart, starting at element `first`. */
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

/* Subtracts 1 from every field of a word at once: a field of 0 borrows from the next. */
static void subtract_ones(const struct module *m, unsigned char *data, uint64_t words)
{
	const unsigned bytes = m->word_bits / 8;
	uint64_t ones = 0;

	for (unsigned at = 0; at < m->word_bits; at += m->bits)
		ones |= UINT64_C(1) << at;
	for (uint64_t i = 0; i < words; i++)
		store(data + i * bytes, load(data + i * bytes, bytes) - ones, bytes);
}

/* What a version subtracted from words 0, 1, 2, 0, ... of a row instead; NULL if ones. */
static const uint32_t *shift_of(const struct gptq *g, const struct module *m)
{
	static const uint32_t reversed[] = {0x24924924, 0x92492492, 0x49249249},
			      of2[] = {0x55555555, 0x55555555, 0x55555555},
			      of4[] = {0x11111111, 0x11111111, 0x11111111},
			      of8[] = {0x01010101, 0x01010101, 0x01010101};
	const bool old = g->version && strchr("956", g->version[0] == '0' ? g->version[2] : g->version[0]);
	const bool mixed = old || (g->version && strcmp(g->version, "7.3.1") == 0);

	if (m->planar || m->word_bits != 32 || (m->bits == g->bits ? !old || m->bits != 3 : !mixed))
		return NULL;
	return g->bits == 2 ? of2 : g->bits == 3 ? reversed : g->bits == 4 ? of4 : g->bits == 8 ? of8 : NULL;
}

/* The tails of words are random. */
static void fill_tails(struct stored *s)
{
	s->data = take(s->bytes);
	if (chance(50))
		for (uint64_t i = 0; i < s->bytes; i++)
			s->data[i] = (unsigned char)any();
}

const char *word_dtype(const struct module *m)
{
	return m->word_bits == 8 ? "I8" : m->word_bits == 16 ? "I16" : m->word_bits == 32 ? "I32" : "I64";
}

static void pack_codes(struct gptq *g, const struct module *m)
{
	const uint64_t shape[] = {div_up(m->in * m->bits, m->word_bits), m->out};
	struct stored *s = add_stored(&g->base, word_dtype(m), m->word_bits, 2, shape);

	s->name = say("%s.qweight", m->name);
	fill_tails(s);
	for (uint64_t k = 0; k < m->in; k++)
		for (uint64_t n = 0; n < m->out; n++)
			put_code(m, s->data, n, m->out, k, m->codes[k * m->out + n]);
}

static void pack_zeros(struct gptq *g, const struct module *m)
{
	const uint64_t words = div_up(m->out * m->bits, m->word_bits), shape[] = {m->groups, words};
	struct stored *s = add_stored(&g->base, word_dtype(m), m->word_bits, 2, shape);
	const uint32_t *shift = shift_of(g, m);
	const bool less = !g->v2 && !m->planar && !shift;

	g->shifted |= shift != NULL;
	s->name = say("%s.qzeros", m->name);
	fill_tails(s);
	for (uint64_t g = 0; g < m->groups; g++)
		for (uint64_t n = 0; n < m->out; n++) {
			const unsigned zero = m->zeros[g * m->out + n];

			put_code(m, s->data, g * words, 1, n, less && m->bits == 3 ? (zero - 1) & 7 : zero);
		}
	for (uint64_t i = 0; shift && i < m->groups * words; i++)
		store(s->data + i * 4, load(s->data + i * 4, 4) - shift[i % words % 3], 4);
	if (less && m->bits != 3)
		subtract_ones(m, s->data, m->groups * words);
}

static void pack_scales(struct gptq *g, const struct module *m)
{
	const unsigned bytes = format_bytes(m->scale_format);
	const uint64_t shape[] = {m->groups, m->out};
	struct stored *s = add_stored(&g->base, m->scale_format->name, bytes * 8, 2, shape);

	s->name = say("%s.scales", m->name);
	s->data = take(s->bytes);
	for (uint64_t i = 0; i < m->groups * m->out; i++)
		store(s->data + i * bytes, m->scales[i], bytes);
}

static void pack_g_idx(struct gptq *g, const struct module *m)
{
	struct stored *s = add_stored(&g->base, "I32", 32, 1, &m->in);

	s->name = say("%s.g_idx", m->name);
	s->data = take(s->bytes);
	for (uint64_t k = 0; k < m->in; k++)
		store(s->data + k * 4, m->group_of[k], 4);
}

/*
 * Packs a module of known shape. Returns its bias, or NULL. If groups are given, they are shared with another module.
 */
const struct stored *fill_module(struct gptq *g, struct module *m)
{
	if (!m->group_of)
		draw_groups(m);
	draw_values(g, m);
	multiply(m);
	pack_codes(g, m);
	pack_scales(g, m);
	if (m->has_zeros)
		pack_zeros(g, m);
	if (m->order != GROUPS_ABSENT)
		pack_g_idx(g, m);
	return chance(30) ? add_bias(&g->base, m->name, m->out) : NULL;
}
