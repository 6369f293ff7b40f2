/* SPDX-License-Identifier: MIT */
#include "block.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#if !defined(__x86_64__)
#include <ucontext.h>
#endif

#if defined(__SANITIZE_ADDRESS__)
#define ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ASAN 1
#endif
#endif
#ifdef ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

enum { THREADS_MAX = 1024, STACK = 64 << 10, FIRST_FRAMES = 2048 };

struct block_index threadIdx, blockIdx;

enum fiber_state { FIBER_READY, FIBER_WAITING, FIBER_DONE };

struct fiber {
	unsigned char *stack;
	enum fiber_state state;
#if defined(__x86_64__)
	void *at; /* its stack pointer, while it does not run */
#else
	ucontext_t at;
#endif
	void *fake_stack; /* the sanitizer's */
};

/* The caller is fiber 0, followed by the threads. */
static struct {
	struct fiber fibers[1 + THREADS_MAX];
	unsigned running;
	void (*kernel)(void *arguments);
	void *arguments;
	uint64_t random;
} world;

static void thread_main(void);

/* ---- switching ---- */

#if defined(__x86_64__)
/* Saves callee-saved registers on this stack, and continues on another stack. */
void block_switch(void **from, void *to);

__asm__(".text\n"
	".type block_switch, @function\n"
	"block_switch:\n"
	"	pushq %rbp\n"
	"	pushq %rbx\n"
	"	pushq %r12\n"
	"	pushq %r13\n"
	"	pushq %r14\n"
	"	pushq %r15\n"
	"	movq %rsp, (%rdi)\n"
	"	movq %rsi, %rsp\n"
	"	popq %r15\n"
	"	popq %r14\n"
	"	popq %r13\n"
	"	popq %r12\n"
	"	popq %rbx\n"
	"	popq %rbp\n"
	"	ret\n"
	".size block_switch, . - block_switch\n");

static void switch_stacks(struct fiber *from, struct fiber *to)
{
	block_switch(&from->at, to->at);
}

static void prepare(struct fiber *f)
{
	/* Six registers, the return address, and one word that aligns the stack as after a call. */
	void **top = (void **)(f->stack + STACK) - 8;

	memset(top, 0, 8 * sizeof(*top));
	top[6] = (void *)thread_main;
	f->at = top;
}
#else
static void switch_stacks(struct fiber *from, struct fiber *to)
{
	swapcontext(&from->at, &to->at);
}

static void prepare(struct fiber *f)
{
	getcontext(&f->at);
	f->at.uc_stack.ss_sp = f->stack;
	f->at.uc_stack.ss_size = STACK;
	f->at.uc_link = NULL;
	makecontext(&f->at, thread_main, 0);
}
#endif

#ifdef ASAN
/* Stack size of the caller of block_run, which may be another thread each time. */
static size_t caller_stack_size;
#endif

static void go(unsigned to)
{
	struct fiber *from = &world.fibers[world.running], *next = &world.fibers[to];

	world.running = to;
#ifdef ASAN
	__sanitizer_start_switch_fiber(from->state == FIBER_DONE ? NULL : &from->fake_stack, next->stack,
	    to ? (size_t)STACK : caller_stack_size);
#endif
	switch_stacks(from, next);
#ifdef ASAN
	__sanitizer_finish_switch_fiber(from->fake_stack, NULL, NULL);
#endif
}

static void thread_main(void)
{
	struct fiber *self = &world.fibers[world.running];

#ifdef ASAN
	const void *bottom;

	__sanitizer_finish_switch_fiber(NULL, &bottom, &caller_stack_size);
	world.fibers[0].stack = (unsigned char *)bottom;
#endif
	world.kernel(world.arguments);
	self->state = FIBER_DONE;
	go(0);
	abort(); /* never returns */
}

void block_barrier(void)
{
	world.fibers[world.running].state = FIBER_WAITING;
	go(0);
}

/* ---- blocks ---- */

static void *need(void *p)
{
	if (p && p != MAP_FAILED)
		return p;
	perror("block");
	abort();
}

static void start_block(unsigned threads)
{
	for (unsigned i = 1; i <= threads; i++) {
		struct fiber *f = &world.fibers[i];

		if (!f->stack) {
			const size_t guard = 4096;

			f->stack = need(mmap(NULL, guard + STACK, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
			if (mprotect(f->stack, guard, PROT_NONE))
				need(NULL);
			f->stack += guard;
		}
#ifdef ASAN
		/* A finished thread leaves only its first frames. */
		if (f->state == FIBER_DONE)
			__asan_unpoison_memory_region(f->stack + STACK - FIRST_FRAMES, FIRST_FRAMES);
		else
			__asan_unpoison_memory_region(f->stack, STACK);
#endif
		f->state = FIBER_READY;
		f->fake_stack = NULL;
		prepare(f);
	}
}

static void sort_threads(unsigned *order, unsigned threads, enum block_order how)
{
	for (unsigned i = 0; i < threads; i++)
		order[i] = how == BLOCK_REVERSED ? threads - i : i + 1;
	for (unsigned i = threads; how == BLOCK_SHUFFLED && i > 1; i--) {
		unsigned other, keep = order[i - 1];

		world.random = world.random * 6364136223846793005ull + 1442695040888963407ull;
		other = (world.random >> 33) % i;
		order[i - 1] = order[other];
		order[other] = keep;
	}
}

/* Runs every thread up to its next barrier, or its end. Returns how many ended. */
static unsigned run_phase(const unsigned *order, unsigned threads)
{
	unsigned done = 0;

	for (unsigned i = 0; i < threads; i++) {
		threadIdx.x = order[i] - 1;
		go(order[i]);
		done += world.fibers[order[i]].state == FIBER_DONE;
	}
	return done;
}

static bool run_block(const struct block_grid *grid)
{
	unsigned order[THREADS_MAX], done;

	start_block(grid->threads);
	do {
		sort_threads(order, grid->threads, grid->order);
		done = run_phase(order, grid->threads);
	} while (done == 0);
	return done == grid->threads;
}

bool block_run(const struct block_grid *grid, void (*kernel)(void *arguments), void *arguments)
{
	bool whole = grid->threads <= THREADS_MAX;

	world.kernel = kernel;
	world.arguments = arguments;
	world.running = 0;
	for (unsigned y = 0; whole && y < grid->y; y++) {
		for (unsigned x = 0; whole && x < grid->x; x++) {
			blockIdx = (struct block_index){x, y, 0};
			whole = run_block(grid);
		}
	}
	return whole;
}
