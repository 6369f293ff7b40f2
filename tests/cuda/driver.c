/* SPDX-License-Identifier: MIT */

/*
 * A libcuda.so.1 without a GPU, for the plugin's tests: the driver functions that the plugin uses, on memory of this
 * process, with kernels run by block.h. It is stricter than a real one. Work of a stream is done only when the stream
 * is waited for, so that data used or overwritten too early comes out wrong. The host cannot access device addresses.
 * Copies must stay inside of allocations, on the host in pinned memory. The process aborts if anything is left when the
 * context is released.
 *
 *     FAKE_CUDA         words, one or more: init, no-device, old-ptx, no-kernel, no-memory, no-pinned (fail at that);
 *                       device-memory=BYTES; reversed, shuffled (order of threads; else forward)
 *     FAKE_CUDA_FAILS   once a file of this name exists, every wait for a stream fails
 */

#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "block.h"
#include "cuda_driver.h"
#include "kernels.h"

enum {
	INVALID_VALUE = 1,
	OUT_OF_MEMORY = 2,
	NOT_INITIALIZED = 3,
	NO_DEVICE = 100,
	INVALID_CONTEXT = 201,
	UNSUPPORTED_PTX = 222,
	INVALID_HANDLE = 400,
	NOT_FOUND = 500,
	LAUNCH_FAILED = 719,
	UNKNOWN = 999,
};

/* Device addresses are those of this process with a bit set that makes them invalid. */
#define DEVICE_BIT (1ull << 62)

struct area {
	unsigned char *start;
	size_t bytes;
	bool device;
	struct area *next;
};

enum op_kind { OP_TO_DEVICE, OP_TO_HOST, OP_LAUNCH };

struct op {
	enum op_kind kind;
	void *to;
	const void *from;
	size_t bytes;
	kernel_fn *kernel;
	struct block_grid grid;
	struct slice slice;
	struct op *next;
};

struct CUstream_st {
	struct op *first, **last;
};

struct CUfunc_st {
	kernel_fn *kernel;
};

struct CUctx_st {
	int nothing;
};

struct CUmod_st {
	struct CUfunc_st functions[64];
	unsigned count;
};

static struct {
	pthread_mutex_t lock; /* protects everything here */
	struct area *areas;
	size_t device_bytes;
	unsigned streams, modules, contexts;
	bool initialized;
	struct CUctx_st context;
} world = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* Not thread-local memory of the loader, on which the leak checker sometimes stumbles. */
static _Thread_local driver_context current __attribute__((tls_model("initial-exec")));

/* ---- faults ---- */

static bool told(const char *word)
{
	const char *words = getenv("FAKE_CUDA"), *at = words ? strstr(words, word) : NULL;

	return at && (at == words || at[-1] == ' ') && (at[strlen(word)] == ' ' || !at[strlen(word)]);
}

static size_t device_memory(void)
{
	const char *words = getenv("FAKE_CUDA"), *at = words ? strstr(words, "device-memory=") : NULL;

	return at ? strtoull(strchr(at, '=') + 1, NULL, 0) : SIZE_MAX;
}

static bool lost(void)
{
	const char *file = getenv("FAKE_CUDA_FAILS");

	return file && access(file, F_OK) == 0;
}

static enum block_order order(void)
{
	return told("reversed") ? BLOCK_REVERSED : told("shuffled") ? BLOCK_SHUFFLED : BLOCK_FORWARD;
}

/* ---- memory ---- */

static driver_address hide(const void *p)
{
	return (uintptr_t)p ^ DEVICE_BIT;
}

static void *unhide(driver_address address)
{
	return (void *)(uintptr_t)(address ^ DEVICE_BIT);
}

/* With the lock held: true if these bytes are inside one area of that side. */
static bool inside(const void *p, size_t bytes, bool device)
{
	const unsigned char *at = p;

	for (const struct area *a = world.areas; a; a = a->next)
		if (a->device == device && at >= a->start && bytes <= a->bytes &&
		    (size_t)(at - a->start) <= a->bytes - bytes)
			return true;
	return false;
}

static driver_result allocate(size_t bytes, bool device, void **out)
{
	struct area *area = calloc(1, sizeof(*area));
	driver_result rc = OUT_OF_MEMORY;

	if (!current || !bytes)
		rc = current ? INVALID_VALUE : INVALID_CONTEXT;
	else
		area->start = aligned_alloc(256, (bytes + 255) / 256 * 256);
	pthread_mutex_lock(&world.lock);
	if (area->start && (!device || bytes <= device_memory() - world.device_bytes)) {
		memset(area->start, 0xcd, bytes);
		area->bytes = bytes;
		area->device = device;
		area->next = world.areas;
		world.areas = area;
		world.device_bytes += device ? bytes : 0;
		rc = 0;
	}
	pthread_mutex_unlock(&world.lock);
	if (rc) {
		free(area->start);
		free(area);
		return rc;
	}
	*out = area->start;
	return 0;
}

