/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_NPY_H
#define GPTQFS_NPY_H

/*
 * The header of a .npy file, version 1.0 (numpy.lib.format, "Format Version 1.0"): "\x93NUMPY", the version, the length
 * of the rest as two bytes, little-endian; a Python dict with descr, fortran_order and shape; blanks and a newline, so
 * that data begins on a multiple of 64.
 */

#include <stdint.h>

#include "base/dtype.h"
#include "base/text.h"

#define NPY_ALIGN 64

/* The type as numpy spells it ("<f2"), or NULL: BF16 and types below 16 bits that are floats have none. */
const char *npy_descr(enum dtype dtype);

struct npy {
	enum dtype dtype;      /* one that numpy has */
	const uint64_t *shape; /* [ndim], at most SAFETENSORS_NDIM_MAX */
	int ndim;
	/* Describes the same bytes as the transposed array, of reversed shape, in Fortran order. */
	bool transposed;
};

/* Appends the header. */
void npy_write(const struct npy *npy, struct text *out);

#endif
