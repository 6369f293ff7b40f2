/* SPDX-License-Identifier: MIT */

/* Part of gptq_strip.h: whole groups, by tables. */

/*
 * Writes the outputs of 1 to BLOCKS_AT_ONCE consecutive blocks, column by column. Rows of output are often a multiple
 * of 4 KiB apart, and so compete for the same few lines of the L1 cache; four consecutive lines are written twice as
 * fast as one line in each of 16 rows.
 */
ALWAYS_INLINE void tile_expand(const struct tile *tile, const struct codes *codes, uint32_t blocks,
    const struct batch *batch, struct variant v)
{
	const size_t block_bytes = BLOCK * out_bytes(v.out);

	for (uint32_t c = 0; c < tile->columns; c++)
		for (uint32_t i = 0; i < blocks; i++)
			column_expand(tile->dst + c * tile->pitch + i * block_bytes, &codes[i],
			    &batch->tables[v.several ? i >> batch->shift : 0], c, v);
}

/* Decodes blocks [k0, k1) of a batch. Only the last block of the matrix may be short. */
ALWAYS_INLINE void expand_blocks(const struct strip *s, uint32_t k0, uint32_t k1, const struct batch *batch,
    struct variant v)
{
	const uint32_t blocks = (k1 - k0 + BLOCK - 1) / BLOCK;
	struct tile tile = tile_at(s, k0, v.out), whole;
	struct codes codes[BLOCKS_AT_ONCE];
	words block[BLOCK_WORDS];
	struct spare spare;

	for (uint32_t i = 0; i < blocks; i++) {
		load_codes(block, s, k0 + i * BLOCK, v);
		codes_build(&codes[i], block, v);
	}
	if ((k1 - k0) % BLOCK == 0) {
		tile_expand(&tile, codes, blocks, batch, v);
		return;
	}
	whole = spare_tile(s, &spare);
	tile_expand(&whole, codes, blocks, batch, v);
	spare_finish(&tile, &spare, (k1 - k0) * out_bytes(v.out));
}

ALWAYS_INLINE void expand_batch(const struct strip *s, const struct batch *batch, struct variant v)
{
	const uint64_t k1 = batch->k1;

	for (uint64_t k = batch->k0; k < k1; k += BLOCK * BLOCKS_AT_ONCE)
		expand_blocks(s, k, k1 - k < BLOCK * BLOCKS_AT_ONCE ? k1 : k + BLOCK * BLOCKS_AT_ONCE, batch, v);
}

/* Tables were checked for NaN when they were built. Without one, it pays to know that no check is needed. */
ALWAYS_INLINE void strip_batch(const struct strip *s, struct batch *batch, struct variant v)
{
	const uint32_t size = s->q->group_size, g = batch->k0 / size;
	struct variant finite = v;
	struct group group;
	bool all = !has_table(v);

	for (uint32_t i = 0; i == 0 || (v.several && batch->k0 + (uint64_t)i * size < batch->k1); i++) {
		load_group(&group, s, g + i);
		tables_build(&batch->tables[i], &group, s->columns, v);
		all = all && is_finite(&group);
	}
	finite.finite = true;
	if (all)
		expand_batch(s, batch, finite);
	else
		expand_batch(s, batch, v);
}

ALWAYS_INLINE void strips_grouped(const struct strip *strips, unsigned count, struct variant v)
{
	const uint64_t end = strips->q->in_features, step = (uint64_t)strips->together * strips->q->group_size;
	struct batch batch;

	batch.shift = strips->q->group_size / (2 * BLOCK);
	for (batch.k0 = 0; batch.k0 < end; batch.k0 = batch.k1) {
		batch.k1 = end - batch.k0 < step ? end : batch.k0 + step;
		for (unsigned i = 0; i < count; i++)
			strip_batch(&strips[i], &batch, v);
	}
}
