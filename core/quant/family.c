/* SPDX-License-Identifier: MIT */
#include "quant/family.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/err.h"
#include "checkpoint/subconfig.h"
#include "quant/matrix_rows.h"

/*
 * Bytes that opening may read in any case, and per byte on disk: generous for complete files, whose size is at least
 * what is read; compressed file systems report less.
 */
#define READ_FREE ((uint64_t)64 << 20)
#define READ_PER_BYTE 8

#define NAME_MAX_BYTES 1024

static const struct st_tensor *find_named(const struct opening *o, const char *module, size_t len, const char *suffix)
{
	char name[NAME_MAX_BYTES];

	if (len >= sizeof(name) ||
	    snprintf(name, sizeof(name), "%.*s%s", (int)len, module, suffix) >= (int)sizeof(name))
		return NULL;
	return checkpoint_find(o->c, name);
}

const struct st_tensor *opening_find(const struct opening *o, const char *module, const char *suffix)
{
	return find_named(o, module, strlen(module), suffix);
}

const struct st_tensor *opening_beside(const struct opening *o, const struct st_tensor *t, const char *own,
    const char *other)
{
	return ends_with(t->name, own) ? find_named(o, t->name, strlen(t->name) - strlen(own), other) : NULL;
}

const char *opening_module(const struct opening *o, const struct st_tensor *t, const char *suffix)
{
	return arena_strndup(&o->c->arena, t->name, strlen(t->name) - strlen(suffix));
}

const char *opening_file(const struct opening *o, const struct st_tensor *t)
{
	return checkpoint_file(o->c, t)->name;
}

void opening_take(struct opening *o, const struct st_tensor *t)
{
	o->taken[t - o->c->tensors] = true;
}

bool opening_has(const struct opening *o, bool (*is)(const struct opening *o, const struct st_tensor *t))
{
	for (size_t i = 0; i < o->c->tensor_count; i++)
		if (!o->taken[i] && is(o, &o->c->tensors[i]))
			return true;
	return false;
}

bool opening_is_taken(const struct opening *o, const struct st_tensor *t)
{
	return o->taken[t - o->c->tensors];
}

int opening_read(struct opening *o, const struct st_tensor *t, uint64_t bytes, void **out)
{
	int rc;

	*out = NULL;
	if (bytes > t->bytes)
		bytes = t->bytes;
	if (!checked_add(o->read, bytes, &o->read) || o->read > READ_FREE + READ_PER_BYTE * o->c->disk_bytes)
		return err_set(o->err, -EBADMSG,
		    "%s: tensor %.200s is %llu bytes, far more than the shards take on disk: they have holes; finish "
		    "the download or fetch the model again",
		    opening_file(o, t), t->name, (unsigned long long)t->bytes);
	*out = malloc(bytes ? bytes : 1);
	if (!*out)
		return err_memory(o->err);
	rc = source_file_read(checkpoint_file(o->c, t), *out, bytes, t->begin);
	if (rc) {
		free(*out);
		*out = NULL;
		return err_set(o->err, rc, "%s: tensor %.200s cannot be read", opening_file(o, t), t->name);
	}
	return 0;
}

/*
 * Returns the list with room for one more element: itself, or a copy twice as long in the arena. NULL if out of memory.
 */
static void *with_room(const struct opening *o, void *list, size_t count, size_t *room, size_t size)
{
	const size_t more = *room * 2 + 1;
	void *longer;

	if (count < *room)
		return list;
	longer = arena_alloc(&o->c->arena, more, size);
	if (!longer)
		return NULL;
	if (count)
		memcpy(longer, list, count * size);
	*room = more;
	return longer;
}

int opening_put(struct opening *o, const struct tensor *t)
{
	struct tensors *out = o->out;
	struct tensor *list = with_room(o, out->list, out->count, &o->room, sizeof(*list));

	if (!list)
		return err_memory(o->err);
	out->list = list;
	out->list[out->count++] = *t;
	return 0;
}

int opening_drop_zeros(struct opening *o, const char *module)
{
	const struct st_tensor *t = opening_find(o, module, ".weight_zero_point");
	uint64_t i = 0;
	void *zeros;
	int rc;

	if (!t)
		return 0;
	rc = opening_read(o, t, t->bytes, &zeros);
	if (rc)
		return rc;
	while (i < t->bytes && !((const unsigned char *)zeros)[i])
		i++;
	free(zeros);
	if (i < t->bytes)
		return err_set(o->err, -ENOTSUP,
		    "%s: tensor %.200s is not all zero, and weights of this format have no zero points; fetch the "
		    "model again, or its unquantized version",
		    opening_file(o, t), t->name);
	opening_take(o, t);
	return 0;
}

bool opening_is_ordered(const uint32_t *g_idx, uint32_t columns, uint32_t size)
{
	bool in_order = true;

	for (uint32_t k = 0; k < columns; k++) {
		if (g_idx[k] == UINT32_MAX)
			return true;
		in_order &= g_idx[k] == k / size;
	}
	return in_order;
}

