/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_GPTQ_FAMILY_H
#define GPTQFS_GPTQ_FAMILY_H

/*
 * GPTQ: a module X is stored as X.qweight, X.qzeros, X.scales and X.g_idx instead of X.weight. The four may be in
 * different shards; g_idx may be absent, and so may qzeros if zeros are symmetric. The width of codes follows from the
 * shapes, because configurations only give a default for all modules.
 */

#include "kernel/gptq/gptq.h"
#include "quant/family.h"
#include "quant/gptq/config.h"
#include "quant/gptq/form.h"

/* If zeros are absent or known to be the middle value, q.zeros is MIDDLE; if they are a repaired copy, V2. */
struct gptq_module {
	struct encoded e;            /* first; its parts are by enum gptq_part */
	struct qtensor q;            /* points into maps: read under inputs_guard */
	enum zeros stored;           /* format of its qzeros, V1 or V2, whatever q.zeros is */
	bool symmetric;              /* every zero in the first row is the middle value */
	const char *repair;          /* the known fault of its zeros that is repaired, or NULL */
	const unsigned char *qzeros; /* stored data in the map; NULL if absent */
	const struct quant_config *config;
};

/* True if q.qzeros is a copy, not in a map. */
static inline bool gptq_copied_zeros(const struct gptq_module *m)
{
	return m->q.qzeros && m->q.qzeros != m->qzeros;
}

extern const char *const gptq_suffixes[];
extern const struct encoding gptq_encoding;

static inline struct gptq_module *gptq_module_of(struct encoded *e)
{
	return (struct gptq_module *)e;
}

static inline const struct gptq_module *gptq_const_module_of(const struct encoded *e)
{
	return (const struct gptq_module *)e;
}

/* See struct encoding. */
int gptq_dense_rows(struct encoded *e, const struct kernels *k, enum dtype out, struct arena *arena,
    const struct generator **g);

#endif
