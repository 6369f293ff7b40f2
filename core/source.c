/* SPDX-License-Identifier: MIT */
#include "source.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "architecture.h"
#include "err.h"
#include "join.h"

static const struct source_ops *const families[] = {&source_gptq};

#define LATER "this gptqfs serves GPTQ only; fetch the GPTQ version of the model"

/* Families that no configuration may name, known by their tensors. */
static const struct {
	const char *suffix, *what, *remedy;
} signatures[] = {
    {".weight_packed", "compressed-tensors", LATER},
    {".SCB", "bitsandbytes 8-bit", LATER},
    {".quant_map", "bitsandbytes 4-bit", LATER},
    {".W_q", "HQQ", LATER},
    {".weight_scale_inv", "FP8", LATER},
    {".weight_scale_2", "NVFP4", LATER},
    {"_blocks", "MXFP4", LATER},
    {".q_weight", "EXL2", "convert it with the tool that made it, or fetch another version"},
    {".trellis", "EXL3", "convert it with the tool that made it, or fetch another version"},
    {".codebooks", "AQLM", "convert it with the tool that made it, or fetch another version"},
    {"hadamard", "a rotated model, which needs a runtime that rotates activations", "fetch a version without rotation"},
    {".lora_A", "an unmerged adapter", "merge it with the tool that made it, then mount the result"},
    {".lora_A.weight", "an adapter, not a model", "mount the model it belongs to, and merge the adapter into that"},
};

static bool has_suffix(const struct checkpoint *c, const char *suffix, const char **found)
{
	for (size_t i = 0; i < c->tensor_count; i++)
		if (ends_with(c->tensors[i].name, suffix)) {
			*found = c->tensors[i].name;
			return true;
		}
	return false;
}

/* Marlin's tensors are X.B and X.s; both names alone are too short to mean anything. */
static bool is_marlin(const struct checkpoint *c, const char **found)
{
	char other[512];

	for (size_t i = 0; i < c->tensor_count; i++) {
		const char *name = c->tensors[i].name;
		size_t len = strlen(name);

		if (len + 1 > sizeof(other) || !ends_with(name, ".B") || c->tensors[i].dtype != DTYPE_I32)
			continue;
		memcpy(other, name, len + 1);
		other[len - 1] = 's';
		if (checkpoint_find(c, other)) {
			*found = name;
			return true;
		}
	}
	return false;
}

static int refuse(const struct checkpoint *c, const char *tensor, const char *what, const char *remedy,
    struct gptqfs_error *err)
{
	return err_set(err, -ENOTSUP, "%s: tensor %.200s belongs to %s, which is not served; %s", c->dir.path, tensor, what,
	    remedy);
}

static bool is_other(const struct tensor *t)
{
	return t->stored && !dtype_is_cast(t->stored->dtype);
}

static int by_kind_and_name(const void *a, const void *b)
{
	const struct tensor *x = a, *y = b;

	return is_other(x) != is_other(y) ? is_other(x) - is_other(y) : strcmp(x->name, y->name);
}

void source_sort(struct source *s)
{
	qsort(s->tensors, s->tensor_count, sizeof(*s->tensors), by_kind_and_name);
	for (s->float_count = 0; s->float_count < s->tensor_count; s->float_count++)
		if (is_other(&s->tensors[s->float_count]))
			break;
}

static const struct tensor *search(const struct tensor *from, size_t count, const char *name)
{
	size_t low = 0, high = count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int order = strcmp(name, from[middle].name);

		if (order == 0)
			return &from[middle];
		if (order < 0)
			high = middle;
		else
			low = middle + 1;
	}
	return NULL;
}

const struct tensor *source_find(const struct source *s, const char *name)
{
	const struct tensor *t = search(s->tensors, s->float_count, name);

	return t ? t : search(s->tensors + s->float_count, s->tensor_count - s->float_count, name);
}

/* Gives tensors the names and shapes that the architecture's class wants. */
static int fit_architecture(struct checkpoint *c, struct source *s, struct gptqfs_error *err)
{
	const struct architecture *a = architecture_find(c->config_json);

	for (size_t i = 0; i < s->tensor_count; i++) {
		s->tensors[i].name = architecture_rename(a, s->tensors[i].name, &c->arena);
		if (!s->tensors[i].name)
			return err_memory(err);
	}
	source_sort(s);
	if (join_tensors(&c->arena, s, a->joins))
		return err_memory(err);
	for (size_t i = 1; i < s->tensor_count; i++)
		if (strcmp(s->tensors[i - 1].name, s->tensors[i].name) == 0)
			return err_set(err, -EBADMSG,
			    "%s: two tensors would be named %.200s in the dense model; remove the one that does not belong to it",
			    c->dir.path, s->tensors[i].name);
	return 0;
}

static int open_family(struct checkpoint *c, const struct source_ops *ops, struct source *out, struct gptqfs_error *err)
{
	int rc = ops->open(c, out, err);

	return rc ? rc : fit_architecture(c, out, err);
}

int source_open(struct checkpoint *c, struct source *out, struct gptqfs_error *err)
{
	const char *name;

	for (size_t i = 0; i < sizeof(signatures) / sizeof(*signatures); i++)
		if (has_suffix(c, signatures[i].suffix, &name))
			return refuse(c, name, signatures[i].what, signatures[i].remedy, err);
	if (is_marlin(c, &name))
		return refuse(c, name, "Marlin, a repacked kernel format", "convert the model back to GPTQ, or fetch that version",
		    err);
	for (size_t i = 0; i < sizeof(families) / sizeof(*families); i++)
		if (families[i]->probe(c))
			return open_family(c, families[i], out, err);
	return err_set(err, -ENOTSUP,
	    "%s: no quantized tensors (expected names that end in .qweight): the model is not quantized; use the directory "
	    "as it is",
	    c->dir.path);
}