int opening_drop_order(struct opening *o, const char *module, uint32_t columns, uint32_t size)
{
	const struct st_tensor *t = opening_find(o, module, ".weight_g_idx");
	bool in_order;
	void *g_idx;
	int rc;

	if (!t)
		return 0;
	if (t->dtype != DTYPE_I32 || t->ndim != 1 || t->shape[0] != columns)
		return opening_bad_tensor(o, t, "I32 [in_features]");
	rc = opening_read(o, t, t->bytes, &g_idx);
	if (rc)
		return rc;
	in_order = opening_is_ordered(g_idx, columns, size);
	free(g_idx);
	if (!in_order)
		return err_set(o->err, -ENOTSUP,
		    "%s: tensor %.200s: groups in the order of activations are not supported for weights of this format; fetch "
		    "a version that was quantized without \"actorder\": \"group\"",
		    opening_file(o, t), t->name);
	opening_take(o, t);
	return 0;
}

void opening_part(const struct opening *o, struct encoded *e, size_t i, const struct st_tensor *t)
{
	if (t)
		encoded_add_part(e, i, t, checkpoint_file(o->c, t));
}

int opening_add(struct opening *o, const char *name, struct encoded *e)
{
	struct tensors *out = o->out;
	struct encoded **list = with_room(o, out->encoded, out->encoded_count, &o->encoded_room, sizeof(*list));
	const struct tensor t = {
	    .name = name, .shape = e->shape, .ndim = e->ndim, .origin = TENSOR_ENCODED, .encoded = e};

	if (!name || !list)
		return err_memory(o->err);
	for (size_t i = 0; i < ENCODED_PARTS; i++)
		if (e->part[i])
			opening_take(o, e->part[i]);
	out->encoded = list;
	out->encoded[out->encoded_count++] = e;
	return opening_put(o, &t);
}

int opening_add_matrix(struct opening *o, struct encoded *e, uint64_t rows, uint64_t columns)
{
	uint64_t *shape = arena_alloc(&o->c->arena, 2, sizeof(*shape));

	if (!shape)
		return err_memory(o->err);
	shape[e->transposed] = rows;
	shape[!e->transposed] = columns;
	e->shape = shape;
	e->ndim = 2;
	return opening_add(o, arena_printf(&o->c->arena, "%s.weight", e->module), e);
}

int opening_configs(struct opening *o, opening_config_fn *fn, void *ctx)
{
	struct subconfigs inside;
	int rc = subconfig_list(o->c->config_json, &o->c->arena, &inside, o->err);

	for (size_t i = 0; rc == 0 && i < o->c->quant_file_count; i++)
		rc = fn(ctx, o->c->quant_files[i].name, o->c->quant_files[i].json);
	for (size_t i = 0; rc == 0 && i < inside.count; i++)
		rc = fn(ctx, inside.list[i].where, inside.list[i].json);
	return rc;
}

int opening_label(void *opening, const char *where, const struct json *config)
{
	const struct opening *o = opening;
	struct tensors_labels *labels = &o->out->labels;

	if (labels->configuration || !json_is_object(config))
		return 0;
	labels->configuration = where;
	labels->checkpoint_format = json_str(json_get(config, "quant_method"));
	return 0;
}

void opening_tally(struct opening *o, const char *what, const char *then, const char *module)
{
	size_t i = 0;

	while (i < OPENING_TALLIES - 1 && o->tallies[i].what && strcmp(o->tallies[i].what, what) != 0)
		i++;
	o->tallies[i].what = what;
	o->tallies[i].then = then;
	if (!o->tallies[i].count++)
		o->tallies[i].module = module;
}

int opening_check_size(struct opening *o, const struct st_tensor *t, uint64_t rows, uint64_t columns)
{
	return rows > MATRIX_ROWS_MAX || columns > MATRIX_COLUMNS_MAX
	           ? opening_bad_tensor(o, t, "at most 2147483648 rows and 4194304 columns")
	           : 0;
}

int opening_check_weight(struct opening *o, const struct st_tensor *codes, const char *own)
{
	const size_t len = strlen(codes->name) - strlen(own);

	if (!opening_beside(o, codes, own, ".weight"))
		return 0;
	return err_set(o->err, -EBADMSG,
	    "%s: module %.*s has both %s and .weight; which one to use is unknown: remove one", opening_file(o, codes),
	    len < 200 ? (int)len : 200, codes->name, own);
}

int opening_bad_tensor(struct opening *o, const struct st_tensor *t, const char *expected)
{
	struct text shape = {0};
	int rc;

	for (int i = 0; i < t->ndim; i++)
		text_printf(&shape, "%s%llu", i ? ", " : "", (unsigned long long)t->shape[i]);
	text_put(&shape, "", 1);
	rc = err_set(o->err, -EBADMSG, "%s: tensor %.200s is %s [%s], expected %s; fetch the model again",
	    opening_file(o, t), t->name, dtype_name(t->dtype), shape.failed ? "..." : shape.data, expected);
	text_free(&shape);
	return rc;
}
