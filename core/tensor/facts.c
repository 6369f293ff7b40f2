/* SPDX-License-Identifier: MIT */
#include "tensor/facts.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static void add_fact(struct facts *f, struct fact fact)
{
	if (f->count < FACTS_MAX)
		f->list[f->count++] = fact;
}

void facts_number(struct facts *f, const char *key, uint64_t number)
{
	add_fact(f, (struct fact){.key = key, .kind = FACT_NUMBER, .number = number});
}

void facts_truth(struct facts *f, const char *key, bool truth)
{
	add_fact(f, (struct fact){.key = key, .kind = FACT_TRUTH, .truth = truth});
}

void facts_word(struct facts *f, const char *key, const char *word)
{
	add_fact(f, (struct fact){.key = key, .kind = FACT_WORD, .word = word});
}

const struct fact *facts_find(const struct facts *f, const char *key)
{
	for (size_t i = 0; i < f->count; i++)
		if (strcmp(f->list[i].key, key) == 0)
			return &f->list[i];
	return NULL;
}

const char *fact_text(const struct fact *fact, char buffer[FACT_TEXT_MAX])
{
	switch (fact->kind) {
	case FACT_NUMBER:
		snprintf(buffer, FACT_TEXT_MAX, "%" PRIu64, fact->number);
		return buffer;
	case FACT_TRUTH:
		return fact->truth ? "true" : "false";
	case FACT_WORD:
		break;
	}
	return fact->word ? fact->word : "";
}
