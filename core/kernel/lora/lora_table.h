/* SPDX-License-Identifier: MIT */

/*
 * The kernels of lora.h for every type, and the table of them. A file defines, before it includes this,
 *
 *     lora_rows(t, in, out)                  of w in `in`, F32 or F64
 *     dora_row(dst, v, n, magnitude, out)
 */

#define DEFINE_LORA(name, in, out)                         \
	static void lora_##name(const struct lora_tile *t) \
	{                                                  \
		lora_rows(t, in, out);                     \
	}

#define DEFINE_DORA(name, out)                                                          \
	static void dora_##name(void *dst, const double *v, size_t n, double magnitude) \
	{                                                                               \
		dora_row(dst, v, n, magnitude, out);                                    \
	}

DEFINE_LORA(f16, DTYPE_F32, DTYPE_F16)
DEFINE_LORA(bf16, DTYPE_F32, DTYPE_BF16)
DEFINE_LORA(f32, DTYPE_F32, DTYPE_F32)
DEFINE_LORA(f64, DTYPE_F32, DTYPE_F64)
DEFINE_LORA(again_f16, DTYPE_F64, DTYPE_F16)
DEFINE_LORA(again_bf16, DTYPE_F64, DTYPE_BF16)
DEFINE_LORA(again_f32, DTYPE_F64, DTYPE_F32)
DEFINE_LORA(again_f64, DTYPE_F64, DTYPE_F64)
DEFINE_DORA(f16, DTYPE_F16)
DEFINE_DORA(bf16, DTYPE_BF16)
DEFINE_DORA(f32, DTYPE_F32)

static void lora_install(struct lora_dsp *dsp)
{
	*dsp = (struct lora_dsp){
	    .merge = {{lora_f16, lora_bf16, lora_f32, lora_f64},
		{lora_again_f16, lora_again_bf16, lora_again_f32, lora_again_f64}},
	    .dora = {dora_f16, dora_bf16, dora_f32},
	};
}
