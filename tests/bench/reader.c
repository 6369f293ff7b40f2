/* SPDX-License-Identifier: MIT */

/*
 * Reads files as programs do, and prints one line of numbers, for scripts:
 *
 *     SECONDS BYTES SERVER_CPU OWN_CPU PEAK_KIB MEDIAN_US P99_US
 *
 * Numbers that do not apply are zero. SERVER_CPU is the CPU time of process -p PID (user + system), and PEAK_KIB its
 * largest private memory, sampled every -s MS.
 */

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define WORKERS_MAX 256
#define PAGE 4096u

static const char usage[] =
    "usage: reader [options] FILE...      several files are read at the same time, each by threads of its own\n"
    "    -m seq       read from front to back (the default)\n"
    "       direct    the same with O_DIRECT\n"
    "       mmap      map the file and touch every line from front to back\n"
    "       random    -n preads of 4 KiB at random places, each timed\n"
    "       touch     -n touches of a mapping at random places, each timed\n"
    "       resident  how many bytes are in the page cache (BYTES)\n"
    "       memory    private memory of -p PID now, exactly (PEAK_KIB); with -s its peak until SIGTERM; no FILE\n"
    "    -b BYTES     block size (1 MiB)          -t N    threads, each with a part of the file (1)\n"
    "    -l BYTES     read only so much of each   -o BYTES  and begin there\n"
    "    -n N         how many random places (2000); -r SEED\n"
    "    -d           drop the files from the page cache first; -D drop everybody's (root)\n"
    "    -w           read everything once before, untimed\n"
    "    -p PID       the server                  -s MS   sample its memory; -x exactly (from smaps, slow)\n";

enum mode { SEQ, DIRECT, MMAP, RANDOM, TOUCH, RESIDENT, MEMORY };

struct options {
	enum mode mode;
	size_t block;
	unsigned threads, count, sample_ms;
	uint64_t limit, start, seed;
	bool drop, drop_all, again, exact;
	pid_t pid;
};

/* One thread's share of one file. */
struct worker {
	const struct options *o;
	const char *path;
	int fd;
	unsigned char *map;
	uint64_t begin, end;
	uint64_t done;       /* bytes */
	uint64_t *latencies; /* [count] ns */
	uint64_t random;
	uint64_t began, ended;
	pthread_t thread;
	pthread_barrier_t *barrier;
};

static struct worker workers[WORKERS_MAX];
static unsigned worker_count;

/* Sink for the data, so that reading cannot be optimized away. */
static atomic_ulong sink;

static void die(const char *what)
{
	fprintf(stderr, "reader: %s: %s\n", what, strerror(errno));
	exit(1);
}

static uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static double cpu_of(clockid_t clock)
{
	struct timespec t;

	return clock_gettime(clock, &t) < 0 ? 0 : (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static uint64_t next_random(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15u;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

/* ---- ways of reading ---- */

static void read_blocks(struct worker *w)
{
	void *block;

	if (posix_memalign(&block, PAGE, w->o->block))
		die("memory");
	for (uint64_t at = w->begin; at < w->end;) {
		size_t len = w->end - at < w->o->block && w->o->mode != DIRECT ? (size_t)(w->end - at) : w->o->block;
		ssize_t n = pread(w->fd, block, len, (off_t)at);

		if (n < 0)
			die(w->path);
		if (n == 0)
			break;
		at += (uint64_t)n;
		w->done += (uint64_t)n;
	}
	atomic_fetch_add(&sink, *(unsigned char *)block);
	free(block);
}

static void touch_all(struct worker *w)
{
	uint64_t sum = 0;

	for (uint64_t at = w->begin; at < w->end; at += 64)
		sum += *(volatile unsigned char *)(w->map + at);
	w->done += w->end - w->begin;
	atomic_fetch_add(&sink, sum);
}

static uint64_t random_page(struct worker *w)
{
	uint64_t pages = (w->end - w->begin) / PAGE;

	return w->begin + (pages ? next_random(&w->random) % pages : 0) * PAGE;
}

static void read_random(struct worker *w)
{
	unsigned char page[PAGE];

	for (unsigned i = 0; i < w->o->count; i++) {
		uint64_t at = random_page(w), begin = now();

		if (pread(w->fd, page, PAGE, (off_t)at) < 0)
			die(w->path);
		w->latencies[i] = now() - begin;
		w->done += PAGE;
	}
}

static void touch_random(struct worker *w)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < w->o->count; i++) {
		uint64_t at = random_page(w), begin = now();

		sum += *(volatile unsigned char *)(w->map + at);
		w->latencies[i] = now() - begin;
		w->done += PAGE;
	}
	atomic_fetch_add(&sink, sum);
}

static void work(struct worker *w)
{
	switch (w->o->mode) {
	case MMAP:
		touch_all(w);
		break;
	case RANDOM:
		read_random(w);
		break;
	case TOUCH:
		touch_random(w);
		break;
	default:
		read_blocks(w);
	}
}

static void *run_worker(void *arg)
{
	struct worker *w = arg;

	if (w->o->again) {
		work(w);
		w->done = 0;
	}
	pthread_barrier_wait(w->barrier); /* all are ready; the counters are read */
	pthread_barrier_wait(w->barrier); /* go */
	w->began = now();
	work(w);
	w->ended = now();
	return NULL;
}

/* ---- memory of the server ---- */

struct sampler {
	const struct options *o;
	pthread_t thread;
	atomic_bool stop;
	uint64_t peak; /* KiB */
	int statm;
};

/*
 * Private_Clean and Private_Dirty of all mappings except files mapped shared: those pages belong to the page cache, and
 * count as private only because no other process maps them.
 */
static uint64_t exact_private(pid_t pid)
{
	char path[64], line[4096], shared;
	bool skip = false;
	uint64_t sum = 0, inode, kib;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/smaps", (int)pid);
	f = fopen(path, "re");
	if (!f)
		return 0;
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%*x-%*x %*3c%c %*x %*x:%*x %lu", &shared, &inode) == 2)
			skip = shared == 's' && inode != 0;
		else if (!skip && (sscanf(line, "Private_Clean: %lu kB", &kib) == 1 ||
				      sscanf(line, "Private_Dirty: %lu kB", &kib) == 1))
			sum += kib;
	}
	fclose(f);
	return sum;
}

/* Resident anonymous memory: about the same, but cheap enough to sample during timing. */
static uint64_t cheap_private(const struct sampler *s)
{
	char text[256];
	uint64_t resident, shared;
	ssize_t n = pread(s->statm, text, sizeof(text) - 1, 0);

	if (n <= 0)
		return 0;
	text[n] = 0;
	if (sscanf(text, "%*u %lu %lu", &resident, &shared) != 2)
		return 0;
	return (resident - shared) * (uint64_t)sysconf(_SC_PAGESIZE) / 1024;
}

static void sample(struct sampler *s)
{
	uint64_t kib = s->o->exact ? exact_private(s->o->pid) : cheap_private(s);

	if (kib > s->peak)
		s->peak = kib;
}

static void *run_sampler(void *arg)
{
	struct sampler *s = arg;
	const struct timespec pause = {s->o->sample_ms / 1000, s->o->sample_ms % 1000 * 1000000L};

	while (!atomic_load(&s->stop)) {
		sample(s);
		nanosleep(&pause, NULL);
	}
	sample(s);
	return NULL;
}

static void sampler_start(struct sampler *s)
{
	char path[64];

	if (!s->o->pid || !s->o->sample_ms)
		return;
	snprintf(path, sizeof(path), "/proc/%d/statm", (int)s->o->pid);
	s->statm = open(path, O_RDONLY | O_CLOEXEC);
	if (s->statm < 0 || pthread_create(&s->thread, NULL, run_sampler, s))
		die(path);
}

