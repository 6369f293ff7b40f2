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

/* `fault` completes a sentence about one tensor of the file. */
static int bad(const struct parser *p, const char *tensor, const char *fault)
{
	return err_set(p->err, -EBADMSG, "%s: tensor %.200s: %s; the file is damaged, fetch it again", p->in->name,
	    tensor, fault);
}

static int parse_shape(const struct parser *p, struct json_text shape, struct st_tensor *t, uint64_t *elements)
{
	uint64_t dims[SAFETENSORS_NDIM_MAX], *copy;
	struct json_walk walk;
	struct json_text dim;
	uint8_t ndim = 0;

	*elements = 1;
	if (!json_walk_array(&walk, shape))
		return bad(p, t->name, "expected a shape [dimension, ...]");
	for (; json_next_element(&walk, &dim); ndim++) {
		if (ndim == SAFETENSORS_NDIM_MAX)
			return bad(p, t->name, "expected a shape of at most 16 dimensions");
		if (!json_whole(dim, &dims[ndim]) || !checked_mul(*elements, dims[ndim], elements))
			return bad(p, t->name, "a dimension is not a whole number, or the shape is too large");
	}
	copy = arena_alloc(p->arena, ndim ? ndim : 1, sizeof(*copy));
	if (!copy)
		return err_memory(p->err);
	memcpy(copy, dims, ndim * sizeof(*copy));
	t->shape = copy;
	t->ndim = ndim;
	return 0;
}

static bool read_pair(struct json_text pair, uint64_t *begin, uint64_t *end)
{
	struct json_walk walk;
	struct json_text first, second, more;

	return json_walk_array(&walk, pair) && json_next_element(&walk, &first) && json_next_element(&walk, &second) &&
	       !json_next_element(&walk, &more) && json_whole(first, begin) && json_whole(second, end);
}

static int parse_offsets(const struct parser *p, struct json_text offsets, struct st_tensor *t, uint64_t elements)
{
	const uint64_t data = 8 + p->in->len, room = p->in->file_size - data;
	uint64_t begin, end, bits;

	if (!read_pair(offsets, &begin, &end) || end < begin)
		return bad(p, t->name, "expected data_offsets [begin, end]");
	if (end > room)
		return err_set(p->err, -EBADMSG,
		    "%s: tensor %.200s ends at byte %llu of the data, but the file has only %llu; it is truncated (an "
		    "interrupted download?), fetch it again",
		    p->in->name, t->name, (unsigned long long)end, (unsigned long long)room);
	t->begin = data + begin;
	t->bytes = end - begin;
	if (!checked_mul(elements, dtype_bits(t->dtype), &bits) || bits % 8 || bits / 8 != t->bytes)
		return err_set(p->err, -EBADMSG,
		    "%s: tensor %.200s: %llu elements of %s do not fill the %llu bytes of its data_offsets; the file "
		    "is damaged, fetch it again",
		    p->in->name, t->name, (unsigned long long)elements, dtype_name(t->dtype),
		    (unsigned long long)t->bytes);
	return 0;
}

/* The members of a tensor's entry; at == NULL if missing. Others are ignored. */
struct entry {
	struct json_text dtype, shape, offsets;
};

static int split_entry(const struct parser *p, struct json_text text, const char *tensor, struct entry *e)
{
	struct json_walk walk;
	struct json_member m;

	*e = (struct entry){0};
	if (!json_walk(&walk, text))
		return bad(p, tensor, "expected an object with dtype, shape and data_offsets");
	while (json_next(&walk, &m)) {
		struct json_text *to = json_text_is(m.key, "dtype")          ? &e->dtype
		                       : json_text_is(m.key, "shape")        ? &e->shape
		                       : json_text_is(m.key, "data_offsets") ? &e->offsets
		                                                             : NULL;

		if (to && to->at)
			return bad(p, tensor, "dtype, shape or data_offsets occurs twice");
		if (to)
			*to = m.value;
	}
	return e->dtype.at && e->shape.at && e->offsets.at ? 0
	                                                   : bad(p, tensor, "expected dtype, shape and data_offsets");
}

static int parse_tensor(const struct parser *p, struct json_text text, struct st_tensor *t)
{
	struct entry entry;
	enum dtype dtype;
	uint64_t elements = 0;
	int rc = split_entry(p, text, t->name, &entry);

	if (rc)
		return rc;
	if (entry.dtype.at[0] != '"')
		return bad(p, t->name, "expected the name of a dtype");
	dtype = dtype_parse(entry.dtype.at + 1, entry.dtype.len - 2);
	if (dtype == DTYPE_COUNT)
		return err_set(p->err, -ENOTSUP,
		    "%s: tensor %.200s has dtype %.*s, a type that this gptqfs does not know; fetch the file again, or a newer gptqfs",
		    p->in->name, t->name, (int)(entry.dtype.len < 42 ? entry.dtype.len - 2 : 40), entry.dtype.at + 1);
	t->dtype = (uint8_t)dtype;
	rc = parse_shape(p, entry.shape, t, &elements);
	return rc ? rc : parse_offsets(p, entry.offsets, t, elements);
}

