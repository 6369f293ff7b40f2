/* SPDX-License-Identifier: MIT */
#include "base/crew.h"

#include <pthread.h>
#include <sched.h>

#define CREW_MAX 64

void crew_run(void *(*work)(void *ctx), void *ctx)
{
	pthread_t threads[CREW_MAX];
	cpu_set_t cpus;
	int wanted = sched_getaffinity(0, sizeof(cpus), &cpus) == 0 ? CPU_COUNT(&cpus) : 1, started = 0;

	if (wanted > CREW_MAX)
		wanted = CREW_MAX;
	while (started < wanted - 1 && pthread_create(&threads[started], NULL, work, ctx) == 0)
		started++;
	work(ctx);
	while (started)
		pthread_join(threads[--started], NULL);
}
