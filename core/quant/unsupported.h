/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_FOREIGN_H
#define GPTQFS_FOREIGN_H

/* Unsupported formats, so that they can be refused by name. */

#include <stdbool.h>

#include "base/dtype.h"

struct foreign {
	const char *what;   /* "EXL2" */
	const char *remedy; /* what to do about it */
	bool served;        /* a family decodes it, but these tensors are not in its layout */
};

/* Looks up a label of a configuration ("awq", "bitblas"). Never NULL, but what == NULL if it is unknown. */
struct foreign foreign_by_label(const char *label);

/* Looks up the format whose tensors are named like this one; what == NULL for none. */
struct foreign foreign_by_tensor(const char *name, enum dtype dtype);

#endif