static void sampler_stop(struct sampler *s)
{
	if (!s->o->pid || !s->o->sample_ms)
		return;
	atomic_store(&s->stop, true);
	pthread_join(s->thread, NULL);
	close(s->statm);
}

/* ---- setting up ---- */

static void drop_everything(void)
{
	int fd = open("/proc/sys/vm/drop_caches", O_WRONLY | O_CLOEXEC);

	sync();
	if (fd < 0 || write(fd, "1", 1) != 1)
		die("/proc/sys/vm/drop_caches");
	close(fd);
}

static uint64_t open_part(struct worker *w)
{
	struct stat st;

	w->fd = open(w->path, O_RDONLY | O_CLOEXEC | (w->o->mode == DIRECT ? O_DIRECT : 0));
	if (w->fd < 0 || fstat(w->fd, &st) < 0)
		die(w->path);
	if (w->o->drop)
		posix_fadvise(w->fd, 0, 0, POSIX_FADV_DONTNEED);
	if (w->o->mode == MMAP || w->o->mode == TOUCH || w->o->mode == RESIDENT) {
		w->map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, w->fd, 0);
		if (w->map == MAP_FAILED)
			die(w->path);
	}
	if (w->o->mode == RANDOM || w->o->mode == TOUCH) {
		w->latencies = calloc(w->o->count, sizeof(*w->latencies));
		if (!w->latencies)
			die("memory");
	}
	return (uint64_t)st.st_size;
}

/* Workers for one file: part k of n, cut at page boundaries. */
static void add_file(const struct options *o, const char *path)
{
	for (unsigned k = 0; k < o->threads; k++) {
		struct worker *w = &workers[worker_count++];
		uint64_t size, begin, end;

		w->o = o;
		w->path = path;
		w->random = o->seed * 1000003 + worker_count;
		size = open_part(w);
		begin = o->start < size ? o->start : size;
		end = o->limit && o->limit < size - begin ? begin + o->limit : size;
		w->begin = begin + (end - begin) / o->threads * k / PAGE * PAGE;
		w->end = k + 1 == o->threads ? end : begin + (end - begin) / o->threads * (k + 1) / PAGE * PAGE;
	}
}

