/* SPDX-License-Identifier: MIT */
#include "view/tensor_info.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base/sheet.h"
#include "tensor/adapted.h"
#include "tensor/encoding.h"
#include "view/npy.h"

typedef unsigned long long ull;

/* ---- values ---- */

static void put_shape(struct text *out, const uint64_t *shape, int ndim, bool transposed)
{
	text_string(out, "[");
	for (int i = 0; i < ndim; i++) {
		text_string(out, i ? ", " : "");
		text_number(out, shape[transposed ? ndim - 1 - i : i]);
	}
	text_string(out, "]");
}

enum dtype tensor_info_npy(const struct tensor_info *info)
{
	const enum dtype dtype = dense_shown(info->npy, info->tensor).dtype;

	return npy_descr(dtype) ? dtype : DTYPE_COUNT;
}

/* ---- the first line ---- */

static void put_summary(const struct tensor_info *info, const struct st_tensor *shown, struct text *out)
{
	const struct tensor *t = info->tensor;
	const struct encoded *e = tensor_encoded(t);
	size_t count;

	tensor_parts(&t, &count);
	text_ascii(out, t->name);
	if (e) {
		text_string(out, ": ");
		e->encoding->summarize(e, out);
	} else if (count > 1) {
		text_printf(out, ": %zu tensors %s", count, t->origin == TENSOR_STACKED ? "stacked" : "joined");
	} else {
		text_printf(out, ": not quantized, %s", dtype_name(tensor_stored_dtype(tensor_base(t))));
	}
	if (t->origin == TENSOR_ADAPTED)
		text_string(out, ", with an adapter merged");
	text_string(out, ", ");
	put_shape(out, t->shape, t->ndim, false);
	text_string(out, ", ");
	text_bytes(out, tensor_stored_bytes(t));
	text_string(out, " -> ");
	text_bytes(out, shown->bytes);
	text_printf(out, " %s\n", dtype_name(shown->dtype));
}

/* ---- what the files hold ---- */

static void put_array(struct sheet *s, const struct tensor_info *info, const char *key, bool transposed)
{
	const struct tensor *t = info->tensor;
	const enum dtype dtype = tensor_info_npy(info);

	if (dtype == DTYPE_COUNT || (transposed && t->ndim != 2)) {
		sheet_string(s, key, NULL, dtype == DTYPE_COUNT ? "numpy has no such type" : "only matrices have one");
		return;
	}
	sheet_key(s, key);
	text_printf(s->out, "%s ", npy_descr(dtype));
	put_shape(s->out, t->shape, t->ndim, transposed);
	text_printf(s->out, " (%s order%s)\n", transposed ? "Fortran" : "C",
	    dtype == dense_shown(info->dense, t).dtype ? "" : "; numpy has no BF16");
}

static void put_files(struct sheet *s, const struct tensor_info *info, const struct st_tensor *shown)
{
	const struct tensor *t = info->tensor;

	sheet_string(s, "Tensor", t->name, NULL);
	sheet_string(s, "Bias", info->bias ? info->bias->name : NULL, NULL);
	sheet_string(s, "Dtype", dtype_name(shown->dtype), NULL);
	sheet_key(s, "Shape");
	put_shape(s->out, t->shape, t->ndim, false);
	text_string(s->out, "\n");
	put_array(s, info, "Npy", false);
	put_array(s, info, "Npy_transposed", true);
	sheet_number(s, "Stored_bytes", tensor_stored_bytes(t), NULL);
	sheet_number(s, "Dense_bytes", shown->bytes, NULL);
}

/* ---- where it comes from ---- */

static void put_stored(struct sheet *s, const struct checkpoint *c, const char *key, const struct st_tensor *t)
{
	if (!t) {
		sheet_string(s, key, NULL, NULL);
		return;
	}
	sheet_key(s, key);
	text_ascii(s->out, checkpoint_file(c, t)->name);
	text_string(s->out, ", offset ");
	text_number(s->out, t->begin);
	text_string(s->out, ", ");
	text_number(s->out, t->bytes);
	text_string(s->out, " bytes, ");
	text_string(s->out, dtype_name(t->dtype));
	text_string(s->out, " ");
	put_shape(s->out, t->shape, t->ndim, false);
	text_string(s->out, "\n");
}

