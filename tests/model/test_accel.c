/* SPDX-License-Identifier: MIT */

/*
 * Tests the choice of accelerators, and that readers never notice them: reads a model with each of the fake plugins, in
 * several threads, and all bytes must be those of the CPU.
 *
 *     test_accel DIRECTORY_OF_FAKES CUDA_PLUGIN MODEL_DIR
 *
 * The CUDA plugin runs on the libcuda.so.1 of tests/cuda, which must be in LD_LIBRARY_PATH.
 */

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "gptqfs.h"
#include "../test.h"

enum { FILES_MAX = 64, THREADS = 3 };

struct image {
	uint64_t ino;
	size_t size;
	unsigned char *bytes;
};

static struct image images[FILES_MAX];
static size_t image_count;

/* The expected result for a plugin. */
struct expectation {
	const char *choice; /* or a fake's name */
	const char *plugin; /* fake behind auto and cuda */
	enum gptqfs_accel_state state;
	const char *says;   /* part of the text, and of the only log line */
	const char *driver; /* FAKE_CUDA of the CUDA plugin */
	size_t memory;      /* accel_memory in KiB, or 0 for enough */
};

/* The program's arguments. */
struct places {
	const char *fakes, *cuda, *model;
	char flag[64]; /* a file: once it exists, fakes that fail late fail */
};

struct log_seen {
	unsigned lines;
	char last[2048];
};

static void log_line(void *ctx, const char *line)
{
	struct log_seen *seen = ctx;

	seen->lines++;
	snprintf(seen->last, sizeof(seen->last), "%s", line);
}

/* ---- reading ---- */

static size_t copy_out(const struct gptqfs_reply *reply, unsigned char *to)
{
	size_t n = 0;

	for (int i = 0; i < reply->count; i++) {
		memcpy(to + n, reply->iov[i].iov_base, reply->iov[i].iov_len);
		n += reply->iov[i].iov_len;
	}
	return n;
}

static bool read_at(struct gptqfs *m, const struct image *image, size_t at, size_t size, unsigned char *to)
{
	struct gptqfs_reply reply;
	size_t n;

	if (gptqfs_read(m, image->ino, at, size, &reply))
		return false;
	n = copy_out(&reply, to);
	gptqfs_read_done(m, &reply);
	return n == size;
}

static bool same_file(struct gptqfs *m, const struct image *image, unsigned char *buffer)
{
	for (size_t at = 0; at < image->size; at += GPTQFS_READ_MAX) {
		const size_t left = image->size - at, size = left < GPTQFS_READ_MAX ? left : GPTQFS_READ_MAX;

		if (!read_at(m, image, at, size, buffer) || memcmp(buffer, image->bytes + at, size) != 0)
			return false;
	}
	return true;
}

struct reader {
	struct gptqfs *m;
	atomic_uint wrong;
};

static void *read_all(void *arg)
{
	struct reader *r = arg;
	unsigned char *buffer = malloc(GPTQFS_READ_MAX);

	for (size_t i = 0; i < image_count; i++)
		r->wrong += !same_file(r->m, &images[i], buffer);
	free(buffer);
	return NULL;
}

static unsigned read_by_threads(struct gptqfs *m)
{
	struct reader r = {.m = m};
	pthread_t threads[THREADS];

	for (int i = 0; i < THREADS; i++)
		pthread_create(&threads[i], NULL, read_all, &r);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	return r.wrong;
}

/* The weights of two views, as the plain C kernels decode them. */
static void collect(struct gptqfs *m, uint64_t dir)
{
	struct gptqfs_dirent entry;
	struct stat st;

	for (uint64_t i = 2; gptqfs_readdir(m, dir, i, &entry) == 0; i++) {
		CHECK(gptqfs_getattr(m, entry.ino, &st) == 0);
		if (S_ISDIR(st.st_mode)) {
			if (strcmp(entry.name, "fp16") == 0 || strcmp(entry.name, "fp32") == 0)
				collect(m, entry.ino);
		} else if (image_count < FILES_MAX && strstr(entry.name, ".safetensors")) {
			struct image *image = &images[image_count++];

			*image = (struct image){entry.ino, (size_t)st.st_size, malloc((size_t)st.st_size + 1)};
			for (size_t at = 0; at < image->size; at += GPTQFS_READ_MAX) {
				const size_t left = image->size - at;

				CHECK(read_at(m, image, at, left < GPTQFS_READ_MAX ? left : GPTQFS_READ_MAX,
				    image->bytes + at));
			}
		}
	}
}

/* ---- opening ---- */

static struct gptqfs *open_model(const char *dir, const char *accel, const char *plugin, size_t memory,
    struct log_seen *seen)
{
	/* The good fake is faster than plain C, and the slow one slower than anything. */
	const bool is_slow = (accel && strstr(accel, "slow")) || (plugin && strstr(plugin, "slow"));
	struct gptqfs_options options = {.cpu = is_slow ? NULL : "c",
	    .uid = -1,
	    .gid = -1,
	    .accel = accel,
	    .accel_plugin = plugin,
	    .accel_memory = memory ? memory : (size_t)64 << 20,
	    .log = log_line,
	    .log_ctx = seen};
	struct gptqfs_error err;
	struct gptqfs *m;

