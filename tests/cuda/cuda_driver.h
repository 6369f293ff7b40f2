/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_TESTS_CUDA_DRIVER_H
#define GPTQFS_TESTS_CUDA_DRIVER_H

/* The driver's functions as the plugin declares them. */

#include "../../cuda/driver.h"

#define DRIVER_PROTOTYPE(name, parameters) driver_result name parameters;
DRIVER_FUNCTIONS(DRIVER_PROTOTYPE)
#undef DRIVER_PROTOTYPE

#endif
