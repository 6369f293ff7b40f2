/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_LORA_PLACES_H
#define GPTQFS_LORA_PLACES_H

/* The tensors of a model by name, parts of joined and stacked ones included, to be changed in place. */

#include "tensor/architecture.h"
#include "tensor/tensor.h"

struct place {
	const char *name;
	struct tensor *t;
	bool part;                        /* of a joined or stacked tensor */
	const struct st_tensor *replaced; /* the tensor of an adapter that replaced it, or NULL */
};

/* A prefix of names in an adapter, and the model's in its place. */
struct exchange {
	const char *from, *to;
};

/* Models of several parts have one for each. */
#define EXCHANGES_MAX 4

struct places {
	struct checkpoint *c;
	const struct architecture *architecture;
	struct tables tables; /* of the configuration */
	struct tensors *out;  /* the list being built, sorted only at the end */
	struct place *list;   /* [count] by name */
	size_t count;
	struct place head;                        /* an untied head; its name is NULL while there is none */
	struct exchange exchanges[EXCHANGES_MAX]; /* prefixes that the adapter spells otherwise */
	size_t exchange_count;
};

/* Makes *out a copy of a list that can be changed without changing `in`, and the places in it. Returns 0 or -ENOMEM. */
int places_open(struct places *p, struct checkpoint *c, const struct tensors *in, struct tensors *out);

/*
 * Returns the place of MODULE.leaf, as adapters or as the class spell it, or NULL. A leaf of "" means a tensor MODULE.
 */
struct place *places_find(struct places *p, const char *module, const char *leaf);

/* True if there are tensors below a module of that name: MODULE.anything. */
bool places_has_below(struct places *p, const char *module);

/*
 * Lists what precedes "layers.N", "h.N" or "blocks.N" in names of the model, each once, at most `room`. Returns how
 * many there are; the strings are in the arena, and NULL if out of memory.
 */
size_t places_prefixes(const struct places *p, const char **list, size_t room);

/* Returns the length of that prefix of a name; -1 if it has none of these. */
int places_prefix_length(const char *name);

#endif