static driver_result release(void *p, bool device)
{
	struct area **at, *gone;

	pthread_mutex_lock(&world.lock);
	for (at = &world.areas; *at && ((*at)->start != p || (*at)->device != device); at = &(*at)->next)
		;
	gone = *at;
	if (gone) {
		*at = gone->next;
		world.device_bytes -= device ? gone->bytes : 0;
	}
	pthread_mutex_unlock(&world.lock);
	if (!gone || !current)
		return gone ? INVALID_CONTEXT : INVALID_VALUE;
	free(gone->start);
	free(gone);
	return 0;
}

driver_result cuMemAlloc_v2(driver_address *address, size_t bytes)
{
	void *p;
	driver_result rc = told("no-memory") ? OUT_OF_MEMORY : allocate(bytes, true, &p);

	if (rc == 0)
		*address = hide(p);
	return rc;
}

driver_result cuMemFree_v2(driver_address address)
{
	return release(unhide(address), true);
}

driver_result cuMemHostAlloc(void **p, size_t bytes, unsigned flags)
{
	(void)flags;
	return told("no-pinned") ? OUT_OF_MEMORY : allocate(bytes, false, p);
}

driver_result cuMemFreeHost(void *p)
{
	return release(p, false);
}

/* ---- streams ---- */

driver_result cuStreamCreate(driver_stream *stream, unsigned flags)
{
	(void)flags;
	if (!current)
		return INVALID_CONTEXT;
	*stream = calloc(1, sizeof(**stream));
	(*stream)->last = &(*stream)->first;
	pthread_mutex_lock(&world.lock);
	world.streams++;
	pthread_mutex_unlock(&world.lock);
	return 0;
}

static driver_result enqueue(driver_stream stream, const struct op *op)
{
	struct op *copy;

	if (!current || !stream)
		return current ? INVALID_HANDLE : INVALID_CONTEXT;
	copy = malloc(sizeof(*copy));
	*copy = *op;
	copy->next = NULL;
	*stream->last = copy;
	stream->last = &copy->next;
	return 0;
}

/* Called with the lock held. */
static driver_result perform(struct op *op)
{
	struct slice *s = &op->slice;

	if (op->kind != OP_LAUNCH) {
		const bool to_device = op->kind == OP_TO_DEVICE;

		if (!inside(op->to, op->bytes, to_device) || !inside(op->from, op->bytes, !to_device))
			return INVALID_VALUE;
		memcpy(op->to, op->from, op->bytes);
		return 0;
	}
	s->qweight = unhide((uintptr_t)s->qweight);
	s->qzeros = unhide((uintptr_t)s->qzeros);
	s->scales = unhide((uintptr_t)s->scales);
	s->g_idx = s->g_idx ? unhide((uintptr_t)s->g_idx) : NULL;
	s->table = unhide((uintptr_t)s->table);
	s->out = s->out ? unhide((uintptr_t)s->out) : NULL;
	return block_run(&op->grid, op->kernel, s) ? 0 : LAUNCH_FAILED;
}

static driver_result run_stream(driver_stream stream)
{
	driver_result rc = 0;

	pthread_mutex_lock(&world.lock);
	while (stream->first) {
		struct op *op = stream->first;

		stream->first = op->next;
		if (rc == 0)
			rc = perform(op);
		free(op);
	}
	stream->last = &stream->first;
	pthread_mutex_unlock(&world.lock);
	return rc;
}

driver_result cuStreamSynchronize(driver_stream stream)
{
	driver_result rc = run_stream(stream);

	return rc == 0 && lost() ? UNKNOWN : rc;
}

driver_result cuStreamDestroy_v2(driver_stream stream)
{
	driver_result rc = run_stream(stream);

	free(stream);
	pthread_mutex_lock(&world.lock);
	world.streams--;
	pthread_mutex_unlock(&world.lock);
	return rc;
}

driver_result cuMemcpyHtoDAsync_v2(driver_address to, const void *from, size_t bytes, driver_stream stream)
{
	const struct op op = {.kind = OP_TO_DEVICE, .to = unhide(to), .from = from, .bytes = bytes};

	return enqueue(stream, &op);
}

