/* SPDX-License-Identifier: MIT */
#include "report/facts.h"

#include <errno.h>
#include <string.h>

/* Facts on their way to a sink. A value that found no memory is not told, and remembered. */
struct teller {
	const struct fact_sink *sink;
	bool failed;
};

/* Takes the value over. */
static void tell_text(struct teller *t, const char *key, struct text *value)
{
	text_put(value, "", 1);
	if (value->failed)
		t->failed = true;
	else
		t->sink->fn(t->sink->ctx, key, value->data);
	text_free(value);
}

static void tell(struct teller *t, const char *key, const char *value)
{
	t->sink->fn(t->sink->ctx, key, value);
}

static void tell_number(struct teller *t, const char *key, uint64_t n)
{
	char value[24];

	snprintf(value, sizeof(value), "%llu", (unsigned long long)n);
	tell(t, key, value);
}

/* ---- the view ---- */

/* The view whose directory this node is or is below: views have names of one part ("fp16") or two ("fused/fp16"). */
static const struct view *view_of(const struct tree *tree, uint32_t ino)
{
	const struct node *n = &tree->nodes[ino], *below = NULL;
	const struct view *view;

	for (; n->parent != GPTQFS_ROOT; n = &tree->nodes[n->parent])
		below = n;
	for (size_t i = 0; (view = view_at(i)); i++) {
		const size_t len = strlen(n->name);

		if (strncmp(view->name, n->name, len) != 0)
			continue;
		if (!view->name[len] ||
		    (view->name[len] == '/' && below && strcmp(view->name + len + 1, below->name) == 0))
			return view;
	}
	return NULL;
}

/* ---- the tensor ---- */

typedef void value_fn(const struct module *m, char out[16]);

static void bits(const struct module *m, char out[16])
{
	snprintf(out, 16, "%d", m->q.bits);
}

static void group_size(const struct module *m, char out[16])
{
	snprintf(out, 16, "%u", m->q.group_size);
}

static void act_order(const struct module *m, char out[16])
{
	snprintf(out, 16, "%s", m->q.g_idx ? "true" : "false");
}

static void symmetric(const struct module *m, char out[16])
{
	snprintf(out, 16, "%s", m->symmetric ? "true" : "false");
}

static void scales(const struct module *m, char out[16])
{
	snprintf(out, 16, "%s", dtype_name(m->q.scale_dtype));
}

static void repaired(const struct module *m, char out[16])
{
	snprintf(out, 16, "%s", m->repair ? "true" : "false");
}

static const struct {
	const char *key;
	value_fn *value;
} module_facts[] = {
    {"bits", bits},
    {"group_size", group_size},
    {"act_order", act_order},
    {"symmetric", symmetric},
    {"scales", scales},
    {"repaired", repaired},
};

/* What the quantized ones of these tensors (one, or the parts of one) agree on; what they do not is "mixed". */
static void tell_modules(struct teller *t, const struct tensor *const *parts, size_t count)
{
	struct text names = {0};

	for (size_t i = 0; i < count; i++)
		if (parts[i]->module)
			text_printf(&names, "%s%s", names.len ? ", " : "", parts[i]->module->name);
	if (!names.len && !names.failed)
		return;
	tell_text(t, "module", &names);
	for (size_t f = 0; f < sizeof(module_facts) / sizeof(*module_facts); f++) {
		char value[16] = "", other[16];

		for (size_t i = 0; i < count; i++) {
			if (!parts[i]->module)
				continue;
			module_facts[f].value(parts[i]->module, other);
			strcpy(value, !*value || strcmp(value, other) == 0 ? other : "mixed");
		}
		tell(t, module_facts[f].key, value);
	}
}

static void tell_tensor(struct teller *t, const struct tensor *tensor)
{
	struct text shape = {0};

	tell(t, "tensor", tensor->name);
	text_printf(&shape, "[");
	for (int k = 0; k < tensor->ndim; k++)
		text_printf(&shape, "%s%llu", k ? ", " : "", (unsigned long long)tensor->shape[k]);
	text_printf(&shape, "]");
	tell_text(t, "shape", &shape);
	if (tensor->parts)
		tell_modules(t, tensor->parts, tensor->part_count);
	else
		tell_modules(t, &tensor, 1);
}

/* ---- the files it is made of ---- */

#define SOURCES_MAX 64 /* names in one value; it must fit in 64 KiB */

struct sources {
	const struct source_file *files[SOURCES_MAX];
	size_t count;
	bool more;
};

static void add_source(struct sources *s, const struct source_file *f)
{
	for (size_t i = 0; i < s->count; i++)
		if (s->files[i] == f)
			return;
	if (s->count == SOURCES_MAX)
		s->more = true;
	else
		s->files[s->count++] = f;
}

static void add_sources(struct sources *s, const struct extent *e)
{
	const struct generator *g = e->from.generator;

	if (e->kind == EXTENT_SOURCE)
		add_source(s, e->from.file);
	if (e->kind != EXTENT_GENERATED)
		return;
	if (g->file)
		add_source(s, g->file);
	for (size_t m = 0; m < g->module_count; m++)
		for (int i = 0; i < TENSOR_FILES && g->modules[m]->files[i]; i++)
			add_source(s, g->modules[m]->files[i]);
}

static void tell_sources(struct teller *t, const struct layout *layout)
{
	struct sources s = {.count = 0};
	struct text names = {0};

	for (size_t i = 0; i < layout->count && !s.more; i++)
		add_sources(&s, &layout->extents[i]);
	for (size_t i = 0; i < s.count; i++)
		text_printf(&names, "%s%s", i ? ", " : "", s.files[i]->name);
	if (s.more)
		text_printf(&names, ", ...");
	if (s.count)
		tell_text(t, "source", &names);
}

int facts_of_file(const struct tree *tree, const struct view *root, uint32_t ino, const struct fact_sink *sink)
{
	const struct layout *layout = tree->nodes[ino].layout;
	const struct view *view = root ? root : view_of(tree, ino);
	struct teller t = {.sink = sink};

	if (view)
		tell(&t, "view", view->name);
	if (!layout)
		return t.failed ? -ENOMEM : 0;
	if (layout->contents.dtype)
		tell(&t, "dtype", layout->contents.dtype);
	if (layout->contents.tensors)
		tell_number(&t, "tensors", layout->contents.tensors);
	if (layout->contents.tensor && !layout->contents.several)
		tell_tensor(&t, layout->contents.tensor);
	tell_sources(&t, layout);
	return t.failed ? -ENOMEM : 0;
}
