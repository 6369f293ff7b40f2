/* SPDX-License-Identifier: MIT */
#include "quant/compressed/schemes.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/pattern.h"

#define METHOD "compressed-tensors"
#define PATTERN_MARK "re:"

/* The first version that packs codes of 3, 5, 6 and 7 bits without gaps. */
#define STREAMS_MAJOR 0
#define STREAMS_MINOR 18

struct scheme_target {
	struct lazy_pattern pattern; /* its text is a name, or a pattern without its mark */
	const struct scheme *scheme;
	size_t number; /* in the order of reading */
	bool is_pattern;
};

struct schemes_reader {
	struct opening *o;
	struct schemes *out;
};

/* ---- schemes ---- */

static bool read_size(const struct json *value, uint32_t *out)
{
	int64_t number;

	if (!json_integer(value, &number) || number < 1 || number > INT32_MAX)
		return false;
	*out = (uint32_t)number;
	return true;
}

void schemes_read_block(const struct json *value, uint32_t block[2])
{
	const char *text = json_str(value);
	unsigned rows, columns;

	if (text && sscanf(text, "%9ux%9u", &rows, &columns) == 2 && rows && columns) {
		block[0] = rows;
		block[1] = columns;
	} else if (!read_size(json_at(value, 0), &block[0]) || !read_size(json_at(value, 1), &block[1])) {
		block[0] = block[1] = 0;
	}
}

/* Returns the scheme in the list, one for all equal ones; NULL for one of floats, or if there is no room. */
static const struct scheme *add_scheme(struct schemes *s, const struct json *weights)
{
	const char *type = json_str(json_get(weights, "type"));
	struct scheme scheme = {0};
	uint32_t bits;

	if ((type && strcmp(type, "int") != 0) || !read_size(json_get(weights, "num_bits"), &bits) || bits > 8)
		return NULL;
	scheme.bits = (uint8_t)bits;
	if (!read_size(json_get(weights, "group_size"), &scheme.group_size))
		scheme.group_size = 0;
	schemes_read_block(json_get(weights, "block_structure"), scheme.block);
	for (size_t i = 0; i < s->count; i++)
		if (s->list[i].bits == scheme.bits && s->list[i].group_size == scheme.group_size &&
		    memcmp(s->list[i].block, scheme.block, sizeof(scheme.block)) == 0)
			return &s->list[i];
	if (s->count == SCHEMES_MAX)
		return NULL;
	s->list[s->count] = scheme;
	return &s->list[s->count++];
}

/* ---- targets ---- */

static void add_target(struct schemes_reader *r, const char *text, const struct scheme *scheme)
{
	const size_t mark = sizeof(PATTERN_MARK) - 1;
	const bool is_pattern = strncmp(text, PATTERN_MARK, mark) == 0;
	const size_t number = r->out->target_count++;

	r->out->targets[number] = (struct scheme_target){.pattern = {.text = is_pattern ? text + mark : text},
	    .scheme = scheme,
	    .number = number,
	    .is_pattern = is_pattern};
	r->out->name_count += !is_pattern;
}

static size_t count_targets(const struct json *groups)
{
	size_t count = 0;

	for (const struct json *g = json_first(groups); g; g = json_after(g))
		count += json_count(json_get(g, "targets"));
	return count;
}

/* Names before patterns, each in bytewise order; of those that are alike the last that was read replaces the others. */
static int by_kind_and_text(const void *a_, const void *b_)
{
	const struct scheme_target *a = a_, *b = b_;
	const int order =
	    a->is_pattern != b->is_pattern ? a->is_pattern - b->is_pattern : strcmp(a->pattern.text, b->pattern.text);

	return order ? order : (a->number < b->number) - (a->number > b->number);
}

