/* SPDX-License-Identifier: MIT */

/* Compiles only if driver.h declares the driver's functions as the toolkit's cuda.h does. */

#include <cuda.h>

#include "../driver.h"

#define SAME(a, b) _Static_assert(__builtin_types_compatible_p(a, b), #a " is not " #b " of cuda.h")

SAME(driver_device, CUdevice);
SAME(driver_address, CUdeviceptr);
SAME(driver_context, CUcontext);
SAME(driver_module, CUmodule);
SAME(driver_function, CUfunction);
SAME(driver_stream, CUstream);
_Static_assert(sizeof(driver_result) == sizeof(CUresult), "CUresult");
_Static_assert(DRIVER_OUT_OF_MEMORY == CUDA_ERROR_OUT_OF_MEMORY, "CUDA_ERROR_OUT_OF_MEMORY");
_Static_assert(DRIVER_STREAM_NON_BLOCKING == CU_STREAM_NON_BLOCKING, "CU_STREAM_NON_BLOCKING");

#define SAME_FUNCTION(name, parameters) \
	_Static_assert(__builtin_types_compatible_p(__typeof__(name), driver_result parameters), #name);
DRIVER_FUNCTIONS(SAME_FUNCTION)
