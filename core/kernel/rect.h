/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_RECT_H
#define GPTQFS_RECT_H

#include <stdint.h>

/* A rectangle of a matrix: columns [column0, column0 + columns) of rows [row0, row0 + rows). */
struct kernel_rect {
	uint32_t row0, rows;
	uint32_t column0, columns;
};

#endif
