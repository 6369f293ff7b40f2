/* SPDX-License-Identifier: MIT */

/*
 * Fails the n-th call of each class, only that one or all from it, for all n, while a model is opened, read completely,
 * checked, hashed and closed:
 *
 *     sweep [-e EVERY] [-s SEED] [-l ADAPTER] MODEL [EXPECTED.F16.json] [MODEL [EXPECTED.F16.json]]...
 *
 * Each run must end in a clean error or show exactly what a run without faults shows, and free everything. With -e only
 * every EVERY-th n is taken, but at least two of each kind; SEED selects where they start. ADAPTER is merged into all
 * models. The hashes of a run without faults must be those of EXPECTED.
 */

#include <cjson/cJSON.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "fault.h"
#include "image.h"

#define COMPLAINTS 5 /* of each kind are printed for each line of the table */

struct fault {
	const char *name;
	enum fault_class class;
	int error;
	bool always;
};

static const struct fault all[] = {
    {"allocation, once", FAULT_ALLOC, ENOMEM, false},
    {"allocation, from then on", FAULT_ALLOC, ENOMEM, true},
    {"open EIO", FAULT_OPEN, EIO, false},
    {"open EMFILE", FAULT_OPEN, EMFILE, false},
    {"open EINTR", FAULT_OPEN, EINTR, false},
    {"open EMFILE, from then on", FAULT_OPEN, EMFILE, true},
    {"stat EIO", FAULT_STAT, EIO, false},
    {"stat ENOMEM", FAULT_STAT, ENOMEM, false},
    {"stat EIO, from then on", FAULT_STAT, EIO, true},
    {"readdir EIO", FAULT_LIST, EIO, false},
    {"readdir EIO, from then on", FAULT_LIST, EIO, true},
    {"read EIO", FAULT_READ, EIO, false},
    {"read EINTR", FAULT_READ, EINTR, false},
    {"read of half", FAULT_READ, FAULT_HALF, false},
    {"read EIO, from then on", FAULT_READ, EIO, true},
    {"read of half, from then on", FAULT_READ, FAULT_HALF, true},
    {"mmap ENOMEM", FAULT_MAP, ENOMEM, false},
    {"mmap ENOMEM, from then on", FAULT_MAP, ENOMEM, true},
    {"thread EAGAIN", FAULT_THREAD, EAGAIN, false},
    {"thread EAGAIN, from then on", FAULT_THREAD, EAGAIN, true},
};

/* A model, and what it shows without faults. */
struct subject {
	const char *dir;
	const char *adapter; /* merged into it, or NULL */
	struct image *image;
	char *hashes;
	int64_t calls[FAULT_CLASSES];
};

struct sweep {
	int64_t every, seed;
	const char *adapter; /* -l: of all models */
	int64_t runs, failed;
};

/* ---- one run ---- */

static int open_model(const struct subject *s, const char *view, struct gptqfs **m, struct gptqfs_error *err)
{
	const struct gptqfs_options options = {.lora = &s->adapter,
	    .lora_count = s->adapter != NULL,
	    .view = view,
	    .cache_bytes = 1 << 16,
	    .ahead = 1,
	    .uid = (uid_t)-1,
	    .gid = (gid_t)-1};
	int rc;

	faults->active = 1;
	rc = gptqfs_open(s->dir, &options, m, err);
	faults->active = 0;
	return rc;
}

static void close_model(struct gptqfs *m)
{
	faults->active = 1;
	gptqfs_trim(m);
	gptqfs_close(m);
	faults->active = 0;
}

static int hash_model(struct gptqfs *m, char **text, struct gptqfs_error *err)
{
	size_t len;
	FILE *out = open_memstream(text, &len);
	int rc;

	if (!out)
		return -ENOMEM;
	faults->active = 1;
	rc = gptqfs_hashes(m, out, err);
	faults->active = 0;
	return fclose(out) ? -ENOMEM : rc;
}

static void serve(const struct subject *s, struct verdict *v)
{
	struct gptqfs_error err = {""};
	struct gptqfs *m;
	const int rc = open_model(s, NULL, &m, &err);

	if (rc) {
		verdict_code(v, rc, "open", err.text);
		return;
	}
	image_compare(s->image, m, v);
	close_model(m);
}

static void hash(const struct subject *s, struct verdict *v)
{
	struct gptqfs_error err = {""};
	struct gptqfs *m;
	char *text = NULL;
	int rc = open_model(s, "fp16", &m, &err);

	if (rc) {
		verdict_code(v, rc, "open for hashes", err.text);
		return;
	}
	rc = hash_model(m, &text, &err);
	if (rc)
		verdict_code(v, rc, "hashes", err.text);
	else if (strcmp(text, s->hashes) != 0)
		verdict_note(v, WRONG, "other hashes");
	faults->blocks += text != NULL;
	free(text);
	close_model(m);
}

static int lowest_descriptor(void)
{
	const int fd = dup(0);

	close(fd);
	return fd;
}

static struct verdict run(const struct subject *s, const struct fault *f, int64_t n)
{
	const int64_t blocks = faults->blocks, mapped = faults->mapped;
	const int fd = lowest_descriptor();
	struct verdict v = {0};

