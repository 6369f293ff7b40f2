/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_FOREIGN_H
#define GPTQFS_FOREIGN_H

/* Formats that are not served, so that they can be refused by name. */

#include "base/dtype.h"

struct foreign {
	const char *what;   /* "AWQ" */
	const char *remedy; /* what to do instead */
};

/* What a label in a configuration means ("awq", "bitblas"); never NULL, but what == NULL if it is not known. */
struct foreign foreign_by_label(const char *label);

/* The format whose tensors are named like this one; what == NULL for none. */
struct foreign foreign_by_tensor(const char *name, enum dtype dtype);

#endif