/* "__metadata__" is null or an object of strings, of which one is needed. */
static int parse_metadata(const struct parser *p, struct json_text text, struct safetensors *st)
{
	struct json_walk walk;
	struct json_member m;

	if (!json_walk(&walk, text))
		return text.at[0] == 'n' ? 0 : bad(p, "__metadata__", "expected an object");
	while (json_next(&walk, &m)) {
		if (m.value.at[0] != '"')
			return bad(p, "__metadata__", "expected strings only");
		if (!json_text_is(m.key, "_quantization_metadata"))
			continue;
		errno = 0;
		st->layers = json_string(m.value, p->arena);
		if (!st->layers)
			return errno == ENOMEM ? err_memory(p->err) : bad(p, "__metadata__", "expected UTF-8");
	}
	return 0;
}

static int st_by_name(const void *a, const void *b)
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

/* Checks that the tensors tile the data. Sorts them by offset, then by name. */
static int check_tiling(const struct parser *p, struct safetensors *st)
{
	uint64_t at = 8 + p->in->len;

	qsort(st->tensors, st->count, sizeof(*st->tensors), by_place);
	for (size_t i = 0; i < st->count; i++) {
		const struct st_tensor *t = &st->tensors[i];

		if (t->begin != at)
			return err_set(p->err, -EBADMSG,
			    "%s: tensor %.200s begins at byte %llu of the file, expected %llu: tensors %s; the file is "
			    "damaged, fetch it again",
			    p->in->name, t->name, (unsigned long long)t->begin, (unsigned long long)at,
			    t->begin < at ? "overlap (or one occurs twice)" : "leave a gap");
		at += t->bytes;
	}
	if (at != p->in->file_size)
		return err_set(p->err, -EBADMSG,
		    "%s: the tensors end at byte %llu, but the file has %llu; it is damaged, fetch it again",
		    p->in->name, (unsigned long long)at, (unsigned long long)p->in->file_size);
	qsort(st->tensors, st->count, sizeof(*st->tensors), st_by_name);
	for (size_t i = 1; i < st->count; i++)
		if (strcmp(st->tensors[i - 1].name, st->tensors[i].name) == 0)
			return bad(p, st->tensors[i].name, "occurs twice in the header");
	return 0;
}

static int parse_member(const struct parser *p, const struct json_member *member, struct safetensors *st)
{
	struct st_tensor *t = &st->tensors[st->count];
	int rc;

	*t = (struct st_tensor){.name = json_string(member->key, p->arena)};
	if (!t->name)
		return err_memory(p->err);
	rc = parse_tensor(p, member->value, t);
	st->count++;
	return rc;
}

static int parse_members(const struct parser *p, struct json_walk walk, struct safetensors *st)
{
	struct json_member member;
	bool metadata = false;
	int rc = 0;

	while (rc == 0 && json_next(&walk, &member)) {
		if (!json_text_is(member.key, "__metadata__"))
			rc = parse_member(p, &member, st);
		else if (metadata)
			rc = bad(p, "__metadata__", "occurs twice");
		else
			rc = parse_metadata(p, member.value, st);
		metadata |= json_text_is(member.key, "__metadata__");
	}
	return rc;
}

int safetensors_parse(const struct safetensors_input *in, struct arena *arena, struct safetensors *out,
    struct gptqfs_error *err)
{
	struct parser p = {in, arena, err};
	struct json_text text = {in->header, in->len};
	struct json_walk walk, count;
	struct json_member member;
	size_t members = 0;
	int rc = json_check(text, in->name, err);

	*out = (struct safetensors){0};
	if (rc)
		return rc;
	if (!json_walk(&walk, text))
		return err_set(err, -EBADMSG, "%s: the header is not a JSON object; this is not a safetensors file",
		    in->name);
	for (count = walk; json_next(&count, &member);)
		members++;
	if (members > SAFETENSORS_COUNT_MAX)
		return err_set(err, -EBADMSG, "%s: %zu tensors, expected at most %d; this is not a file of a model",
		    in->name, members, SAFETENSORS_COUNT_MAX);
	out->tensors = malloc((members + 1) * sizeof(*out->tensors));
	if (!out->tensors)
		return err_memory(err);
	rc = parse_members(&p, walk, out);
	return rc ? rc : check_tiling(&p, out);
}

void safetensors_free(struct safetensors *st)
{
	free(st->tensors);
	*st = (struct safetensors){0};
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
