/* SPDX-License-Identifier: MIT */
#include "source.h"

#include <errno.h>
#include <string.h>

#include "err.h"

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
			return families[i]->open(c, out, err);
	return err_set(err, -ENOTSUP,
	    "%s: no quantized tensors (expected names that end in .qweight): the model is not quantized; use the directory "
	    "as it is",
	    c->dir.path);
}
