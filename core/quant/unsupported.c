/* SPDX-License-Identifier: MIT */
#include "quant/unsupported.h"

#include <string.h>

/* Formats that may be supported one day, and those of no use outside their program. */
#define OTHER "fetch the GPTQ version of the model, or one in another format that README lists"
#define CONVERT "convert the model with the tool that made it, or fetch its GPTQ or unquantized version"

/* A label matches the whole word, or its part before the first '-', '_' or ':'. */
static const struct {
	const char *label;
	struct foreign format;
} labels[] = {
    {"compressed-tensors", {"compressed-tensors", OTHER}},
    {"fp8", {"FP8", OTHER}},
    {"fbgemm", {"FP8 (fbgemm)", OTHER}},
    {"hqq", {"HQQ", OTHER}},
    {"marlin", {"Marlin, a repacked kernel format", CONVERT}},
    {"bitblas", {"BitBLAS, a repacked kernel format", CONVERT}},
    {"qqq", {"QQQ", CONVERT}},
    {"exl2", {"EXL2", CONVERT}},
    {"exl3", {"EXL3", CONVERT}},
    {"vptq", {"VPTQ", CONVERT}},
    {"aqlm", {"AQLM", CONVERT}},
    {"quip", {"QuIP", CONVERT}},
    {"spqr", {"SpQR", CONVERT}},
    {"higgs", {"HIGGS", CONVERT}},
    {"eetq", {"EETQ", CONVERT}},
    {"quanto", {"quanto", CONVERT}},
    {"torchao", {"torchao", CONVERT}},
    {"paroquant", {"ParoQuant", CONVERT}},
    {"bitnet", {"BitNet", CONVERT}},
};

struct foreign foreign_by_label(const char *label)
{
	for (size_t i = 0; i < sizeof(labels) / sizeof(*labels); i++) {
		size_t len = strlen(labels[i].label);

		if (strncmp(label, labels[i].label, len) == 0 && (!label[len] || strchr("-_:", label[len])))
			return labels[i].format;
	}
	return (struct foreign){NULL, CONVERT};
}

/* `part` is a suffix of the name, or anywhere in it if `inside`. */
static const struct {
	const char *part;
	bool inside;
	enum dtype dtype; /* DTYPE_COUNT: any */
	struct foreign format;
} tensors[] = {
    {".weight_packed", false, DTYPE_COUNT, {"compressed-tensors", OTHER}},
    {".weight_scale_inv", false, DTYPE_COUNT, {"FP8", OTHER}},
    {".weight_scale_2", false, DTYPE_COUNT, {"ModelOpt's W4A8, whose weights are scaled twice", OTHER}},
    {".pre_quant_scale", false, DTYPE_COUNT, {"ModelOpt's AWQ, whose inputs are scaled at run time", OTHER}},
    {"svdquant_", true, DTYPE_COUNT, {"SVDQuant, which adds matrices of low rank at run time", OTHER}},
    {".q_weight", false, DTYPE_I32, {"EXL2", CONVERT}},
    {".trellis", false, DTYPE_COUNT, {"EXL3", CONVERT}},
    {".codebooks", false, DTYPE_COUNT, {"AQLM", CONVERT}},
    {".w_bf16_to_fp8_scale", false, DTYPE_COUNT, {"AutoRound's W4A8, whose weights are scaled twice", OTHER}},
    {"hadamard", true, DTYPE_COUNT,
	{"a model with rotated weights", "fetch a version that was quantized without rotation"}},
    {"spinquant_", true, DTYPE_COUNT,
	{"a model with rotated weights", "fetch a version that was quantized without rotation"}},
    {".lora_A", false, DTYPE_COUNT,
	{"an unmerged adapter", "merge it with the tool that made it, then mount the result"}},
    {".lora_A.weight", false, DTYPE_COUNT,
	{"an adapter", "mount the model it is for, and merge the adapter into that"}},
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
	return (struct foreign){NULL, NULL};
}