driver_result cuMemcpyDtoHAsync_v2(void *to, driver_address from, size_t bytes, driver_stream stream)
{
	const struct op op = {.kind = OP_TO_HOST, .to = to, .from = unhide(from), .bytes = bytes};

	return enqueue(stream, &op);
}

driver_result cuLaunchKernel(driver_function function, unsigned grid_x, unsigned grid_y, unsigned grid_z,
    unsigned block_x, unsigned block_y, unsigned block_z, unsigned shared, driver_stream stream, void **parameters,
    void **extra)
{
	struct op op = {.kind = OP_LAUNCH, .kernel = function->kernel};

	if (!grid_x || !grid_y || grid_z != 1 || grid_y > 65535 || block_x != SLICE_THREADS || block_y != 1 ||
	    block_z != 1 || shared || extra)
		return INVALID_VALUE;
	op.grid = (struct block_grid){grid_x, grid_y, block_x, order()};
	op.slice = *(const struct slice *)parameters[0];
	return enqueue(stream, &op);
}

/* ---- device, context, module ---- */

driver_result cuInit(unsigned flags)
{
	world.initialized = true;
	return told("init") || flags ? UNKNOWN : 0;
}

driver_result cuDriverGetVersion(int *version)
{
	*version = 13000;
	return 0;
}

driver_result cuGetErrorString(driver_result rc, const char **text)
{
	static const struct {
		driver_result rc;
		const char *text;
	} errors[] = {{INVALID_VALUE, "invalid argument"}, {OUT_OF_MEMORY, "out of memory"},
	    {NO_DEVICE, "no CUDA-capable device is detected"}, {INVALID_CONTEXT, "invalid device context"},
	    {UNSUPPORTED_PTX, "the provided PTX was compiled with an unsupported toolchain."},
	    {NOT_FOUND, "named symbol not found"}, {LAUNCH_FAILED, "unspecified launch failure"}};

	for (size_t i = 0; i < sizeof(errors) / sizeof(*errors); i++) {
		if (errors[i].rc == rc) {
			*text = errors[i].text;
			return 0;
		}
	}
	return INVALID_VALUE;
}

driver_result cuDeviceGetCount(int *count)
{
	*count = !told("no-device");
	return world.initialized ? 0 : NOT_INITIALIZED;
}

driver_result cuDeviceGet(driver_device *device, int ordinal)
{
	*device = 7;
	return ordinal ? INVALID_VALUE : 0;
}

driver_result cuDeviceGetName(char *name, int size, driver_device device)
{
	snprintf(name, (size_t)size, "this CPU");
	return device == 7 ? 0 : INVALID_VALUE;
}

driver_result cuDevicePrimaryCtxRetain(driver_context *context, driver_device device)
{
	pthread_mutex_lock(&world.lock);
	world.contexts++;
	pthread_mutex_unlock(&world.lock);
	*context = &world.context;
	return device == 7 ? 0 : INVALID_VALUE;
}

driver_result cuDevicePrimaryCtxRelease_v2(driver_device device)
{
	(void)device;
	pthread_mutex_lock(&world.lock);
	if (--world.contexts == 0 && (world.areas || world.streams || world.modules)) {
		fprintf(stderr, "libcuda for tests: memory, %u streams or %u modules left behind\n", world.streams,
		    world.modules);
		abort();
	}
	pthread_mutex_unlock(&world.lock);
	return 0;
}

driver_result cuCtxSetCurrent(driver_context context)
{
	current = context;
	return context == &world.context ? 0 : INVALID_CONTEXT;
}

driver_result cuModuleLoadData(driver_module *module, const void *image)
{
	if (!current || !image)
		return current ? INVALID_VALUE : INVALID_CONTEXT;
	if (told("old-ptx"))
		return UNSUPPORTED_PTX;
	*module = calloc(1, sizeof(**module));
	pthread_mutex_lock(&world.lock);
	world.modules++;
	pthread_mutex_unlock(&world.lock);
	return 0;
}

driver_result cuModuleUnload(driver_module module)
{
	free(module);
	pthread_mutex_lock(&world.lock);
	world.modules--;
	pthread_mutex_unlock(&world.lock);
	return 0;
}

driver_result cuModuleGetFunction(driver_function *function, driver_module module, const char *name)
{
	kernel_fn *kernel = told("no-kernel") ? NULL : kernel_find(name);

	if (!kernel || module->count == sizeof(module->functions) / sizeof(*module->functions))
		return NOT_FOUND;
	*function = &module->functions[module->count++];
	(*function)->kernel = kernel;
	return 0;
}
