/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_LORA_TYING_H
#define GPTQFS_LORA_TYING_H

/*
 * Embedding and head. If the configuration ties them, the base has one tensor for both. An adapter trained on one of
 * them changes that one alone: then both are shown.
 */

#include "lora/adapter.h"
#include "lora/places.h"

struct tying {
	struct places *places;
	struct place *embedding; /* NULL if it is not known */
	const char *head;        /* the name of the head's weight; NULL if it is not known */
	bool tied, untied;
	uint64_t rows; /* of the embedding before any adapter */
};

void tying_open(struct tying *t, struct places *p);

/* True if MODULE.weight is the head's name. */
bool tying_is_head(const struct tying *t, const char *module);

/*
 * Finds the place that a tensor MODULE.weight of an adapter changes, and unties the two first if necessary; NULL if the
 * model has none. `together`: the adapter changes both. Returns 0, or -ENOTSUP if an earlier adapter changed both.
 */
int tying_find(struct tying *t, const char *module, bool together, struct place **place);

/*
 * Checks, after all adapters, that both have equally many rows, and sets *rows to the embedding's. Returns 0 or
 * -EBADMSG.
 */
int tying_check(const struct tying *t, uint64_t *rows, struct gptqfs_error *err);

#endif
