/* SPDX-License-Identifier: MIT */
#include "quant/unsupported.h"

#include <string.h>

/* Formats that may be supported one day, and those of no use outside their program. */
#define OTHER "fetch the GPTQ version of the model, or one in another format that README lists"
#define REPAIR "correct the label or fetch the model again"
#define CONVERT "convert the model with the tool that made it, or fetch its GPTQ or unquantized version"

/* A label matches the whole word, or its part before the first '-', '_' or ':'. */
static const struct {
	const char *label;
	struct foreign format;
} labels[] = {
    {"compressed-tensors", {"compressed-tensors", REPAIR, true}},
    {"fp8", {"FP8", REPAIR, true}},
    {"fbgemm", {"FP8 (fbgemm)", REPAIR, true}},
    {"hqq", {"HQQ", REPAIR, true}},
    {"marlin", {"Marlin, a repacked kernel format", CONVERT, false}},
    {"bitblas", {"BitBLAS, a repacked kernel format", CONVERT, false}},
    {"qqq", {"QQQ", CONVERT, false}},
    {"exl2", {"EXL2", CONVERT, false}},
    {"exl3", {"EXL3", CONVERT, false}},
    {"vptq", {"VPTQ", CONVERT, false}},
    {"aqlm", {"AQLM", CONVERT, false}},
    {"quip", {"QuIP", CONVERT, false}},
    {"spqr", {"SpQR", CONVERT, false}},
    {"higgs", {"HIGGS", CONVERT, false}},
    {"eetq", {"EETQ", CONVERT, false}},
    {"quanto", {"quanto", CONVERT, false}},
    {"torchao", {"torchao", CONVERT, false}},
    {"paroquant", {"ParoQuant", CONVERT, false}},
    {"bitnet", {"BitNet", CONVERT, false}},
};

struct foreign foreign_by_label(const char *label)
{
	for (size_t i = 0; i < sizeof(labels) / sizeof(*labels); i++) {
		size_t len = strlen(labels[i].label);

		if (strncmp(label, labels[i].label, len) == 0 && (!label[len] || strchr("-_:", label[len])))
			return labels[i].format;
	}
	return (struct foreign){.remedy = CONVERT};
}

/* `part` is a suffix of the name, or anywhere in it if `inside`. */
static const struct {
	const char *part;
	bool inside;
	enum dtype dtype; /* DTYPE_COUNT: any */
	struct foreign format;
} tensors[] = {
    {".weight_packed", false, DTYPE_COUNT, {"a kind of compressed-tensors", OTHER, false}},
    {".weight_scale_inv", false, DTYPE_COUNT, {"a kind of FP8", OTHER, false}},
    {".weight_scale_2", false, DTYPE_COUNT, {"ModelOpt's W4A8, whose weights are scaled twice", OTHER, false}},
    {".pre_quant_scale", false, DTYPE_COUNT, {"ModelOpt's AWQ, whose inputs are scaled at run time", OTHER, false}},
    {"svdquant_", true, DTYPE_COUNT, {"SVDQuant, which adds matrices of low rank at run time", OTHER, false}},
    {".q_weight", false, DTYPE_I32, {"EXL2", CONVERT, false}},
    {".scaled_zeros", false, DTYPE_COUNT, {"llm-awq's own kind of AWQ", OTHER, false}},
    {".trellis", false, DTYPE_COUNT, {"EXL3", CONVERT, false}},
    {".codebooks", false, DTYPE_COUNT, {"AQLM", CONVERT, false}},
    {".w_bf16_to_fp8_scale", false, DTYPE_COUNT, {"AutoRound's W4A8, whose weights are scaled twice", OTHER, false}},
    {".comfy_quant", false, DTYPE_COUNT,
	{"ComfyUI's kind of FP8, NVFP4 or int8, whose scales and codes may be in another order", CONVERT, false}},
    {"input_rotation", true, DTYPE_COUNT,
	{"a model with rotated weights", "fetch a version that was quantized without rotation", false}},
    {"hadamard", true, DTYPE_COUNT,
	{"a model with rotated weights", "fetch a version that was quantized without rotation", false}},
    {"spinquant_", true, DTYPE_COUNT,
	{"a model with rotated weights", "fetch a version that was quantized without rotation", false}},
    {".lora_A", false, DTYPE_COUNT,
	{"an unmerged adapter", "merge it with the tool that made it, then mount the result", false}},
    {".lora_A.weight", false, DTYPE_COUNT,
	{"an adapter", "mount the model it is for, and merge the adapter into that", false}},
};

struct foreign foreign_by_tensor(const char *name, enum dtype dtype)
{
	for (size_t i = 0; i < sizeof(tensors) / sizeof(*tensors); i++) {
		const size_t len = strlen(name), n = strlen(tensors[i].part);

		if (tensors[i].dtype != DTYPE_COUNT && tensors[i].dtype != dtype)
			continue;
		if (tensors[i].inside ? strstr(name, tensors[i].part) != NULL
				      : len >= n && strcmp(name + len - n, tensors[i].part) == 0)
			return tensors[i].format;
	}
	return (struct foreign){.what = NULL};
}
