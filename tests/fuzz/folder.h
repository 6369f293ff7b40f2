/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_FUZZ_FOLDER_H
#define GPTQFS_FUZZ_FOLDER_H

/* A folder in memory for targets that open directories. */

#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "fuzz.h"

/* Makes the folder, and the process fast: no threads for reports, no huge pages to be cleared for a few bytes. */
static inline void make_folder(char path[64])
{
	cpu_set_t one;

	CPU_ZERO(&one);
	CPU_SET(sched_getcpu(), &one);
	sched_setaffinity(0, sizeof(one), &one);
	prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
	strcpy(path, access("/dev/shm", W_OK) == 0 ? "/dev/shm/gptqfs-fuzz-XXXXXX" : "/tmp/gptqfs-fuzz-XXXXXX");
	FUZZ_CHECK(mkdtemp(path) != NULL);
}

#endif
