/* SPDX-License-Identifier: MIT */
#include "checkpoint/companion.h"

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "file/listing.h"

static bool begins_with(const char *s, const char *prefix)
{
	return strncmp(s, prefix, strlen(prefix)) == 0;
}

static bool is_any(const char *s, bool (*is)(const char *, const char *), const char *const *words)
{
	for (; *words; words++)
		if (is(s, *words))
			return true;
	return false;
}

static bool is_same(const char *a, const char *b)
{
	return strcmp(a, b) == 0;
}

/* Files that quantizers write beside the weights. */
static bool is_quantizers(const char *name)
{
	static const char *const names[] = {"quantize_config.json", "quant_config.json", "quantization_config.json",
	    "hf_quant_config.json", "quant_log.csv", NULL};

	return is_any(name, is_same, names);
}

/* Copies of all weights in another format, under the names that libraries look for. */
static bool is_another_set(const char *base)
{
	static const char *const suffixes[] = {
	    ".bin", ".pt", ".pth", ".h5", ".msgpack", ".ot", ".onnx", ".onnx_data", NULL};
	static const char *const prefixes[] = {"pytorch_model", "model", "tf_model", "flax_model", "rust_model",
	    "gptq_model", "decoder_model", "decoder_with_past_model", "encoder_model", "openvino_model", NULL};

	return is_any(base, ends_with, suffixes) && is_any(base, begins_with, prefixes);
}

enum companion companion_of(const char *name)
{
	const char *slash = strrchr(name, '/'), *base = slash ? slash + 1 : name;

	/* The weights in the author's original format or for Apple's GPUs, and complete models in one file. */
	if (begins_with(name, "original/") || begins_with(name, "metal/") || begins_with(base, "consolidated") ||
	    (!slash && ends_with(base, ".gguf")))
		return COMPANION_HIDDEN;
	if (begins_with(name, "onnx/"))
		return is_another_set(base) ? COMPANION_HIDDEN : COMPANION_PASSES;
	if (slash)
		return COMPANION_PASSES;
	/* With adapter_config.json at the top, loaders treat the directory as an adapter. */
	if (is_quantizers(name) || is_another_set(name) || begins_with(name, "adapter_") ||
	    ends_with(name, ".index.json"))
		return COMPANION_HIDDEN;
	return ends_with(name, ".safetensors") ? COMPANION_WEIGHTS : COMPANION_PASSES;
}
