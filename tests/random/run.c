/* SPDX-License-Identifier: MIT */

/*
 * Runs cases: each is generated, written, opened and read through the public interface, and every tensor of every view
 * compared bit for bit.
 *
 *     SEED=N  begins with case N instead of a random one        CASES=N  how many cases, each the seed after the other
 *     KEEP=1  leaves the directory of a case that failed, KEEP=all of every case
 */

#include <ftw.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include "kernel/cpu.h"
#include "random.h"

static void check_checkpoint(const struct program *p, const struct checkpoint *c)
{
	static const char *const names[] = {
	    "fp16", "bf16", "fp32", "fused/fp16", "fused/bf16", "fused/fp32", "tensors"};
	static const size_t caches[] = {0, 1, 5000, 100000, GPTQFS_CACHE_DEFAULT};
	const enum cpu_level level = (enum cpu_level)below((uint64_t)cpu_detect() + 1);
	const size_t all = COUNT(names), root = chance(25) ? below(all) : all, cache = PICK(caches), type = below(3);
	struct gptqfs_options options = {.cpu = chance(80) ? cpu_name(level) : NULL,
	    .cache_bytes = cache,
	    .uid = (uid_t)-1,
	    .gid = (gid_t)-1,
	    .view = root < all ? names[root] : NULL,
	    .dtype = type || chance(50) ? names[type] : NULL};
	const unsigned failed = test_failed;
	struct gptqfs_error err;
	struct gptqfs *m;

	if (!CHECK(gptqfs_open(c->dir, &options, &m, &err) == 0)) {
		printf("  %s\n", err.text);
		return;
	}
	for (size_t i = 0; i < 6; i++)
		if (root == all ? i < 3 || c->family_count : root == i)
			check_view(c, m, formats[i % 3], i >= 3, root < all);
	if (root >= 6)
		check_tensors_view(c, m, formats[type], root < all);
	if (root == all && p->check_mount)
		p->check_mount(c, m);
	if (chance(5)) {
		FILE *null = fopen("/dev/null", "w");

		CHECK(null && gptqfs_check(m, chance(50), null, NULL) == 0);
		fclose(null);
	}
	if (chance(10))
		gptqfs_trim(m);
	gptqfs_close(m);
	if (test_failed > failed)
		printf("  cpu %s, cache %zu, view %s\n", options.cpu ? options.cpu : "any", options.cache_bytes,
		    options.view ? options.view : "any");
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st, (void)type, (void)ftw;
	return remove(path);
}

/* Preferably in memory, where holes stay holes too. */
static void make_directory(char dir[256])
{
	const char *tmp = getenv("TMPDIR");

	if (access("/dev/shm", W_OK | X_OK) == 0) {
		snprintf(dir, 256, "/dev/shm/gptqfs-random.XXXXXX");
		if (mkdtemp(dir))
			return;
	}
	snprintf(dir, 256, "%s/gptqfs-random.XXXXXX", tmp ? tmp : "/tmp");
	if (!mkdtemp(dir))
		write_failed(dir);
}

static volatile sig_atomic_t interrupted;

static bool run_case(const struct program *p, uint64_t seed)
{
	struct checkpoint *c;
	const unsigned failed = test_failed;
	const char *keep = getenv("KEEP");

	chance_state = seed * UINT64_C(0xd1342543de82ef95);
	c = p->draw();
	make_directory(c->dir);
	write_checkpoint(c);
	check_checkpoint(p, c);
	if (test_failed > failed) {
		printf("  SEED=%" PRIu64 " CASES=1 repeats this case: %u files%s%s\n", seed, c->file_count,
		    c->index ? ", " : "", c->index ? c->index : "");
		p->print(c);
	}
	if (keep && (test_failed > failed || (strcmp(keep, "all") == 0 && !interrupted)))
		printf("  %s\n", c->dir);
	else
		nftw(c->dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
	release_all();
	return test_failed == failed;
}

static void note_signal(int number)
{
	interrupted = number;
}

/* A signal lets the case that runs remove its directory; another one ends the program at once. */
static void catch_signals(void)
{
	const struct sigaction action = {.sa_handler = note_signal, .sa_flags = SA_RESETHAND | SA_RESTART};

	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
}

static uint64_t from_environment(const char *name, uint64_t otherwise)
{
	const char *given = getenv(name);

	return given ? strtoull(given, NULL, 0) : otherwise;
}

int run_cases(const struct program *p)
{
	const uint64_t seed = from_environment("SEED", (uint64_t)time(NULL) * 1000);
	const uint64_t cases = from_environment("CASES", p->cases);
	unsigned bad = 0;

	printf("seed %" PRIu64 ", %" PRIu64 " cases (SEED=%" PRIu64 " repeats them)\n", seed, cases, seed);
	catch_signals();
	for (uint64_t i = 0; i < cases && bad < 5 && !interrupted; i++)
		bad += !run_case(p, seed + i);
	if (interrupted)
		raise(interrupted);
	return test_done();
}
