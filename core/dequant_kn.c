/* SPDX-License-Identifier: MIT */
#include "dequant_kn.h"

#include "half.h"

static float scale_of(const struct qtensor *q, uint64_t i)
{
	const size_t bytes = dtype_bytes(q->scale_dtype);
	uint32_t bits = 0;

	memcpy(&bits, q->scales + i * bytes, bytes);
	return q->scale_dtype == DTYPE_F16    ? float_of_half((uint16_t)bits)
	       : q->scale_dtype == DTYPE_BF16 ? float_of_bf16((uint16_t)bits)
	                                      : float_of_bits(bits);
}

static void store(unsigned char *dst, enum dtype out, float value)
{
	const uint32_t bits = out == DTYPE_F16    ? half_of_float(value)
	                      : out == DTYPE_BF16 ? bf16_of_float(value)
	                                          : float_canonical(bits_of_float(value));

	memcpy(dst, &bits, dtype_bytes(out));
}

void dequant_kn(void *dst, const struct dequant_kn *job)
{
	const struct qtensor *q = job->q;
	unsigned char *at = dst;

	for (uint32_t k = job->k0; k < job->k0 + job->nk; k++) {
		const uint32_t g = q->g_idx ? q->g_idx[k] : k / q->group_size;

		for (uint32_t n = 0; n < q->out_features; n++) {
			const int d = (int)qtensor_code(q, k, n) - (int)qtensor_zero(q, g, n);

			store(at, job->out, scale_of(q, (uint64_t)g * q->out_features + n) * (float)d);
			at += dtype_bytes(job->out);
		}
	}
}