static const struct scheme_target *find_name(const struct schemes *s, const char *name)
{
	size_t low = 0, high = s->name_count;

	while (low < high) {
		const size_t middle = low + (high - low) / 2;

		if (strcmp(s->targets[middle].pattern.text, name) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low < s->name_count && strcmp(s->targets[low].pattern.text, name) == 0 ? &s->targets[low] : NULL;
}

/* ---- configurations ---- */

static int refuse_format(const struct schemes_reader *r, const char *file, const char *format)
{
	static const char *const refused[] = {"sparse-bitmask", "sparse-24-bitmask", "marlin-24"};

	for (size_t i = 0; format && i < sizeof(refused) / sizeof(*refused); i++)
		if (strcmp(format, refused[i]) == 0)
			return err_set(r->o->err, -ENOTSUP,
			    "%s: format is \"%s\", compressed-tensors of a sparse kind that is not supported; "
			    "decompress it with a version of compressed-tensors before 0.14, or fetch a version of the "
			    "model that is not "
			    "sparse",
			    file, format);
	return 0;
}

static int refuse_formats(const struct schemes_reader *r, const char *file, const struct json *config)
{
	int rc = refuse_format(r, file, json_str(json_get(config, "format")));

	if (rc == 0)
		rc = refuse_format(r, file, json_str(json_get(json_get(config, "sparsity_config"), "format")));
	for (const struct json *g = json_first(json_get(config, "config_groups")); rc == 0 && g; g = json_after(g))
		rc = refuse_format(r, file, json_str(json_get(g, "format")));
	return rc;
}

static bool version_streams(const char *version)
{
	unsigned major, minor;

	return version && sscanf(version, "%9u.%9u", &major, &minor) == 2 &&
	       (major > STREAMS_MAJOR || (major == STREAMS_MAJOR && minor >= STREAMS_MINOR));
}

static int read_groups(struct schemes_reader *r, const char *file, const struct json *groups)
{
	for (const struct json *g = json_first(groups); g; g = json_after(g)) {
		const struct scheme *scheme = add_scheme(r->out, json_get(g, "weights"));

		if (!scheme && r->out->count == SCHEMES_MAX)
			return err_set(r->o->err, -EBADMSG, "%s: more than %d config_groups that differ; correct it",
			    file, SCHEMES_MAX);
		for (const struct json *t = json_first(json_get(g, "targets")); scheme && t; t = json_after(t))
			if (json_str(t))
				add_target(r, json_str(t), scheme);
	}
	return 0;
}

static bool is_compressed(const struct json *config)
{
	const char *method = json_str(json_get(config, "quant_method"));

	return method ? strcmp(method, METHOD) == 0 : json_is_object(json_get(config, "config_groups"));
}

static int read_compressed_config(void *ctx, const char *file, const struct json *config)
{
	struct schemes_reader *r = ctx;
	struct tensors_labels *labels = &r->o->out->labels;
	const struct json *groups = json_get(config, "config_groups");
	const char *version = json_str(json_get(config, "version"));
	const size_t room = count_targets(groups);
	struct scheme_target *more;
	int rc;

	if (!is_compressed(config)) {
		r->out->other_label |= json_str(json_get(config, "quant_method")) != NULL;
		return 0;
	}
	rc = refuse_formats(r, file, config);
	if (rc)
		return rc;
	more = arena_alloc(&r->o->c->arena, r->out->target_count + room, sizeof(*more));
	if (!more)
		return err_memory(r->o->err);
	if (r->out->target_count)
		memcpy(more, r->out->targets, r->out->target_count * sizeof(*more));
	r->out->targets = more;
	r->out->labelled = true;
	r->out->streams |= version_streams(version);
	rc = read_groups(r, file, groups);
	if (rc == 0 && !labels->configuration) {
		opening_label(r->o, file, config);
		labels->producer = version ? arena_printf(&r->o->c->arena, METHOD " %s", version) : NULL;
		if (version && !labels->producer)
			return err_memory(r->o->err);
		labels->group_size = r->out->count ? r->out->list[0].group_size : 0;
	}
	return rc;
}

int schemes_read(struct opening *o, struct schemes *out)
{
	struct checkpoint *c = o->c;
	struct schemes_reader r = {.o = o, .out = out};
	int rc;

	*out = (struct schemes){0};
	rc = opening_configs(o, read_compressed_config, &r);
	if (rc == 0)
		rc = read_compressed_config(&r, "config.json", json_get(c->config_json, "compression_config"));
	if (rc)
		return rc;
	out->set = patterns_new(&c->arena);
	if (!out->set)
		return err_memory(o->err);
	if (out->target_count)
		qsort(out->targets, out->target_count, sizeof(*out->targets), by_kind_and_text);
	out->linear = find_name(out, "Linear");
	out->embedding = find_name(out, "Embedding");
	return 0;
}

/* ---- finding ---- */

static bool names_embedding(const char *module)
{
	static const char *const names[] = {"embed_tokens", "wte", "word_embeddings", "embeddings", "embed_in"};

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		if (ends_with(module, names[i]))
			return true;
	return false;
}

int schemes_find(const struct schemes *s, const char *module, const struct scheme **found, const char **pattern)
{
	const struct scheme_target *t = find_name(s, module);

	for (size_t i = s->name_count; !t && i < s->target_count; i++) {
		const int rc = pattern_try(s->set, &s->targets[i].pattern, module, true);

		if (rc > 0)
			t = &s->targets[i];
		*pattern = s->targets[i].pattern.text;
		if (rc < 0)
			return -ENOTSUP;
	}
	if (!t)
		t = names_embedding(module) ? s->embedding : s->linear;
	*found = t ? t->scheme : NULL;
	return 0;
}