	if (!CHECK(gptqfs_open(dir, &options, &m, &err) == 0))
		printf("  %s\n", err.text);
	return m;
}

/* The absolute path of a fake. */
static const char *fake(const char *dir, const char *name, char *out, size_t size)
{
	char *real = realpath(dir, NULL);

	snprintf(out, size, "%s/%s.so", real, name);
	free(real);
	return out;
}

static void check_told(struct gptqfs *m, const struct expectation *e, const struct log_seen *seen)
{
	struct gptqfs_accel told;

	gptqfs_accel(m, &told);
	if (!CHECK(told.state == e->state && strstr(told.text, e->says) && strstr(seen->last, e->says)))
		printf("  %s %s: %s: %s; log: %s\n", e->choice, e->plugin ? e->plugin : "",
		    gptqfs_accel_state_name(told.state), told.text, seen->last);
	CHECK(!strchr(told.text, '\n') && !strchr(seen->last, '\n'));
	CHECK(seen->lines == 1 + (e->state == GPTQFS_ACCEL_FAILED));
	if (e->state == GPTQFS_ACCEL_USED || e->state == GPTQFS_ACCEL_SLOWER || e->state == GPTQFS_ACCEL_FAILED)
		for (int i = 0; i < GPTQFS_ACCEL_SPEEDS; i++)
			CHECK(told.speeds[i].accel > 0 && told.speeds[i].cpu > 0 && told.speeds[i].bytes);
	/* auto leaves small pieces to the CPU, and all pieces of a tiny model may be small. */
	CHECK((told.bytes > 0) == (e->state == GPTQFS_ACCEL_USED || e->state == GPTQFS_ACCEL_FAILED) ||
	      (e->state == GPTQFS_ACCEL_USED && told.smallest));
}

static void fail_late(const struct places *p, struct gptqfs *m)
{
	struct gptqfs_accel told;
	FILE *flag;

	gptqfs_accel(m, &told);
	CHECK(told.state == GPTQFS_ACCEL_USED && told.bytes);
	flag = fopen(p->flag, "w");
	CHECK(flag && read_by_threads(m) == 0);
	fclose(flag);
	unlink(p->flag);
	CHECK(read_by_threads(m) == 0);
}

static void test_plugin(const struct places *p, const struct expectation *e)
{
	const bool is_fake = strcmp(e->choice, "auto") && strcmp(e->choice, "cuda");
	struct log_seen seen = {0};
	char choice[4096], plugin[4096];
	struct gptqfs_accel told;
	struct gptqfs *m;

	setenv("FAKE_CUDA", e->driver ? e->driver : "", 1);
	m = open_model(p->model, is_fake ? fake(p->fakes, e->choice, choice, sizeof(choice)) : e->choice,
	    e->plugin ? fake(p->fakes, e->plugin, plugin, sizeof(plugin)) : p->cuda, e->memory << 10, &seen);
	gptqfs_accel(m, &told);
	CHECK(told.state == GPTQFS_ACCEL_WAITING && read_by_threads(m) == 0 && seen.lines == 0);
	gptqfs_accel_start(m);
	CHECK(read_by_threads(m) == 0);
	if (e->state == GPTQFS_ACCEL_FAILED)
		fail_late(p, m);
	check_told(m, e, &seen);
	gptqfs_close(m);
}

static void test_options(const char *model)
{
	static const char *const wrong[] = {"gpu", "", "plugin.so", "./plugin.so"};
	struct gptqfs_error err;
	struct gptqfs_accel told;
	struct log_seen seen = {0};
	struct gptqfs *m;

	for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
		struct gptqfs_options options = {.accel = wrong[i]};

		CHECK(gptqfs_open(model, &options, &m, &err) == -EINVAL && strstr(err.text, "accel="));
	}
	CHECK(gptqfs_open(model, &(struct gptqfs_options){.accel = "cuda", .accel_plugin = "relative.so"}, &m, &err) ==
	      -EINVAL);
	m = open_model(model, "none", NULL, 0, &seen);
	gptqfs_accel_start(m);
	gptqfs_accel(m, &told);
	CHECK(told.state == GPTQFS_ACCEL_NONE && seen.lines == 0 && strcmp(told.choice, "none") == 0);
	gptqfs_close(m);
}

