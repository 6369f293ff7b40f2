/* SPDX-License-Identifier: MIT */

/*
 * Checks all kernels of all CPU levels of this machine: each must produce the bits of the C reference, and the
 * reference those of a second, naive implementation that comes with the cases of each family. Checks the families given
 * as arguments, or all. `--bench` times the kernels instead. `--accel=PLUGIN` lets an accelerator plugin decode the
 * same cases (and times it); with `--emulated`, three times, with another order of its kernels' threads each. `--stop`
 * ends at the first failure; `--seed` repeats a run. `--share=PERCENT` runs a sample of the cases.
 */

#include "check.h"

#include <dlfcn.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"

#define ALL_FAMILIES (~0u)

static const struct {
	const char *name;
	void (*check)(struct check *c);
	void (*bench)(struct check *c, struct bench *b);
	bool accelerated; /* plugins decode it */
} families[] = {
    {"cast", check_casts, bench_casts, false},
    {"gptq", check_gptq, bench_gptq, true},
    {"fp8", check_fp8, bench_fp8, false},
    {"bnb", check_bnb, bench_bnb, false},
    {"affine", check_affine, bench_affine, false},
    {"fp4", check_fp4, bench_fp4, false},
    {"awq", check_awq, bench_awq, false},
    {"hqq", check_hqq, bench_hqq, false},
    {"lora", check_lora, bench_lora, false},
    {"gguf", check_gguf, bench_gguf, false},
    {"mlx", check_mlx, bench_mlx, false},
};

/* --- Chance, memory, results --- */

uint32_t rnd(struct check *c)
{
	c->random ^= c->random << 13;
	c->random ^= c->random >> 7;
	c->random ^= c->random << 17;
	return c->random * 0x2545f4914f6cdd1dull >> 32;
}

uint32_t below(struct check *c, uint32_t limit)
{
	return (uint64_t)rnd(c) * limit >> 32;
}

bool sampled(struct check *c)
{
	return below(c, 100) < c->share;
}

void *need(void *p)
{
	if (p && p != MAP_FAILED)
		return p;
	perror("check_kernel");
	exit(1);
}

void fill(struct check *c, void *p, size_t n)
{
	for (size_t i = 0; i < n; i += 4) {
		uint32_t x = rnd(c);

		memcpy((char *)p + i, &x, n - i < 4 ? n - i : 4);
	}
}

