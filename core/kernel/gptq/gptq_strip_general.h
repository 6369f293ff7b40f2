/* SPDX-License-Identifier: MIT */

/* Part of gptq_strip.h: any g_idx and any group size. */

/* Returns the group indices of inputs [k0, k0 + n): a pointer into g_idx, or to `room`, which it fills in. */
ALWAYS_INLINE const uint32_t *block_groups(uint32_t *room, const struct qtensor *q, uint32_t k0, uint32_t n)
{
	uint32_t g, left;

	if (q->g_idx && n == BLOCK)
		return q->g_idx + k0;
	memset(room, 0, BLOCK * sizeof(*room));
	if (q->g_idx) {
		memcpy(room, q->g_idx + k0, n * sizeof(*room));
		return room;
	}
	g = k0 / q->group_size;
	left = q->group_size - k0 % q->group_size;
	for (uint32_t i = 0; i < n; i++) {
		room[i] = g;
		if (--left == 0) {
			left = q->group_size;
			g++;
		}
	}
	return room;
}

/* The parameters of all groups or, if these are too many, of those in a block. Zeros include what code_float() adds. */
struct group_set {
	bool at_hand;
	struct group group[GROUPS_AT_HAND];
};

static void load_general(struct group *group, const struct strip *s, uint32_t g)
{
	load_group(group, s, g);
	group->zero += 0x1p23f;
}

/* Finds the groups of a block in groups->group. If not all are kept, loads each run to a slot. */
ALWAYS_INLINE void block_group_offsets(uint32_t *at, const uint32_t *of)
{
	words w;

	for (uint32_t i = 0; i < BLOCK; i += COLUMNS) {
		memcpy(&w, of + i, sizeof(w));
		w *= (uint32_t)sizeof(struct group);
		memcpy(at + i, &w, sizeof(w));
	}
}

static __attribute__((noinline)) void load_slots(struct group *slots, const struct strip *s, const uint32_t *of,
    uint32_t *at)
{
	uint32_t last = 0, slot = 0;

	for (uint32_t i = 0; i < BLOCK; i++) {
		if (i == 0 || of[i] != last) {
			slot = i;
			last = of[i];
			load_general(&slots[slot], s, last);
		}
		at[i] = slot * sizeof(struct group);
	}
}

/* Returns the masked bits plus 2^23, by putting them into the last bits of that float. */
ALWAYS_INLINE floats code_float(words word, uint32_t mask)
{
	return (floats)((word & mask) | (words)((floats){0} + 0x1p23f));
}

ALWAYS_INLINE floats value_of(words word, uint32_t mask, const struct group *group)
{
	return (code_float(word, mask) - group->zero) * group->scale;
}

ALWAYS_INLINE floats general_value_at(words word, uint32_t mask, const struct group *groups, uint32_t at)
{
	return value_of(word, mask, (const struct group *)((const char *)groups + at));
}

/* Computes eight codes, with groups `at`: one word of 4 bits, or two of bytes. The results begin at part i. */
ALWAYS_INLINE void general_eight(struct values *values, unsigned i, const words *word, const struct group *groups,
    const uint32_t *at, struct variant v)
{
	const unsigned bits = v.form == BYTES ? 8 : v.bits, mask = (1u << bits) - 1;
	words value[8];

	UNROLL
	for (unsigned k = 0; k < 8; k += 2) {
		const words w = word[k * bits / 32] >> k * bits % 32;
		const floats a = general_value_at(w, mask, groups, at[k]),
			     b = general_value_at(w >> bits, mask, groups, at[k + 1]);

		if (v.out == DTYPE_F32) {
			value[k] = round32(a, v);
			value[k + 1] = round32(b, v);
		} else {
			value[k / 2] = round_pair(a, b, v);
		}
	}
	values_put(values, i, value);
	if (v.out == DTYPE_F32)
		values_put(values, i + 1, value + 4);
}

ALWAYS_INLINE unsigned words_of_eight(struct variant v)
{
	return v.form == BYTES ? 2 : 1;
}

ALWAYS_INLINE unsigned block_parts(enum dtype out)
{
	return BLOCK * out_bytes(out) / 16;
}

/* Computes inputs from k0 on, at most BLOCKS_AT_ONCE blocks. */
ALWAYS_INLINE void general_blocks(const struct strip *s, struct group_set *groups, uint32_t k0, uint32_t count,
    struct variant v)
{
	const uint32_t blocks = (count + BLOCK - 1) / BLOCK;
	const struct tile tile = tile_at(s, k0, v.out);
	struct values values[BLOCKS_AT_ONCE];
	struct tile whole;
	struct spare spare;
	words block[BLOCK_WORDS];
	uint32_t room[BLOCK];

	for (uint32_t i = 0; i < blocks; i++) {
		const uint32_t k = k0 + i * BLOCK;
		const uint32_t *of = block_groups(room, s->q, k, min_u32(k0 + count - k, BLOCK));

		if (groups->at_hand)
			block_group_offsets(room, of);
		else
			load_slots(groups->group, s, of, room);
		load_codes(block, s, k, v);
		for (unsigned j = 0; j < BLOCK; j += 8)
			general_eight(&values[i], j / 8 * out_bytes(v.out) / 2, block + j / 8 * words_of_eight(v),
			    groups->group, room + j, v);
	}
	if (count % BLOCK == 0) {
		tile_finish(&tile, values, blocks, block_parts(v.out));
		return;
	}
	whole = spare_tile(s, &spare);
	tile_finish(&whole, values, blocks, block_parts(v.out));
	spare_finish(&tile, &spare, count * out_bytes(v.out));
}

ALWAYS_INLINE void general_all(const struct strip *s, struct group_set *groups, struct variant v)
{
	const uint32_t end = s->q->in_features;
	uint32_t count;

	for (uint32_t k = 0; k < end; k += count) {
		count = min_u32(end - k, BLOCK * BLOCKS_AT_ONCE);
		general_blocks(s, groups, k, count, v);
	}
}

ALWAYS_INLINE void strip_general(const struct strip *s, struct variant v)
{
	const struct qtensor *q = s->q;
	struct variant finite = v;
	struct group_set groups;
	bool all;

	groups.at_hand = all = q->groups <= GROUPS_AT_HAND;
	for (uint32_t g = 0; groups.at_hand && g < q->groups; g++) {
		load_general(&groups.group[g], s, g);
		all &= is_finite(&groups.group[g]);
	}
	finite.finite = true;
	if (all)
		general_all(s, &groups, finite);
	else
		general_all(s, &groups, v);
}
