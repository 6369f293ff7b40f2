/* SPDX-License-Identifier: MIT */
#include "view/tensor_info.h"

#include <string.h>

#include "base/sheet.h"
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

static const char *yes_no(bool yes)
{
	return yes ? "yes" : "no";
}

/* Bytes of all that the tensor is computed from. */
static uint64_t stored_bytes(const struct tensor *t)
{
	uint64_t bytes = t->module ? t->module->packed_bytes : t->stored ? t->stored->bytes : 0;

	for (size_t i = 0; i < t->part_count; i++)
		bytes += stored_bytes(t->parts[i]);
	return bytes;
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

	text_ascii(out, t->name);
	if (t->module) {
		const struct qtensor *q = &t->module->q;

		text_printf(out, ": %d-bit, group size %u, %s, %s", q->bits, q->group_size,
		    t->module->symmetric ? "symmetric" : "asymmetric", q->g_idx ? "act-order" : "no act-order");
	} else if (t->parts) {
		text_printf(out, ": %zu tensors joined", t->part_count);
	} else {
		text_printf(out, ": not quantized, %s", dtype_name(t->stored->dtype));
	}
	text_string(out, ", ");
	put_shape(out, t->shape, t->ndim, false);
	text_string(out, ", ");
	text_bytes(out, stored_bytes(t));
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
	sheet_number(s, "Stored_bytes", stored_bytes(t), NULL);
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

static void put_module(struct sheet *s, const struct checkpoint *c, const struct module *m)
{
	static const struct {
		const char *key, *suffix;
	} parts[] = {{"Qweight", ".qweight"}, {"Qzeros", ".qzeros"}, {"Scales", ".scales"}, {"G_idx", ".g_idx"}};
	static const char *const zeros[] = {[ZEROS_V1] = "v1", [ZEROS_V2] = "v2", [ZEROS_MIDDLE] = "middle"};
	const struct qtensor *q = &m->q;
	struct text name = {0};

	sheet_string(s, "Module", m->name, NULL);
	sheet_number(s, "Bits", q->bits, NULL);
	sheet_number(s, "Group_size", q->group_size, NULL);
	sheet_number(s, "Groups", q->groups, NULL);
	sheet_string(s, "Act_order", yes_no(q->g_idx), NULL);
	sheet_string(s, "Symmetric", yes_no(m->symmetric), NULL);
	sheet_string(s, "Zeros", zeros[q->zeros], NULL);
	sheet_string(s, "Repair", m->repair, NULL);
	sheet_number(s, "In_features", q->in_features, NULL);
	sheet_number(s, "Out_features", q->out_features, NULL);
	sheet_number(s, "Packed_bytes", m->packed_bytes, NULL);
	for (size_t i = 0; i < sizeof(parts) / sizeof(*parts); i++) {
		name.len = 0;
		text_string(&name, m->name);
		text_put(&name, parts[i].suffix, strlen(parts[i].suffix) + 1);
		put_stored(s, c, parts[i].key, name.failed ? NULL : checkpoint_find(c, name.data));
	}
	s->out->failed |= name.failed;
	text_free(&name);
}

static void put_origin(struct sheet *s, const struct checkpoint *c, const struct tensor *t)
{
	if (t->module)
		put_module(s, c, t->module);
	else if (t->stored)
		put_stored(s, c, "Stored", t->stored);
	for (size_t i = 0; i < t->part_count; i++) {
		const struct tensor *part = t->parts[i];
		char rows[32];

		snprintf(rows, sizeof(rows), "%llu rows", (ull)part->shape[0]);
		sheet_string(s, "Part", *part->name ? part->name : "zeros", rows);
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
