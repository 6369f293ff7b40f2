/* SPDX-License-Identifier: MIT */
#include "view/npy.h"

#define PREFIX 10 /* magic, version, length */

const char *npy_descr(enum dtype dtype)
{
	static const char *const names[DTYPE_COUNT] = {
	    [DTYPE_F16] = "<f2",
	    [DTYPE_F32] = "<f4",
	    [DTYPE_F64] = "<f8",
	    [DTYPE_BOOL] = "|b1",
	    [DTYPE_U8] = "|u1",
	    [DTYPE_I8] = "|i1",
	    [DTYPE_U16] = "<u2",
	    [DTYPE_I16] = "<i2",
	    [DTYPE_U32] = "<u4",
	    [DTYPE_I32] = "<i4",
	    [DTYPE_U64] = "<u8",
	    [DTYPE_I64] = "<i8",
	    [DTYPE_C64] = "<c8",
	};

	return names[dtype];
}

void npy_write(const struct npy *npy, struct text *out)
{
	const size_t start = out->len;
	size_t len;

	text_put(out, "\x93NUMPY\1\0--", PREFIX);
	text_string(out, "{'descr': '");
	text_string(out, npy_descr(npy->dtype));
	text_string(out, "', 'fortran_order': ");
	text_string(out, npy->transposed ? "True, 'shape': (" : "False, 'shape': (");
	for (int i = 0; i < npy->ndim; i++) {
		text_string(out, i ? ", " : "");
		text_number(out, npy->shape[npy->transposed ? npy->ndim - 1 - i : i]);
	}
	/* A tuple of one element has a comma. */
	text_string(out, npy->ndim == 1 ? ",), }" : "), }");
	while (!out->failed && (out->len - start + 1) % NPY_ALIGN)
		text_put(out, " ", 1);
	text_put(out, "\n", 1);
	if (out->failed)
		return;
	len = out->len - start - PREFIX;
	out->data[start + 8] = (char)len;
	out->data[start + 9] = (char)(len >> 8);
}
