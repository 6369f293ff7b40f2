/* SPDX-License-Identifier: MIT */
#include "checkpoint/safetensors.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/err.h"
#include "base/json.h"

struct parser {
	const struct safetensors_input *in;
	struct arena *arena;
	struct gptqfs_error *err;
};

/* `fault` is the tail of a sentence about one tensor of the file. */
static int bad(const struct parser *p, const char *tensor, const char *fault)
{
	return err_set(p->err, -EBADMSG, "%s: tensor %.200s: %s; the file is damaged, fetch it again", p->in->name,
	    tensor, fault);
}

static int parse_shape(const struct parser *p, const struct json *shape, struct st_tensor *t, uint64_t *elements)
{
	size_t ndim = json_count(shape);
	uint64_t *dims;

	if (!shape || ndim > SAFETENSORS_NDIM_MAX)
		return bad(p, t->name, "expected a shape of at most 16 dimensions");
	dims = arena_alloc(p->arena, ndim ? ndim : 1, sizeof(*dims));
	if (!dims)
		return err_memory(p->err);
	*elements = 1;
	for (size_t i = 0; i < ndim; i++) {
		int64_t dim;

		if (!json_integer(json_at(shape, i), &dim) || dim < 0 ||
		    !checked_mul(*elements, (uint64_t)dim, elements))
			return bad(p, t->name, "a dimension is no whole number, or the shape is too large");
		dims[i] = (uint64_t)dim;
	}
	t->shape = dims;
	t->ndim = (uint8_t)ndim;
	return 0;
}

static int parse_offsets(const struct parser *p, const struct json *offsets, struct st_tensor *t, uint64_t elements)
{
	const uint64_t data = 8 + p->in->len, room = p->in->file_size - data;
	int64_t begin, end;
	uint64_t bits;

	if (json_count(offsets) != 2 || !json_integer(json_at(offsets, 0), &begin) ||
	    !json_integer(json_at(offsets, 1), &end) || begin < 0 || end < begin)
		return bad(p, t->name, "expected data_offsets [begin, end]");
	if ((uint64_t)end > room)
		return err_set(p->err, -EBADMSG,
		    "%s: tensor %.200s ends at byte %lld of the data, but the file has only %llu; it is truncated (an "
		    "interrupted download?), fetch it again",
		    p->in->name, t->name, (long long)end, (unsigned long long)room);
	t->begin = data + (uint64_t)begin;
	t->bytes = (uint64_t)(end - begin);
	if (!checked_mul(elements, dtype_bits(t->dtype), &bits) || bits % 8 || bits / 8 != t->bytes)
		return err_set(p->err, -EBADMSG,
		    "%s: tensor %.200s: %llu elements of %s do not take the %llu bytes of its data_offsets; the file is "
		    "damaged, fetch it again",
		    p->in->name, t->name, (unsigned long long)elements, dtype_name(t->dtype),
		    (unsigned long long)t->bytes);
	return 0;
}

static int parse_tensor(const struct parser *p, const struct json *entry, struct st_tensor *t)
{
	const char *name = json_str(json_get(entry, "dtype"));
	enum dtype dtype = name ? dtype_parse(name, strlen(name)) : DTYPE_COUNT;
	uint64_t elements = 0;
	int rc;

	if (!name)
		return bad(p, t->name, "expected dtype, shape and data_offsets");
	if (dtype == DTYPE_COUNT)
		return err_set(p->err, -ENOTSUP,
		    "%s: tensor %.200s has dtype %.40s, which is no type of the format this gptqfs knows; fetch the file again, or a newer gptqfs",
		    p->in->name, t->name, name);
	t->dtype = (uint8_t)dtype;
	rc = parse_shape(p, json_get(entry, "shape"), t, &elements);
	return rc ? rc : parse_offsets(p, json_get(entry, "data_offsets"), t, elements);
}

/* "__metadata__" holds strings, or is null. Its content is of no use to us. */
static int parse_metadata(const struct parser *p, const struct json *meta)
{
	for (const struct json *m = json_first(meta); m; m = json_after(m))
		if (!json_str(m))
			return bad(p, "__metadata__", "expected strings only");
	return json_is_object(meta) || json_is_null(meta) ? 0 : bad(p, "__metadata__", "expected an object");
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct st_tensor *)a)->name, ((const struct st_tensor *)b)->name);
}

static int by_place(const void *a, const void *b)
{
	const struct st_tensor *x = a, *y = b;

	if (x->begin != y->begin)
		return x->begin < y->begin ? -1 : 1;
	return x->bytes < y->bytes ? -1 : x->bytes > y->bytes;
}

