/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_TEST_RANDOM_GPTQ_H
#define GPTQFS_TEST_RANDOM_GPTQ_H

/* GPTQ checkpoints: generated (draw.c), packed (pack.c), with configurations (configs.c); packed/ (packed.c). */

#include "../random.h"

#define MODULES_MAX 7

enum groups {
	GROUPS_ABSENT, /* no g_idx: k / group_size */
	GROUPS_TRIVIAL,
	GROUPS_ACT_ORDER,
	GROUPS_ARBITRARY,
};

struct module {
	struct weight weight; /* first */
	const char *name;
	unsigned bits, word_bits;
	bool planar, has_zeros;
	enum groups order;
	int64_t group_size;
	uint64_t in, out, groups;
	const struct format *scale_format;
	unsigned char *codes; /* [in][out] */
	unsigned char *zeros; /* [groups][out] */
	uint64_t *scales;     /* [groups][out] bit patterns */
	uint32_t *group_of;   /* [in] */
};

enum family { FAMILY_NONE, FAMILY_GPTQ, FAMILY_AUTOROUND };

struct gptq {
	struct checkpoint base; /* first */
	enum family family;
	const char *checkpoint_format, *format, *packing_format; /* NULL if absent */
	const char *version; /* of GPTQModel, one of those that shift v1 zeros in their own way, or NULL */
	bool shifted;        /* some module's zeros are */
	bool v2, planar, sym, says_sym, says_bits, says_group_size, mixed;
	unsigned bits;
	int64_t group_size;

	struct module modules[MODULES_MAX];
	unsigned module_count;
	char *quant_text;
};

/* Returns the module of a weight. All weights are modules here. */
static inline const struct module *module_of(const struct weight *w)
{
	return (const struct module *)w;
}

static inline const struct gptq *gptq_of(const struct checkpoint *c)
{
	return (const struct gptq *)c;
}

/* ---- draw.c ---- */

struct checkpoint *draw_gptq(void);
bool is_planar(const struct gptq *g, unsigned bits);
uint64_t whole_size(int64_t group_size, uint64_t in);
void draw_groups(struct module *m);
void draw_values(const struct gptq *g, struct module *m);
void multiply(struct module *m);

/* ---- pack.c ---- */

uint64_t place(const struct module *m, uint64_t index, unsigned bit);
const char *word_dtype(const struct module *m);
const struct stored *fill_module(struct gptq *g, struct module *m);

/* ---- configs.c ---- */

void add_configs(struct gptq *g);

/* ---- packed.c ---- */

void check_packed(const struct checkpoint *c, struct gptqfs *m, uint64_t dir);
void check_packed_again(const struct checkpoint *c, struct gptqfs *m, uint64_t dir);

#endif
