/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_CUDA_DRIVER_H
#define GPTQFS_CUDA_DRIVER_H

/*
 * The CUDA driver, opened at run time: neither building nor running the plugin's host code needs the toolkit. Types and
 * functions are the needed ones of cuda.h under other names; `make cuda` compares them with cuda.h (cuda_h.c).
 */

#include <stddef.h>
#include <stdint.h>

#include "kernel/plugin.h"

typedef unsigned driver_result;            /* CUresult; 0 is success */
typedef int driver_device;                 /* CUdevice */
typedef unsigned long long driver_address; /* CUdeviceptr */
typedef struct CUctx_st *driver_context;
typedef struct CUmod_st *driver_module;
typedef struct CUfunc_st *driver_function;
typedef struct CUstream_st *driver_stream;

#define DRIVER_LIBRARY "libcuda.so.1"
#define DRIVER_OUT_OF_MEMORY 2        /* CUDA_ERROR_OUT_OF_MEMORY */
#define DRIVER_STREAM_NON_BLOCKING 1u /* CU_STREAM_NON_BLOCKING */

/* All functions used, by exported name. */
#define DRIVER_FUNCTIONS(X)                                                                                \
	X(cuInit, (unsigned flags))                                                                        \
	X(cuDriverGetVersion, (int *version))                                                              \
	X(cuGetErrorString, (driver_result rc, const char **text))                                         \
	X(cuDeviceGetCount, (int *count))                                                                  \
	X(cuDeviceGet, (driver_device * device, int ordinal))                                              \
	X(cuDeviceGetName, (char *name, int size, driver_device device))                                   \
	X(cuDevicePrimaryCtxRetain, (driver_context * context, driver_device device))                      \
	X(cuDevicePrimaryCtxRelease_v2, (driver_device device))                                            \
	X(cuCtxSetCurrent, (driver_context context))                                                       \
	X(cuModuleLoadData, (driver_module * module, const void *image))                                   \
	X(cuModuleUnload, (driver_module module))                                                          \
	X(cuModuleGetFunction, (driver_function * function, driver_module module, const char *name))       \
	X(cuMemAlloc_v2, (driver_address * address, size_t bytes))                                         \
	X(cuMemFree_v2, (driver_address address))                                                          \
	X(cuMemHostAlloc, (void **p, size_t bytes, unsigned flags))                                        \
	X(cuMemFreeHost, (void *p))                                                                        \
	X(cuStreamCreate, (driver_stream * stream, unsigned flags))                                        \
	X(cuStreamDestroy_v2, (driver_stream stream))                                                      \
	X(cuStreamSynchronize, (driver_stream stream))                                                     \
	X(cuMemcpyHtoDAsync_v2, (driver_address to, const void *from, size_t bytes, driver_stream stream)) \
	X(cuMemcpyDtoHAsync_v2, (void *to, driver_address from, size_t bytes, driver_stream stream))       \
	X(cuLaunchKernel, (driver_function function, unsigned grid_x, unsigned grid_y, unsigned grid_z,    \
			      unsigned block_x, unsigned block_y, unsigned block_z, unsigned shared,       \
			      driver_stream stream, void **parameters, void **extra))

struct driver {
#define DRIVER_FIELD(name, parameters) driver_result(*name) parameters;
	DRIVER_FUNCTIONS(DRIVER_FIELD)
#undef DRIVER_FIELD
};

/*
 * Opens the library and finds the functions. Returns 0, or -errno with the reason. The library is never closed: drivers
 * have threads and exit handlers of their own.
 */
int driver_open(struct driver *d, struct accel_text *why);

/* Checks the result of calling the function `what`. Returns 0, or -ENOMEM or -EIO with the reason. */
int driver_check(const struct driver *d, driver_result rc, const char *what, struct accel_text *why);

#endif
