/* SPDX-License-Identifier: MIT */
#include "report/attributes.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tensor/contents.h"
#include "tensor/encoding.h"

/* Passes facts to a sink. If out of memory, a value is left out and `failed` is set. */
struct teller {
	const struct fact_sink *sink;
	bool failed;
};

/* Names of tensors and files may contain anything, but values are ASCII. */
static void tell(struct teller *t, const char *key, const char *value)
{
	struct text ascii = {0};

	text_ascii(&ascii, value);
	text_put(&ascii, "", 1);
	if (ascii.failed)
		t->failed = true;
	else
		t->sink->fn(t->sink->ctx, key, ascii.data);
	text_free(&ascii);
}

/* Consumes the value. */
static void tell_text(struct teller *t, const char *key, struct text *value)
{
	text_put(value, "", 1);
	if (value->failed)
		t->failed = true;
	else
		tell(t, key, value->data);
	text_free(value);
}

static void tell_number(struct teller *t, const char *key, uint64_t n)
{
	char value[24];

	snprintf(value, sizeof(value), "%llu", (unsigned long long)n);
	tell(t, key, value);
}

/* ---- the view ---- */

/* Returns the view of a node, by its path: names of views have one part ("fp16") or two ("fused/fp16"). */
static const struct view *view_of(const struct tree *tree, uint32_t ino)
{
	const struct node *n = &tree->nodes[ino], *below[3] = {NULL, NULL, NULL};
	const struct view *view;

	for (; n->parent != GPTQFS_ROOT; n = &tree->nodes[n->parent]) {
		below[2] = below[1];
		below[1] = below[0];
		below[0] = n;
	}
	/* lora/NAME/VIEW */
	if (strcmp(n->name, "lora") == 0 && below[1]) {
		n = below[1];
		below[0] = below[2];
	}
	for (size_t i = 0; (view = view_at(i)); i++) {
		const size_t len = strlen(n->name);

		if (strncmp(view->name, n->name, len) != 0)
			continue;
		if (!view->name[len] ||
		    (view->name[len] == '/' && below[0] && strcmp(view->name + len + 1, below[0]->name) == 0))
			return view;
	}
	return NULL;
}

/* ---- the tensor ---- */

/* Returns the common value of a fact of several modules, or "mixed". */
static void tell_fact(struct teller *t, const struct facts *facts, size_t count, size_t i)
{
	char buffer[FACT_TEXT_MAX], other_buffer[FACT_TEXT_MAX];
	const char *value = fact_text(&facts[0].list[i], buffer);

	for (size_t m = 1; m < count; m++) {
		const struct fact *other = facts_find(&facts[m], facts[0].list[i].key);

		if (!other || strcmp(value, fact_text(other, other_buffer)) != 0)
			value = "mixed";
	}
	if (*value)
		tell(t, facts[0].list[i].key, value);
}

#define MODULES_MAX 16 /* most names in a value: a stack of experts has hundreds */

/* The quantized modules of a tensor, or of its parts. */
static int tell_modules(struct teller *t, const struct tensor *const *parts, size_t count)
{
	struct facts *facts = calloc(count, sizeof(*facts));
	struct text names = {0};
	size_t modules = 0;

	if (!facts)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++) {
		const struct encoded *e = tensor_encoded(parts[i]);

		if (!e)
			continue;
		if (modules <= MODULES_MAX)
			text_printf(&names, "%s%s", modules ? ", " : "", modules < MODULES_MAX ? e->module : "...");
		facts_word(&facts[modules], "format", e->encoding->name);
		e->encoding->describe(e, &facts[modules++]);
	}
	if (modules)
		tell_text(t, "module", &names);
	for (size_t i = 0; modules && i < facts[0].count; i++)
		tell_fact(t, facts, modules, i);
	text_free(&names);
	free(facts);
	return 0;
}

static void tell_tensor(struct teller *t, const struct tensor *tensor)
{
	const struct tensor *const *parts;
	struct text shape = {0};
	size_t count;

	tell(t, "tensor", tensor->name);
	text_printf(&shape, "[");
	for (int k = 0; k < tensor->ndim; k++)
		text_printf(&shape, "%s%llu", k ? ", " : "", (unsigned long long)tensor->shape[k]);
	text_printf(&shape, "]");
	tell_text(t, "shape", &shape);
	parts = tensor_parts(&tensor, &count);
	t->failed |= tell_modules(t, parts, count) != 0;
}

/* ---- the files it is made of ---- */

#define SOURCES_MAX 64 /* most names in a value, which must fit in 64 KiB */

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
	if (e->kind == EXTENT_SOURCE)
		add_source(s, e->from.file);
	for (size_t i = 0; e->kind == EXTENT_GENERATED && i < e->from.generator->inputs.count; i++)
		add_source(s, e->from.generator->inputs.files[i]);
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

static void tell_contents(struct teller *t, const struct contents *c)
{
	if (c->dtype)
		tell(t, "dtype", c->dtype);
	tell_number(t, "tensors", c->tensors);
	if (!c->several)
		tell_tensor(t, c->tensor);
}

int attributes_of_file(const struct tree *tree, const struct view *root, uint32_t ino, const struct fact_sink *sink)
{
	const struct layout *layout = tree->nodes[ino].layout;
	const struct view *view = root ? root : view_of(tree, ino);
	struct teller t = {.sink = sink};

	if (view)
		tell(&t, "view", view->name);
	if (layout && layout->contents)
		tell_contents(&t, layout->contents);
	if (layout)
		tell_sources(&t, layout);
	return t.failed ? -ENOMEM : 0;
}
