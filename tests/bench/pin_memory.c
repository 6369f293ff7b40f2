/* SPDX-License-Identifier: MIT */

/*
 * Makes the cost of free memory uniform. The host of a virtual machine may allocate memory only on first touch, and
 * reclaim it when free (free page reporting): faulting in such a page takes ten times as long as sending it through
 * FUSE, and runs of one program differ by a factor of three. Free memory is reported in pieces of 2 MiB or more. So
 * this touches all of it once, and keeps one page in each 2 MiB.
 *
 *     pin_memory       prints a line when done, and keeps the pages until killed
 */

#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/sysinfo.h>
#include <sys/uio.h>
#include <unistd.h>

#define PAGE ((size_t)4096)
#define PIECE ((size_t)2 << 20)
#define SPARED ((size_t)384 << 20) /* left free, so that nothing is evicted */
#define PIPE_PAGES 256             /* capacity of a pipe for any user */

static size_t free_bytes(void)
{
	struct sysinfo info;

	return sysinfo(&info) < 0 ? 0 : (size_t)info.freeram * info.mem_unit;
}

/* A page in a pipe is pinned: it is not moved to make larger free pieces. */
static bool keep(unsigned char *page, int *pipe_end, unsigned *room)
{
	struct iovec iov = {page, PAGE};
	int fd[2];

	if (!*room) {
		if (pipe(fd) < 0 || fcntl(fd[1], F_SETPIPE_SZ, PIPE_PAGES * PAGE) < 0)
			return false;
		*pipe_end = fd[1];
		*room = PIPE_PAGES;
	}
	--*room;
	return vmsplice(*pipe_end, &iov, 1, SPLICE_F_NONBLOCK) == (ssize_t)PAGE;
}

int main(void)
{
	const size_t left = free_bytes(), bytes = left > SPARED ? (left - SPARED) / PIECE * PIECE : 0;
	unsigned char *at = mmap(NULL, bytes + PIECE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	unsigned room = 0;
	int pipe_end = -1;

	if (at == MAP_FAILED) {
		perror("pin_memory");
		return 1;
	}
	at += -(uintptr_t)at & (PIECE - 1);
	madvise(at, bytes, MADV_NOHUGEPAGE);
	for (size_t i = 0; i < bytes; i += PAGE)
		at[i] = 1;
	for (size_t i = 0; i < bytes; i += PIECE) {
		if (!keep(at + i, &pipe_end, &room)) {
			perror("pin_memory: pipe");
			return 1;
		}
	}
	for (size_t i = 0; i < bytes; i += PIECE)
		madvise(at + i + PAGE, PIECE - PAGE, MADV_DONTNEED);
	printf("%zu MiB\n", bytes >> 20);
	fclose(stdout);
	for (;;)
		pause();
}
