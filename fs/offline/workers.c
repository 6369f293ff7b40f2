/* SPDX-License-Identifier: MIT */
#include "offline/workers.h"

#include <pthread.h>
#include <sched.h>

/* Each computes into buffers of 2 MiB, some of which are filled ahead: this is below 64 MB in all. */
#define DEFAULT_MAX 12

unsigned workers_count(unsigned wanted)
{
	cpu_set_t cpus;
	unsigned count = wanted;

	if (!count)
		count = sched_getaffinity(0, sizeof(cpus), &cpus) == 0 ? (unsigned)CPU_COUNT(&cpus) : 1;
	if (!wanted && count > DEFAULT_MAX)
		count = DEFAULT_MAX;
	return count > WORKERS_MAX ? WORKERS_MAX : count;
}

void workers_run(unsigned count, void *(*work)(void *), void *arg)
{
	pthread_t threads[WORKERS_MAX];
	unsigned started = 0;

	while (started + 1 < count && pthread_create(&threads[started], NULL, work, arg) == 0)
		started++;
	work(arg);
	while (started)
		pthread_join(threads[--started], NULL);
}
