/* SPDX-License-Identifier: MIT */
#include "file/guard.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <string.h>
#include <stddef.h>

/* The program's only mutable global: a signal handler has no other way to find its thread's state. */
static _Thread_local sigjmp_buf *volatile guard;

static void on_sigbus(int sig)
{
	if (guard)
		siglongjmp(*guard, 1);
	signal(sig, SIG_DFL);
	raise(sig);
}

void source_guard_install(void)
{
	/* SA_NODEFER: the handler is left by a jump that does not restore the mask, so the mask must not change. */
	struct sigaction action = {.sa_handler = on_sigbus, .sa_flags = SA_NODEFER};
	sigset_t mask;

	sigaction(SIGBUS, &action, NULL);
	/* A blocked SIGBUS is inherited, and the kernel would then kill instead of calling the handler. */
	sigemptyset(&mask);
	sigaddset(&mask, SIGBUS);
	pthread_sigmask(SIG_UNBLOCK, &mask, NULL);
}

int source_guard(void (*fn)(void *ctx), void *ctx)
{
	sigjmp_buf here;
	int fault = sigsetjmp(here, 0);

	if (!fault) {
		guard = &here;
		fn(ctx);
	}
	guard = NULL;
	return fault ? -EIO : 0;
}

struct comparison {
	const void *a, *b;
	size_t bytes;
	bool same;
};

static void compare_bytes(void *ctx)
{
	struct comparison *x = ctx;

	x->same = memcmp(x->a, x->b, x->bytes) == 0;
}

bool source_same_bytes(const void *a, const void *b, size_t bytes)
{
	struct comparison x = {a, b, bytes, false};

	return source_guard(compare_bytes, &x) == 0 && x.same;
}