	for (int i = 0; i < FAULT_CLASSES; i++)
		faults->calls[i] = 0;
	faults->error = f->error;
	faults->always = f->always;
	faults->at = n;
	faults->class = (int)f->class;
	serve(s, &v);
	hash(s, &v);
	faults->class = FAULT_NONE;
	if (faults->blocks != blocks)
		verdict_note(&v, WRONG, "%lld blocks of memory are left%s", (long long)(faults->blocks - blocks),
		    faults->blocks < blocks ? " (from a function that wrap.c does not have?)" : "");
	if (faults->mapped != mapped || lowest_descriptor() != fd)
		verdict_note(&v, WRONG, "a mapping or a descriptor is left");
	return v;
}

/* ---- all of them ---- */

static void sweep_fault(struct sweep *sweep, const struct subject *s, const struct fault *f)
{
	const int64_t calls = s->calls[f->class];
	const int64_t step = calls / 2 < sweep->every ? calls / 2 + (calls < 2) : sweep->every;
	int64_t counts[OUTCOMES] = {0}, runs = 0;

	for (int64_t n = 1 + sweep->seed % step; n <= calls; n += step, runs++) {
		const struct verdict v = run(s, f, n);

		if (v.outcome >= BLAMED && counts[v.outcome] < COMPLAINTS)
			printf("  n = %lld: %s\n", (long long)n, v.what);
		counts[v.outcome]++;
	}
	printf("%-28s %5lld of %5lld: %lld unnoticed, %lld clean errors, %lld blamed on the model, %lld wrong\n",
	    f->name, (long long)runs, (long long)calls, (long long)counts[UNNOTICED], (long long)counts[CLEAN],
	    (long long)counts[BLAMED], (long long)counts[WRONG]);
	sweep->runs += runs;
	sweep->failed += counts[BLAMED] + counts[WRONG];
}

static char *read_text(const char *path)
{
	FILE *f = fopen(path, "r");
	char *text = calloc(1, 1 << 20);

	if (!f || !text || !fread(text, 1, (1 << 20) - 1, f)) {
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
		exit(2);
	}
	fclose(f);
	return text;
}

/* Runs twice without faults and counts the calls of the second run, because the first includes one-time work. */
static void prepare(struct subject *s, const char *expected)
{
	static const struct fault none = {"none", FAULT_NONE, 0, false};
	struct gptqfs_error err = {""};
	struct gptqfs *m = NULL;
	struct verdict v;

	if (open_model(s, NULL, &m, &err) || !(s->image = image_take(m))) {
		fprintf(stderr, "%s: %s\n", s->dir, err.text);
		exit(2);
	}
	close_model(m);
	if (open_model(s, "fp16", &m, &err) || hash_model(m, &s->hashes, &err)) {
		fprintf(stderr, "%s: %s\n", s->dir, err.text);
		exit(2);
	}
	close_model(m);
	if (expected) {
		char *text = read_text(expected);

		if (strncmp(s->hashes, text, strlen(text)) != 0) {
			fprintf(stderr, "%s: other hashes than in %s\n", s->dir, expected);
			exit(2);
		}
		free(text);
	}
	v = run(s, &none, 0);
	if (v.outcome != UNNOTICED) {
		fprintf(stderr, "%s: without a fault: %s\n", s->dir, v.what);
		exit(2);
	}
	memcpy(s->calls, (void *)faults->calls, sizeof(s->calls));
}

static void sweep_model(struct sweep *sweep, const char *dir, const char *expected)
{
	struct subject s = {.dir = dir, .adapter = sweep->adapter};

	prepare(&s, expected);
	printf("%s\n", dir);
	for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++) {
		if (!s.calls[all[i].class] && all[i].class != FAULT_THREAD) {
			printf("%s: there is no such call; is it not wrapped?\n", all[i].name);
			sweep->failed++;
		}
		sweep_fault(sweep, &s, &all[i]);
	}
	image_free(s.image);
	faults->blocks++;
	free(s.hashes);
}

int main(int argc, char **argv)
{
	struct sweep sweep = {.every = 1, .seed = time(NULL)};
	cJSON_Hooks hooks = {malloc, free};
	int option;

	while ((option = getopt(argc, argv, "e:l:s:")) != -1) {
		if (option == 'e')
			sweep.every = atoll(optarg);
		else if (option == 'l')
			sweep.adapter = optarg;
		else if (option == 's')
			sweep.seed = atoll(optarg);
		else
			return 2;
	}
	if (sweep.every < 1 || sweep.seed < 0)
		return 2;
	setvbuf(stdout, NULL, _IOLBF, 0);
	cJSON_InitHooks(&hooks); /* it is a shared library: the linker does not wrap its calls */
	printf("seed %lld\n", (long long)sweep.seed);
	for (int i = optind; i < argc; i++) {
		const bool known = i + 1 < argc && strstr(argv[i + 1], ".json");

		sweep_model(&sweep, argv[i], known ? argv[i + 1] : NULL);
		i += known;
	}
	printf("%lld passed, %lld failed\n", (long long)(sweep.runs - sweep.failed), (long long)sweep.failed);
	return sweep.failed ? 1 : 0;
}