/* The tensors tile the data. Sorts them by place, then by name. */
static int check_tiling(const struct parser *p, struct safetensors *st)
{
	uint64_t at = 8 + p->in->len;

	qsort(st->tensors, st->count, sizeof(*st->tensors), by_place);
	for (size_t i = 0; i < st->count; i++) {
		const struct st_tensor *t = &st->tensors[i];

		if (t->begin != at)
			return err_set(p->err, -EBADMSG,
			    "%s: tensor %.200s begins at byte %llu of the file, expected %llu: tensors %s; the file is damaged, "
			    "fetch it again",
			    p->in->name, t->name, (unsigned long long)t->begin, (unsigned long long)at,
			    t->begin < at ? "overlap (or one stands twice)" : "leave a gap");
		at += t->bytes;
	}
	if (at != p->in->file_size)
		return err_set(p->err, -EBADMSG,
		    "%s: the tensors end at byte %llu, but the file has %llu; it is damaged, fetch it again",
		    p->in->name, (unsigned long long)at, (unsigned long long)p->in->file_size);
	qsort(st->tensors, st->count, sizeof(*st->tensors), by_name);
	for (size_t i = 1; i < st->count; i++)
		if (strcmp(st->tensors[i - 1].name, st->tensors[i].name) == 0)
			return bad(p, st->tensors[i].name, "stands twice in the header");
	return 0;
}

static int parse_member(const struct parser *p, const struct json_member *member, struct safetensors *st)
{
	bool is_metadata = json_text_is(member->key, "__metadata__");
	struct st_tensor *t = &st->tensors[st->count];
	struct json *entry;
	int rc = json_parse(member->value, p->in->name, &entry, p->err);

	if (rc)
		return rc;
	t->name = json_string(member->key, p->arena);
	if (!t->name && errno == ENOMEM)
		rc = err_memory(p->err);
	else if (is_metadata)
		rc = parse_metadata(p, entry);
	else if (!t->name)
		rc = err_set(p->err, -EBADMSG,
		    "%s: a tensor name in the header is no Unicode text; the file is damaged", p->in->name);
	else
		rc = parse_tensor(p, entry, t);
	json_free(entry);
	st->count += !is_metadata;
	return rc;
}

int safetensors_parse(const struct safetensors_input *in, struct arena *arena, struct safetensors *out,
    struct gptqfs_error *err)
{
	struct parser p = {in, arena, err};
	struct json_text text = {in->header, in->len};
	struct json_walk walk;
	struct json_member member;
	size_t members = 0;
	int rc = json_check(text, in->name, err);

	*out = (struct safetensors){0};
	if (rc)
		return rc;
	if (!json_walk(&walk, text))
		return err_set(err, -EBADMSG, "%s: the header is no JSON object; this is no safetensors file",
		    in->name);
	while (json_next(&walk, &member))
		members++;
	out->tensors = arena_alloc(arena, members + 1, sizeof(*out->tensors));
	if (!out->tensors)
		return err_memory(err);
	json_walk(&walk, text);
	while (rc == 0 && json_next(&walk, &member))
		rc = parse_member(&p, &member, out);
	return rc ? rc : check_tiling(&p, out);
}

void safetensors_begin(struct text *out)
{
	text_string(out, "12345678{\"__metadata__\":{\"format\":\"pt\"}");
}

void safetensors_add(struct text *out, const struct st_tensor *t, uint64_t *at)
{
	text_put(out, ",", 1);
	text_json_string(out, t->name);
	text_string(out, ":{\"dtype\":\"");
	text_string(out, dtype_name(t->dtype));
	text_string(out, "\",\"shape\":[");
	for (int d = 0; d < t->ndim; d++) {
		text_string(out, d ? "," : "");
		text_number(out, t->shape[d]);
	}
	text_string(out, "],\"data_offsets\":[");
	text_number(out, *at);
	*at += t->bytes;
	text_put(out, ",", 1);
	text_number(out, *at);
	text_string(out, "]}");
}

void safetensors_end(struct text *out)
{
	static const char blanks[64] = "                                                               ";
	uint64_t padded;

	text_put(out, "}", 1);
	padded = div_up(out->len, SAFETENSORS_ALIGN) * SAFETENSORS_ALIGN;
	while (!out->failed && out->len < padded)
		text_put(out, blanks, padded - out->len < 63 ? padded - out->len : 63);
	for (int i = 0; i < 8 && !out->failed; i++)
		out->data[i] = (char)((padded - 8) >> (8 * i));
}

void safetensors_write(const struct st_tensor *tensors, size_t count, struct text *out)
{
	uint64_t at = 0;

	safetensors_begin(out);
	for (size_t i = 0; i < count; i++)
		safetensors_add(out, &tensors[i], &at);
	safetensors_end(out);
}