static uint64_t resident(const struct worker *w)
{
	size_t pages = (size_t)((w->end + PAGE - 1) / PAGE);
	unsigned char *in = malloc(pages + 1);
	uint64_t sum = 0;

	if (!in || (pages && mincore(w->map, (size_t)w->end, in) < 0))
		die(w->path);
	for (size_t i = 0; i < pages; i++)
		sum += in[i] & 1 ? PAGE : 0;
	free(in);
	return sum;
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static void print_result(const struct options *o, double seconds, double server, double own, uint64_t peak)
{
	uint64_t bytes = 0, *all = NULL, n = 0;

	if (o->mode == RANDOM || o->mode == TOUCH)
		all = calloc((size_t)worker_count * o->count, sizeof(*all));
	for (unsigned i = 0; i < worker_count; i++) {
		bytes += workers[i].done;
		for (unsigned k = 0; all && k < o->count; k++)
			all[n++] = workers[i].latencies[k];
	}
	if (n)
		qsort(all, n, sizeof(*all), compare);
	printf("%.6f %llu %.6f %.6f %llu %.2f %.2f\n", seconds, (unsigned long long)bytes, server, own,
	    (unsigned long long)peak, n ? (double)all[n / 2] / 1e3 : 0, n ? (double)all[n * 99 / 100] / 1e3 : 0);
	free(all);
}

static double elapsed(void)
{
	uint64_t began = workers[0].began, ended = workers[0].ended;

	for (unsigned i = 1; i < worker_count; i++) {
		began = workers[i].began < began ? workers[i].began : began;
		ended = workers[i].ended > ended ? workers[i].ended : ended;
	}
	return (double)(ended - began) * 1e-9;
}

static void measure(const struct options *o)
{
	struct sampler sampler = {.o = o};
	pthread_barrier_t barrier;
	double server, own;
	clockid_t clock;
	bool has_clock = o->pid && clock_getcpuclockid(o->pid, &clock) == 0;

	pthread_barrier_init(&barrier, NULL, worker_count + 1);
	for (unsigned i = 0; i < worker_count; i++) {
		workers[i].barrier = &barrier;
		if (pthread_create(&workers[i].thread, NULL, run_worker, &workers[i]))
			die("thread");
	}
	pthread_barrier_wait(&barrier);
	sampler_start(&sampler);
	server = has_clock ? cpu_of(clock) : 0;
	own = cpu_of(CLOCK_PROCESS_CPUTIME_ID);
	pthread_barrier_wait(&barrier);
	for (unsigned i = 0; i < worker_count; i++)
		pthread_join(workers[i].thread, NULL);
	server = has_clock ? cpu_of(clock) - server : 0;
	own = cpu_of(CLOCK_PROCESS_CPUTIME_ID) - own;
	sampler_stop(&sampler);
	print_result(o, elapsed(), server, own, sampler.peak);
}

static void watch_memory(const struct options *o)
{
	struct sampler sampler = {.o = o};
	sigset_t set;
	int sig;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	if (o->sample_ms) {
		sampler_start(&sampler);
		sigwait(&set, &sig);
		sampler_stop(&sampler);
	}
	print_result(o, 0, 0, 0, o->sample_ms ? sampler.peak : exact_private(o->pid));
}

static int parse_mode(const char *name)
{
	static const char *const names[] = {"seq", "direct", "mmap", "random", "touch", "resident", "memory"};

	for (int i = 0; i < (int)(sizeof(names) / sizeof(*names)); i++)
		if (strcmp(names[i], name) == 0)
			return i;
	return -1;
}

static int parse(struct options *o, int argc, char **argv)
{
	int c, mode;

	while ((c = getopt(argc, argv, "m:b:t:l:o:n:r:dDwp:s:x")) != -1) {
		unsigned long long n = optarg ? strtoull(optarg, NULL, 10) : 0;

		switch (c) {
		case 'm':
			mode = parse_mode(optarg);
			if (mode < 0)
				return -EINVAL;
			o->mode = (enum mode)mode;
			break;
		case 'b':
			o->block = (size_t)n;
			break;
		case 't':
			o->threads = (unsigned)n;
			break;
		case 'l':
			o->limit = n;
			break;
		case 'o':
			o->start = n;
			break;
		case 'n':
			o->count = (unsigned)n;
			break;
		case 'r':
			o->seed = n;
			break;
		case 'd':
			o->drop = true;
			break;
		case 'D':
			o->drop_all = true;
			break;
		case 'w':
			o->again = true;
			break;
		case 'p':
			o->pid = (pid_t)n;
			break;
		case 's':
			o->sample_ms = (unsigned)n;
			break;
		case 'x':
			o->exact = true;
			break;
		default:
			return -EINVAL;
		}
	}
	if (!o->block || !o->threads || !o->count || (o->mode == DIRECT && o->block % PAGE))
		return -EINVAL;
	if (o->mode == MEMORY)
		return o->pid && optind == argc ? 0 : -EINVAL;
	return optind < argc && (uint64_t)(argc - optind) * o->threads <= WORKERS_MAX ? 0 : -EINVAL;
}

int main(int argc, char **argv)
{
	struct options o = {.block = 1 << 20, .threads = 1, .count = 2000, .seed = 1};

	if (parse(&o, argc, argv)) {
		fputs(usage, stderr);
		return 2;
	}
	if (o.mode == MEMORY) {
		watch_memory(&o);
		return 0;
	}
	for (int i = optind; i < argc; i++)
		add_file(&o, argv[i]);
	if (o.drop_all)
		drop_everything();
	if (o.mode == RESIDENT) {
		for (unsigned i = 0; i < worker_count; i++)
			workers[i].done = resident(&workers[i]);
		print_result(&o, 0, 0, 0, 0);
		return 0;
	}
	measure(&o);
	return 0;
}
