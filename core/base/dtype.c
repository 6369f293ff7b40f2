/* SPDX-License-Identifier: MIT */
#include "base/dtype.h"

#include <string.h>

static const struct {
	const char *name;
	unsigned bits;
} types[DTYPE_COUNT] = {
    [DTYPE_F16] = {"F16", 16},
    [DTYPE_BF16] = {"BF16", 16},
    [DTYPE_F32] = {"F32", 32},
    [DTYPE_F64] = {"F64", 64},
    [DTYPE_F8_E4M3] = {"F8_E4M3", 8},
    [DTYPE_F8_E5M2] = {"F8_E5M2", 8},
    [DTYPE_BOOL] = {"BOOL", 8},
    [DTYPE_U8] = {"U8", 8},
    [DTYPE_I8] = {"I8", 8},
    [DTYPE_U16] = {"U16", 16},
    [DTYPE_I16] = {"I16", 16},
    [DTYPE_U32] = {"U32", 32},
    [DTYPE_I32] = {"I32", 32},
    [DTYPE_U64] = {"U64", 64},
    [DTYPE_I64] = {"I64", 64},
    [DTYPE_C64] = {"C64", 64},
    [DTYPE_F8_E8M0] = {"F8_E8M0", 8},
    [DTYPE_F8_E5M2FNUZ] = {"F8_E5M2FNUZ", 8},
    [DTYPE_F8_E4M3FNUZ] = {"F8_E4M3FNUZ", 8},
    [DTYPE_F6_E2M3] = {"F6_E2M3", 6},
    [DTYPE_F6_E3M2] = {"F6_E3M2", 6},
    [DTYPE_F4] = {"F4", 4},
};

const char *dtype_name(enum dtype dtype)
{
	return types[dtype].name;
}

const char *dtype_torch_name(enum dtype dtype)
{
	static const char *const names[DTYPE_VIEWS] = {"float16", "bfloat16", "float32"};

	return names[dtype];
}

const char *dtype_view_name(enum dtype dtype)
{
	static const char *const names[DTYPE_VIEWS] = {"fp16", "bf16", "fp32"};

	return names[dtype];
}

unsigned dtype_bits(enum dtype dtype)
{
	return types[dtype].bits;
}

enum dtype dtype_parse(const char *name, size_t len)
{
	enum dtype dtype = 0;

	while (dtype < DTYPE_COUNT && (strlen(types[dtype].name) != len || memcmp(types[dtype].name, name, len)))
		dtype++;
	return dtype;
}