static void arena_init(struct arena *a, size_t bytes)
{
	const size_t page = sysconf(_SC_PAGESIZE);

	a->start = need(mmap(NULL, bytes + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
	a->start += page;
	a->end = a->start + bytes;
	if (mprotect(a->start, bytes, PROT_READ | PROT_WRITE))
		need(NULL);
}

unsigned char *place(struct check *c, enum operand operand, size_t bytes, unsigned align)
{
	const struct arena *a = &c->arena[operand];
	const unsigned way = below(c, 4);

	if (bytes + MARGIN > (size_t)(a->end - a->start)) {
		fprintf(stderr, "check_kernel: a test needs %zu bytes\n", bytes);
		exit(1);
	}
	if (way == 0)
		return a->start;
	return a->end - bytes - (way == 1 ? below(c, MARGIN) / align * align : 0);
}

void tell(struct check *c, bool ok, const char *what)
{
	c->group_passed += ok;
	c->group_failed += !ok;
	if (!ok)
		printf("  FAILED: %s\n", what);
	if (!ok && c->stop)
		exit(1);
}

void group_end(struct check *c, const char *name)
{
	printf("%-44s %7lu passed, %lu failed\n", name, c->group_passed, c->group_failed);
	fflush(stdout);
	c->passed += c->group_passed;
	c->failed += c->group_failed;
	c->group_passed = c->group_failed = 0;
}

uint32_t pick(struct check *c, const uint16_t *of, size_t count, uint32_t limit)
{
	return below(c, 3) ? of[below(c, count)] : below(c, limit) + 1;
}

/* --- Outputs --- */

/* True if the bytes around an output are still poison. */
static bool margins_intact(const struct arena *a, const unsigned char *out, size_t bytes)
{
	for (const unsigned char *p = out - a->start > MARGIN ? out - MARGIN : a->start; p < out; p++)
		if (*p != POISON)
			return false;
	for (const unsigned char *p = out + bytes; p < a->end && p < out + bytes + MARGIN; p++)
		if (*p != POISON)
			return false;
	return true;
}

unsigned char *place_output(struct check *c, size_t bytes)
{
	const struct arena *a = &c->arena[OUTPUT];
	unsigned char *out = place(c, OUTPUT, bytes, 1);
	unsigned char *from = out - a->start > MARGIN ? out - MARGIN : a->start;
	unsigned char *to = a->end - (out + bytes) > MARGIN ? out + bytes + MARGIN : a->end;

	memset(from, POISON, to - from);
	return out;
}

void compare(struct check *c, const unsigned char *out, const unsigned char *expected, size_t bytes, const char *what)
{
	char text[512];
	size_t i = 0;

	if (!memcmp(out, expected, bytes)) {
		snprintf(text, sizeof(text), "%s: bytes around the output changed", what);
		tell(c, margins_intact(&c->arena[OUTPUT], out, bytes), text);
		return;
	}
	while (out[i] == expected[i])
		i++;
	i &= ~(size_t)1;
	snprintf(text, sizeof(text), "%s: at byte %zu of %zu %02x%02x, expected %02x%02x", what, i, bytes, out[i + 1],
	    out[i], expected[i + 1], expected[i]);
	tell(c, false, text);
}

int copy_plainly(void *ctx, const struct accel_copy *what)
{
	(void)ctx;
	accel_copy_run(what);
	return 0;
}

/* --- Numbers --- */

const struct number_format number_formats[DTYPE_COUNT] = {[DTYPE_F16] = {5, 10},
    [DTYPE_BF16] = {8, 7},
    [DTYPE_F32] = {8, 23},
    [DTYPE_F8_E4M3] = {4, 3},
    [DTYPE_F8_E5M2] = {5, 2}};

double number_decode(uint64_t bits, enum dtype dtype)
{
	const struct number_format f = number_formats[dtype];
	const int exp = bits >> f.man_bits & ((1 << f.exp_bits) - 1), bias = (1 << f.exp_bits) / 2 - 1;
	const double man = bits & ((1ull << f.man_bits) - 1), one = 1ull << f.man_bits;
	const double sign = bits >> (f.exp_bits + f.man_bits) & 1 ? -1 : 1;

	if (dtype == DTYPE_F8_E8M0)
		return bits == 255 ? (double)NAN : ldexp(1, (int)bits - 127);
	if (dtype == DTYPE_F8_E4M3 && (bits & 0x7f) == 0x7f)
		return (double)NAN;
	if (exp == (1 << f.exp_bits) - 1 && dtype != DTYPE_F8_E4M3)
		return man ? (double)NAN : sign * (double)INFINITY;
	return sign * ldexp(exp ? one + man : man, (exp ? exp : 1) - bias - f.man_bits);
}

/* Returns the value as a number of steps of the format, rounded to nearest even. */
uint64_t number_encode(double value, enum dtype dtype)
{
	const struct number_format f = number_formats[dtype];
	const int bias = (1 << (f.exp_bits - 1)) - 1;
	const uint64_t infinity = ((1ull << f.exp_bits) - 1) << f.man_bits;
	const uint64_t sign = (uint64_t) !!signbit(value) << (f.exp_bits + f.man_bits);
	const double magnitude = fabs(value);
	double steps, whole;
	int exp;

	if (isnan(value))
		return infinity | 1ull << (f.man_bits - 1);
	if (isinf(value) || value == 0)
		return value == 0 ? sign : sign | infinity;
	frexp(magnitude, &exp);
	exp = exp - 1 > 1 - bias ? exp - 1 : 1 - bias;
	if (exp > bias)
		return sign | infinity;
	steps = ldexp(magnitude, f.man_bits - exp);
	whole = (double)(uint64_t)steps;
	whole += steps - whole > 0.5 || (steps - whole == 0.5 && (uint64_t)whole % 2);
	/* The bits of a format count steps from zero, except that the exponent field starts at 1. */
	return sign | (((uint64_t)(exp - 1 + bias) << f.man_bits) + (uint64_t)whole);
}

double number_fp32(double value)
{
	return number_decode(number_encode(value, DTYPE_F32), DTYPE_F32);
}

double number_awkward(struct check *c)
{
	const enum dtype near = below(c, DTYPE_VIEWS);
	const double value = number_decode(near == DTYPE_F32 ? rnd(c) : rnd(c) & 0xffff, near);
	const double step = ldexp(1, (int)below(c, 60) - 59);

	return value * (1 + ldexp(1, -number_formats[near].man_bits - (int)below(c, 3))) *
	       (1 + (below(c, 2) ? step : -step));
}

/* --- Names of levels --- */

static void check_names(struct check *c)
{
	enum cpu_level level;

	for (enum cpu_level i = CPU_C; i <= cpu_detect(); i++)
		tell(c, cpu_parse(cpu_name(i), &level) == 0 && level == i, cpu_name(i));
	tell(c, cpu_parse("mmx", &level) == -EINVAL, "mmx is no level");
#if !defined(__aarch64__)
	tell(c, cpu_parse("neon", &level) == -ENOTSUP, "neon elsewhere");
#else
	tell(c, cpu_parse("avx2", &level) == -ENOTSUP, "avx2 elsewhere");
#endif
	group_end(c, "CPU levels");
}

/* --- The program --- */

static void load_plugin(struct check *c, const char *path)
{
	const struct accel_config config = {(uint64_t)64 << 20};
	struct accel_text text = {"cannot be opened"};
	void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);

	c->plugin = library ? dlsym(library, ACCEL_SYMBOL) : NULL;
	if (!c->plugin || c->plugin->open(&config, &c->plugin_state, &text)) {
		fprintf(stderr, "check_kernel: %s: %s\n", path, library ? text.text : dlerror());
		exit(1);
	}
	printf("%s\n", text.text);
}

static void bench(struct check *c, unsigned chosen)
{
	struct bench b;

	bench_init(c, &b);
	for (size_t i = 0; i < ARRAY_SIZE(families); i++)
		if (chosen >> i & 1)
			families[i].bench(c, &b);
	bench_free(&b);
}

static void check_all(struct check *c, unsigned chosen)
{
	if (!c->plugin && chosen == ALL_FAMILIES)
		check_names(c);
	for (size_t i = 0; i < ARRAY_SIZE(families); i++)
		if (chosen >> i & 1 && (!c->plugin || families[i].accelerated))
			families[i].check(c);
	printf("%lu passed, %lu failed\n", c->passed, c->failed);
}

/* Handles an argument that is not an option; returns false if there is no such family. */
static bool choose_family(const char *name, unsigned *chosen)
{
	for (size_t i = 0; i < ARRAY_SIZE(families); i++) {
		if (strcmp(families[i].name, name) != 0)
			continue;
		*chosen = (*chosen == ALL_FAMILIES ? 0 : *chosen) | 1u << i;
		return true;
	}
	return false;
}

static void usage(void)
{
	fprintf(stderr, "usage: check_kernel [--seed N] [--cpu=LEVEL] [--accel=PLUGIN [--emulated]] [--stop] "
			"[--share=PERCENT] [--bench] [FAMILY...]\nfamilies:");
	for (size_t i = 0; i < ARRAY_SIZE(families); i++)
		fprintf(stderr, " %s", families[i].name);
	fprintf(stderr, "\n");
	exit(1);
}

int main(int argc, char **argv)
{
	struct check *c = need(calloc(1, sizeof(*c)));
	unsigned long long seed = (unsigned long long)time(NULL) * 1000 + getpid() % 1000;
	unsigned chosen = ALL_FAMILIES;
	bool timing = false;
	int failed;

	c->max = cpu_detect();
	c->share = 100;
	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--bench"))
			timing = true;
		else if (!strcmp(argv[i], "--seed") && i + 1 < argc)
			seed = strtoull(argv[++i], NULL, 0);
		else if (!strncmp(argv[i], "--accel=", 8))
			load_plugin(c, argv[i] + 8);
		else if (!strcmp(argv[i], "--emulated"))
			c->emulated = true;
		else if (!strcmp(argv[i], "--stop"))
			c->stop = true;
		else if (!strncmp(argv[i], "--share=", 8))
			c->share = (unsigned)strtoul(argv[i] + 8, NULL, 10);
		else if (!choose_family(argv[i], &chosen) &&
			 (strncmp(argv[i], "--cpu=", 6) || cpu_parse(argv[i] + 6, &c->max)))
			usage();
	}
	printf("check_kernel --seed %llu --cpu=%s --share=%u\n", seed, cpu_name(c->max), c->share);
	c->random = seed * 2 + 1;
	for (enum cpu_level level = CPU_C; level <= c->max; level++)
		kernels_init(&c->kernels[level], level);
	for (unsigned i = 0; i < OPERANDS; i++)
		arena_init(&c->arena[i], ARENA_BYTES);
	if (timing)
		bench(c, chosen);
	else
		check_all(c, chosen);
	failed = c->failed != 0;
	if (c->plugin)
		c->plugin->close(c->plugin_state);
	free(c);
	return failed;
}
