/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_TENSOR_FACTS_H
#define GPTQFS_TENSOR_FACTS_H

/*
 * What an encoding says about a module, as keys and values: defined once, and shown by .info, extended attributes,
 * info.json and --check. Keys are lower case, [a-z0-9_], in the order shown; keys and words must outlive the facts. The
 * keys totalled over a model are bits, group_size, groups, act_order, symmetric and repair.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum fact_kind { FACT_NUMBER, FACT_TRUTH, FACT_WORD };

struct fact {
	const char *key;
	enum fact_kind kind;
	union {
		uint64_t number;
		bool truth;
		const char *word; /* NULL if absent */
	};
};

#define FACTS_MAX 16
#define FACT_TEXT_MAX 24 /* of a number or boolean as text, with its terminator */

/* A zeroed struct is empty. */
struct facts {
	struct fact list[FACTS_MAX];
	size_t count;
};

void facts_number(struct facts *f, const char *key, uint64_t number);
void facts_truth(struct facts *f, const char *key, bool truth);
void facts_word(struct facts *f, const char *key, const char *word);

/* Returns the fact with that key, or NULL. */
const struct fact *facts_find(const struct facts *f, const char *key);

/* Returns the value as text: a number, "true" or "false", a word or "". Numbers are written to `buffer`. */
const char *fact_text(const struct fact *fact, char buffer[FACT_TEXT_MAX]);

#endif
