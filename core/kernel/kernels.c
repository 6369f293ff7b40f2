/* SPDX-License-Identifier: MIT */
#include "kernel/kernels.h"

#include <string.h>

static void init_reference(struct kernels *k)
{
	gptq_init(&k->gptq);
	affine_init(&k->affine);
	awq_init(&k->awq);
	bnb_init(&k->bnb);
	fp4_init(&k->fp4);
	fp8_init(&k->fp8);
	gguf_init(&k->gguf);
	hqq_init(&k->hqq);
	lora_init(&k->lora);
	mlx_init(&k->mlx);
	memcpy(k->cast, cast_reference, sizeof(k->cast));
}

#if defined(__x86_64__) || defined(__aarch64__)
static void init_vector(struct kernels *k)
{
	gptq_init_vector(&k->gptq);
	affine_init_vector(&k->affine);
	awq_init_vector(&k->awq);
	bnb_init_vector(&k->bnb);
	fp4_init_vector(&k->fp4);
	fp8_init_vector(&k->fp8);
	gguf_init_vector(&k->gguf);
	hqq_init_vector(&k->hqq);
	lora_init_vector(&k->lora);
	cast_init_vector(k->cast);
	fp8_cast_init_vector(k->cast);
}
#endif

#if defined(__x86_64__)
static void init_avx2(struct kernels *k)
{
	gptq_init_avx2(&k->gptq);
	affine_init_avx2(&k->affine);
	awq_init_avx2(&k->awq);
	bnb_init_avx2(&k->bnb);
	fp4_init_avx2(&k->fp4);
	fp8_init_avx2(&k->fp8);
	gguf_init_avx2(&k->gguf);
	hqq_init_avx2(&k->hqq);
	lora_init_avx2(&k->lora);
	mlx_init_avx2(&k->mlx);
	cast_init_avx2(k->cast);
	fp8_cast_init_avx2(k->cast);
}

static void init_avx512(struct kernels *k)
{
	gptq_init_avx512(&k->gptq);
	affine_init_avx512(&k->affine);
	awq_init_avx512(&k->awq);
	bnb_init_avx512(&k->bnb);
	fp4_init_avx512(&k->fp4);
	fp8_init_avx512(&k->fp8);
	gguf_init_avx512(&k->gguf);
	hqq_init_avx512(&k->hqq);
	lora_init_avx512(&k->lora);
	cast_init_avx512(k->cast);
	fp8_cast_init_avx512(k->cast);
}
#endif

void kernels_init(struct kernels *k, enum cpu_level level)
{
	*k = (struct kernels){.level = level};
	init_reference(k);
#if defined(__x86_64__) || defined(__aarch64__)
	if (level >= CPU_VECTOR)
		init_vector(k);
#endif
#if defined(__x86_64__)
	if (level >= CPU_AVX2)
		init_avx2(k);
	if (level >= CPU_AVX512)
		init_avx512(k);
#endif
}
