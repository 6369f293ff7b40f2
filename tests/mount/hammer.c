/* SPDX-License-Identifier: MIT */

/*
 * Reads one file in many ways at once and compares every byte with a copy that was read before:
 *
 *     hammer [-s SEED] [-n ROUNDS] [-x] FILE COPY
 *
 * Four processes and eight threads start together. Each reads in one way: pread, O_DIRECT, a private or a shared
 * mapping (-x: no shared ones, which direct_io does not support). Half of them first read the file sequentially; all
 * then read ROUNDS pieces of up to 1 MiB anywhere. A failure prints the seed.
 */

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define PROCESSES 4
#define THREADS 8
#define PIECE ((size_t)1 << 20)

enum how { BY_PREAD, BY_PRIVATE, BY_SHARED, BY_DIRECT, HOWS };

static const char *const how_names[HOWS] = {"pread", "private mapping", "shared mapping", "O_DIRECT"};

static const char *file;
static const unsigned char *copy;
static size_t size;
static uint64_t seed = 1;
static long rounds = 200;
static int gate; /* end of file when all may start */

struct worker {
	int number;
	enum how how;
	int fd;
	unsigned char *map; /* mappings: the file */
	unsigned char *buffer;
	uint64_t random;
};

/* splitmix64 */
static uint64_t next_random(struct worker *w)
{
	uint64_t z = w->random += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

static int complain(const struct worker *w, const char *what, size_t offset)
{
	fprintf(stderr, "hammer: seed %llu, worker %d by %s: %s at offset %zu\n", (unsigned long long)seed, w->number,
	    how_names[w->how], what, offset);
	return -1;
}

static int open_file(struct worker *w)
{
	const int share = w->how == BY_SHARED ? MAP_SHARED : MAP_PRIVATE;

	w->fd = open(file, O_RDONLY | (w->how == BY_DIRECT ? O_DIRECT : 0));
	if (w->fd < 0)
		return complain(w, strerror(errno), 0);
	if (w->how == BY_PREAD || w->how == BY_DIRECT)
		return posix_memalign((void **)&w->buffer, 4096, PIECE) ? complain(w, "no memory", 0) : 0;
	w->map = mmap(NULL, size, PROT_READ, share, w->fd, 0);
	if (w->map == MAP_FAILED)
		return complain(w, strerror(errno), 0);
	/* Mappings advised of random access read single pages, the others use readahead. */
	return w->number & 4 ? madvise(w->map, size, MADV_RANDOM) : 0;
}

static void close_file(struct worker *w)
{
	if (w->map && w->map != MAP_FAILED)
		munmap(w->map, size);
	if (w->fd >= 0)
		close(w->fd);
	free(w->buffer);
}

static int check(struct worker *w, size_t offset, size_t len)
{
	const unsigned char *bytes = w->map ? w->map + offset : w->buffer;
	size_t at = 0;

	if (w->buffer) {
		ssize_t n = pread(w->fd, w->buffer, len, (off_t)offset);

		if (n != (ssize_t)len)
			return complain(w, n < 0 ? strerror(errno) : "short read", offset);
	}
	if (memcmp(bytes, copy + offset, len) == 0)
		return 0;
	while (bytes[at] == copy[offset + at])
		at++;
	return complain(w, "wrong byte", offset + at);
}

static int walk(struct worker *w)
{
	int rc = 0;

	for (size_t at = 0; rc == 0 && at < size; at += PIECE)
		rc = check(w, at, size - at < PIECE ? size - at : PIECE);
	return rc;
}

static int read_anywhere(struct worker *w)
{
	size_t offset = next_random(w) % size;
	size_t len = 1 + (next_random(w) & (PIECE - 1)) / ((size_t)1 << next_random(w) % 16);

	if (w->how == BY_DIRECT)
		offset &= ~(size_t)511;
	return check(w, offset, len < size - offset ? len : size - offset);
}

static int work(struct worker *w)
{
	char byte;
	int rc = open_file(w);

	while (read(gate, &byte, 1) < 0 && errno == EINTR)
		;
	if (rc == 0 && w->number % 2 == 0)
		rc = walk(w);
	for (long i = 0; rc == 0 && i < rounds; i++)
		rc = read_anywhere(w);
	close_file(w);
	return rc;
}

static void *run_thread(void *arg)
{
	return work(arg) ? arg : NULL;
}

/* The number of a worker decides how to read, where to start, and whether to read sequentially first. */
static struct worker make_worker(int number, int hows)
{
	static const enum how order[HOWS] = {BY_PREAD, BY_PRIVATE, BY_DIRECT, BY_SHARED};

	return (struct worker){.number = number,
	    .how = order[(number / 2 + number % 2) % hows],
	    .fd = -1,
	    .random = seed * 1000003 + (uint64_t)number};
}

static int run_all(int hows)
{
	struct worker workers[PROCESSES + THREADS];
	pthread_t threads[THREADS];
	pid_t children[PROCESSES];
	int ends[2], failed = 0;

	if (pipe(ends) < 0)
		return 1;
	gate = ends[0];
	for (int i = 0; i < PROCESSES + THREADS; i++)
		workers[i] = make_worker(i, hows);
	for (int i = 0; i < PROCESSES; i++) {
		children[i] = fork();
		if (children[i] < 0)
			return 1;
		if (children[i] == 0) {
			close(ends[1]);
			_exit(work(&workers[i]) ? 1 : 0);
		}
	}
	for (int i = 0; i < THREADS; i++)
		if (pthread_create(&threads[i], NULL, run_thread, &workers[PROCESSES + i]))
			return 1;
	close(ends[1]);
	for (int i = 0; i < THREADS; i++) {
		void *result;

		pthread_join(threads[i], &result);
		failed += result != NULL;
	}
	for (int i = 0; i < PROCESSES; i++) {
		int status;

		if (waitpid(children[i], &status, 0) < 0 || status) {
			fprintf(stderr, "hammer: seed %llu: process %d failed\n", (unsigned long long)seed, i);
			failed++;
		}
	}
	return failed != 0;
}

static int map_copy(const char *path)
{
	struct stat st;
	int fd = open(path, O_RDONLY);
	void *map;

	if (fd < 0 || fstat(fd, &st) < 0 || !st.st_size)
		return -1;
	size = (size_t)st.st_size;
	map = mmap(NULL, size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, fd, 0);
	close(fd);
	copy = map;
	return map == MAP_FAILED ? -1 : 0;
}

int main(int argc, char **argv)
{
	int option, hows = HOWS;

	while ((option = getopt(argc, argv, "s:n:x")) != -1) {
		if (option == 's')
			seed = strtoull(optarg, NULL, 0);
		else if (option == 'n')
			rounds = strtol(optarg, NULL, 0);
		else if (option == 'x')
			hows = HOWS - 1;
		else
			return 2;
	}
	if (argc - optind != 2) {
		fprintf(stderr, "usage: hammer [-s SEED] [-n ROUNDS] [-x] FILE COPY\n");
		return 2;
	}
	file = argv[optind];
	if (map_copy(argv[optind + 1])) {
		fprintf(stderr, "hammer: %s: %s\n", argv[optind + 1], strerror(errno));
		return 2;
	}
	printf("hammer: seed %llu\n", (unsigned long long)seed);
	fflush(stdout);
	return run_all(hows);
}