/* What adapters add: a line for each, and what else they bring. */
static void put_adapted(struct sheet *s, const struct adapted *a)
{
	for (size_t i = 0; i < a->layers; i++) {
		const struct adapted_term *t = &a->terms[i][0];

		for (uint64_t m = 0; !t->rank && m < a->matrices; m++)
			t = &a->terms[i][m];
		sheet_key(s, "Adapter_rank");
		text_printf(s->out, "%u, times %.17g\n", t->rank, t->scale);
	}
	if (a->magnitude)
		sheet_string(s, "Adapter_dora", "yes", NULL);
	if (a->given.count)
		sheet_number(s, "Adapter_rows", a->given.count, "rows that are the adapter's own");
	for (size_t i = 0; i < a->file_count; i++)
		sheet_string(s, "Adapter_file", a->files[i]->name, NULL);
}

/* "Group_size" for "group_size". */
static void put_fact(struct sheet *s, const struct fact *fact)
{
	char key[64], value[FACT_TEXT_MAX];

	snprintf(key, sizeof(key), "%c%s", toupper((unsigned char)*fact->key), fact->key + 1);
	if (fact->kind == FACT_TRUTH)
		sheet_string(s, key, fact->truth ? "yes" : "no", NULL);
	else
		sheet_string(s, key, fact->kind == FACT_WORD ? fact->word : fact_text(fact, value), NULL);
}

/* "Qweight" for ".qweight". */
static void put_part(struct sheet *s, const struct checkpoint *c, const struct encoded *e, size_t i)
{
	const char *suffix = e->encoding->suffixes[i];
	char key[64];

	snprintf(key, sizeof(key), "%c%s", toupper((unsigned char)suffix[1]), suffix + 2);
	put_stored(s, c, key, e->part[i]);
}

static void put_encoded(struct sheet *s, const struct checkpoint *c, const struct encoded *e)
{
	struct facts facts = {0};

	e->encoding->describe(e, &facts);
	sheet_string(s, "Module", e->module, NULL);
	sheet_string(s, "Format", e->encoding->name, NULL);
	for (size_t i = 0; i < facts.count; i++)
		put_fact(s, &facts.list[i]);
	sheet_number(s, "In_features", e->shape[e->ndim - (e->transposed ? 2 : 1)], NULL);
	sheet_number(s, "Out_features", e->shape[e->ndim - (e->transposed ? 1 : 2)], NULL);
	sheet_number(s, "Packed_bytes", e->stored_bytes, NULL);
	for (size_t i = 0; e->encoding->suffixes[i]; i++)
		put_part(s, c, e, i);
}

static void put_origin(struct sheet *s, const struct checkpoint *c, const struct tensor *t)
{
	size_t count;
	const struct tensor *const *parts = tensor_parts(&t, &count);

	if (tensor_encoded(t))
		put_encoded(s, c, tensor_encoded(t));
	else if (tensor_stored_dtype(tensor_base(t)) != DTYPE_COUNT)
		put_stored(s, c, "Stored", tensor_base(t)->stored);
	if (t->origin == TENSOR_ADAPTED)
		put_adapted(s, t->adapted);
	for (size_t i = 0; count > 1 && i < count; i++) {
		const struct tensor *part = parts[i];
		char rows[32];

		snprintf(rows, sizeof(rows), "%llu rows", (ull)part->shape[0]);
		sheet_string(s, "Part", *part->name ? part->name : "zeros", rows);
		if (t->origin != TENSOR_STACKED) /* the modules of stacked experts have their own */
			put_origin(s, c, part);
	}
}

void tensor_info_write(const struct tensor_info *info, struct text *out)
{
	const struct st_tensor shown = dense_shown(info->dense, info->tensor);
	struct sheet s;

	put_summary(info, &shown, out);
	sheet_begin(&s, out, false);
	put_files(&s, info, &shown);
	put_origin(&s, info->dense->c, info->tensor);
	sheet_end(&s);
}
