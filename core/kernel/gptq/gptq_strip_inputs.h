/* SPDX-License-Identifier: MIT */

/* Part of gptq_strip.h: the packed orientation. */

ALWAYS_INLINE void store_some(char *dst, floats value, uint32_t n, enum dtype out)
{
	char all[COLUMNS * sizeof(float)];

	if (n == COLUMNS) {
		store_floats(dst, value, out);
		return;
	}
	store_floats(all, value, out);
	memcpy(dst, all, n * out_bytes(out));
}

/* Writes one row of all strips: code `code` of the bytes of each. */
ALWAYS_INLINE void store_row(const struct strip *strips, unsigned count, size_t offset, unsigned code,
    words (*bytes)[BLOCK_WORDS], const struct group *groups, enum dtype out)
{
	for (unsigned i = 0; i < count; i++)
		store_some(strips[i].dst + offset, value_of(bytes[i][code / 4] >> 8 * (code % 4), 255, &groups[i]),
		    strips[i].columns, out);
}

/* Writes rows [k0, k1) of adjacent columns. Codes are bytes, for any format. */
ALWAYS_INLINE void strips_inputs(const struct strip *strips, unsigned count, uint32_t k0, uint32_t k1, enum dtype out)
{
	const struct qtensor *q = strips->q;
	const size_t pitch = q->out_features * out_bytes(out);
	words bytes[STRIPS][BLOCK_WORDS];
	struct group groups[STRIPS];
	uint32_t room[BLOCK], loaded = UINT32_MAX;

	for (uint32_t k = k0 / BLOCK * BLOCK; k < k1; k += BLOCK) {
		const uint32_t *of = block_groups(room, q, k, min_u32(q->in_features - k, BLOCK));
		const uint32_t end = min_u32(k1 - k, BLOCK);

		for (unsigned i = 0; i < count; i++)
			load_bytes(bytes[i], &strips[i], k);
		for (uint32_t code = k < k0 ? k0 - k : 0; code < end; code++) {
			for (unsigned i = 0; of[code] != loaded && i < count; i++)
				load_general(&groups[i], &strips[i], of[code]);
			loaded = of[code];
			store_row(strips, count, (k + code - k0) * pitch, code, bytes, groups, out);
		}
	}
}

ALWAYS_INLINE void strip_run_inputs(void *dst, const struct qtensor *q, uint32_t k0, uint32_t nk, enum dtype out)
{
	struct strip strips[STRIPS];
	unsigned count = 0;

	for (uint32_t n = 0; n < q->out_features; n += COLUMNS) {
		struct strip *s = &strips[count++];

		*s = (struct strip){.q = q, .dst = (char *)dst + n * out_bytes(out), .n0 = n};
		s->columns = min_u32(q->out_features - n, COLUMNS);
		s->together = 1;
		strip_find_fields(s);
		if (count == STRIPS || q->out_features - n <= COLUMNS) {
			strips_inputs(strips, count, k0, k0 + nk, out);
			count = 0;
		}
	}
}
