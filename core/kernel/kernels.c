/* SPDX-License-Identifier: MIT */
#include "kernel/kernels.h"

#include <string.h>

void kernels_init(struct kernels *k, enum cpu_level level)
{
	*k = (struct kernels){.level = level};
	gptq_init(&k->gptq);
	fp8_init(&k->fp8);
	bnb_init(&k->bnb);
	affine_init(&k->affine);
	fp4_init(&k->fp4);
	awq_init(&k->awq);
	hqq_init(&k->hqq);
	lora_init(&k->lora);
	gguf_init(&k->gguf);
	memcpy(k->cast, cast_reference, sizeof(k->cast));
#if defined(__x86_64__) || defined(__aarch64__)
	if (level >= CPU_VECTOR) {
		gptq_init_vector(&k->gptq);
		awq_init_vector(&k->awq);
		hqq_init_vector(&k->hqq);
		cast_init_vector(k->cast);
		fp8_init_vector(&k->fp8);
		bnb_init_vector(&k->bnb);
		fp8_cast_init_vector(k->cast);
		fp4_init_vector(&k->fp4);
		affine_init_vector(&k->affine);
		lora_init_vector(&k->lora);
	}
#endif
#if defined(__x86_64__)
	if (level >= CPU_AVX2) {
		gguf_init_avx2(&k->gguf);
		gptq_init_avx2(&k->gptq);
		cast_init_avx2(k->cast);
		fp8_init_avx2(&k->fp8);
		fp4_init_avx2(&k->fp4);
		bnb_init_avx2(&k->bnb);
		awq_init_avx2(&k->awq);
		hqq_init_avx2(&k->hqq);
		fp8_cast_init_avx2(k->cast);
		affine_init_avx2(&k->affine);
		lora_init_avx2(&k->lora);
	}
	if (level >= CPU_AVX512) {
		gptq_init_avx512(&k->gptq);
		cast_init_avx512(k->cast);
		fp8_init_avx512(&k->fp8);
		fp4_init_avx512(&k->fp4);
		bnb_init_avx512(&k->bnb);
		awq_init_avx512(&k->awq);
		hqq_init_avx512(&k->hqq);
		fp8_cast_init_avx512(k->cast);
		affine_init_avx512(&k->affine);
		lora_init_avx512(&k->lora);
	}
#endif
}