int main(int argc, char **argv)
{
	static const struct expectation expectations[] = {
	    {"good", NULL, GPTQFS_ACCEL_USED, "it decodes", NULL, 0},
	    {"slow", NULL, GPTQFS_ACCEL_USED, "it decodes", NULL, 0},
	    {"auto", "good", GPTQFS_ACCEL_USED, "it decodes pieces of", NULL, 0},
	    {"auto", "slow", GPTQFS_ACCEL_SLOWER, "the CPU is faster", NULL, 0},
	    {"cuda", "slow", GPTQFS_ACCEL_USED, "it decodes", NULL, 0},
	    {"cuda", "wrong", GPTQFS_ACCEL_REFUSED, "wrong bytes", NULL, 0},
	    {"auto", "wrong", GPTQFS_ACCEL_REFUSED, "wrong bytes", NULL, 0},
	    {"late", NULL, GPTQFS_ACCEL_FAILED, "the fake device is lost; from now on the CPU decodes", NULL, 0},
	    {"partial", NULL, GPTQFS_ACCEL_USED, "it decodes", NULL, 0},
	    {"closed", NULL, GPTQFS_ACCEL_REFUSED, "there is?no device; the CPU decodes", NULL, 0},
	    {"version", NULL, GPTQFS_ACCEL_REFUSED, "version of the interface is 3, expected 2", NULL, 0},
	    {"size", NULL, GPTQFS_ACCEL_REFUSED, "struct accel_plugin is 8", NULL, 0},
	    {"no_symbol", NULL, GPTQFS_ACCEL_REFUSED, "no symbol gptqfs_accel_plugin", NULL, 0},
	    {"hollow", NULL, GPTQFS_ACCEL_REFUSED, "a member of its struct accel_plugin is missing", NULL, 0},
	    {"foreign", NULL, GPTQFS_ACCEL_REFUSED, "decodes awq, and none of the encodings", NULL, 0},
	    {"stale", NULL, GPTQFS_ACCEL_REFUSED, "matrix of encoding gptq is 8", NULL, 0},
	    {"not_there", NULL, GPTQFS_ACCEL_REFUSED, "cannot be loaded", NULL, 0},
	    {"cuda", "not_there", GPTQFS_ACCEL_REFUSED, "cannot be loaded", NULL, 0},
	    {"cuda", NULL, GPTQFS_ACCEL_USED, "it decodes", NULL, 0},
	    {"auto", NULL, GPTQFS_ACCEL_USED, "it decodes pieces of", NULL, 0}, /* plain C is slower even than this */
	    {"cuda", NULL, GPTQFS_ACCEL_FAILED, "cuStreamSynchronize: unknown error (CUDA error 999); from now on",
		NULL, 0},
	    {"cuda", NULL, GPTQFS_ACCEL_REFUSED, "cuInit: unknown error", "init", 0},
	    {"auto", NULL, GPTQFS_ACCEL_REFUSED, "the CUDA driver finds no GPU", "no-device", 0},
	    {"cuda", NULL, GPTQFS_ACCEL_REFUSED, "compiled with an unsupported toolchain", "old-ptx", 0},
	    {"cuda", NULL, GPTQFS_ACCEL_REFUSED, "cuModuleGetFunction: named symbol not found", "no-kernel", 0},
	    {"cuda", NULL, GPTQFS_ACCEL_REFUSED, "cuMemAlloc_v2: out of memory", "no-memory", 0},
	    {"cuda", NULL, GPTQFS_ACCEL_REFUSED, "cuMemHostAlloc: out of memory", "no-pinned", 0},
	    {"cuda", NULL, GPTQFS_ACCEL_REFUSED, "cuda_mem=1048576 is too small: it takes at least 6m", NULL, 1024},
	    /* Memory for one call at a time and no matrix: limited by the option, and by the device. */
	    {"cuda", NULL, GPTQFS_ACCEL_USED, "it decodes", NULL, 6 << 10},
	    {"cuda", NULL, GPTQFS_ACCEL_USED, "it decodes", "device-memory=6500000 shuffled", 0},
	    /* And for some of the matrices. */
	    {"cuda", NULL, GPTQFS_ACCEL_USED, "it decodes", "reversed", 25 << 10},
	};
	struct places p = {.flag = "/tmp/gptqfs-test-XXXXXX"};
	struct log_seen seen = {0};
	struct gptqfs *m;

	if (!CHECK(argc == 4) || !CHECK(mkdtemp(p.flag)))
		return test_done();
	rmdir(p.flag); /* only its name is needed */
	p.fakes = argv[1];
	p.cuda = realpath(argv[2], NULL);
	p.model = argv[3];
	m = open_model(p.model, NULL, NULL, 0, &seen);
	collect(m, GPTQFS_ROOT);
	gptqfs_close(m);
	CHECK(image_count > 0);
	setenv("FAKE_PLUGIN_FAILS", p.flag, 1);
	setenv("FAKE_CUDA_FAILS", p.flag, 1);
	test_options(p.model);
	for (size_t i = 0; i < sizeof(expectations) / sizeof(*expectations); i++)
		test_plugin(&p, &expectations[i]);
	while (image_count)
		free(images[--image_count].bytes);
	free((char *)p.cuda);
	return test_done();
}
