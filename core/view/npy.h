/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_NPY_H
#define GPTQFS_NPY_H

/*
 * The header of a .npy file, version 1.0 (numpy.lib.format, "Format Version 1.0"): "\x93NUMPY"; the version; the length
 * of the rest as two bytes, little-endian; a Python dict with descr, fortran_order and shape; blanks and a newline, so
 * that the data begins at a multiple of 64.
 */

#include <stdint.h>

#include "base/dtype.h"
#include "base/text.h"

#define NPY_ALIGN 64

/* Returns numpy's name of the type ("<f2"), or NULL: there is none for BF16 and floats of fewer than 16 bits. */
const char *npy_descr(enum dtype dtype);

struct npy {
	enum dtype dtype;      /* one with a numpy name */
	const uint64_t *shape; /* [ndim], at most SAFETENSORS_NDIM_MAX */
	int ndim;
	/* Describe the same bytes as the transposed array: shape reversed, Fortran order. */
	bool transposed;
};

/* Appends the header. */
void npy_write(const struct npy *npy, struct text *out);

#endif
