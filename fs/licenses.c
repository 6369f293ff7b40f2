/* SPDX-License-Identifier: MIT */

/* Embeds the file LICENSES, which the Makefile names. */

#include "licenses.h"

__asm__(".pushsection .rodata\n"
	".global licenses\n"
	".hidden licenses\n"
	"licenses:\n"
	".incbin \"" LICENSES "\"\n"
	".byte 0\n"
	".popsection\n");
