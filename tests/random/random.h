/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_TEST_RANDOM_H
#define GPTQFS_TEST_RANDOM_H

/*
 * A random checkpoint: generated and packed (gptq/, families/), written (write.c), and compared with what the core
 * shows (compare.c, tensors.c). These structures are independent of the core; all memory of a case is freed with it.
 */

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "gptqfs.h"
#include "../test.h"

#define TENSORS_MAX 160
#define PARTS_MAX 3
#define FAMILIES_MAX 2
#define SHARDS_MAX 5
#define CONFIGS_MAX 4
#define FORMATS 4
#define COUNT(array) (sizeof(array) / sizeof(*(array)))

/* ---- chance.c: draws, and memory of one case ---- */

extern uint64_t chance_state;

uint64_t any(void);
uint64_t below(uint64_t n);
bool chance(unsigned percent);
#define PICK(array) ((array)[below(COUNT(array))])
void shuffle(unsigned *order, unsigned n);
void *take(size_t size);
char *say(const char *fmt, ...);
void release_all(void);
uint64_t div_up(uint64_t a, uint64_t b);

/* ---- floats.c: formats, bit by bit ---- */

struct format {
	const char *name;
	int exp_bits, frac_bits;
};

extern const struct format F16, BF16, F32, F64;
extern const struct format *const formats[FORMATS];

const struct format *find_format(const char *name);
unsigned format_bytes(const struct format *f);
double decode(const struct format *f, uint64_t bits);
uint64_t encode(const struct format *f, double x);
void store(unsigned char *to, uint64_t value, unsigned bytes);
uint64_t load(const unsigned char *from, unsigned bytes);
uint64_t hard_bits(const struct format *f);
uint64_t usual_bits(const struct format *f);

/* ---- a checkpoint ---- */

/* A tensor in a file. */
struct stored {
	const char *name;
	const char *dtype;
	int ndim;
	uint64_t shape[4], bytes;
	unsigned char *data; /* NULL for a hole in the file: zeros that take no space */
	unsigned shard;
	bool passes; /* the views show it under its name */
	bool stray;  /* the index does not list it here */
};

/* A weight stored in some encoding. */
struct weight {
	int ndim;
	uint64_t shape[4];
	double *values; /* in fp32, in the order of the shape */
};

/* A tensor that a view must show: a module's, a stored one or, in fused views, a joined one. */
struct shown {
	const char *name;
	const struct weight *weight;
	const struct stored *stored;
	const char *other;   /* its dtype if it is not a float and stays unchanged */
	unsigned part_count; /* joined */
	struct shown *parts; /* [part_count] */
	uint64_t zeros;      /* a part of this many zeros, for a missing bias */
};

/* A part of a family: q_proj, k_proj and v_proj of one prefix, or gate_proj and up_proj. */
struct part {
	const char *name;
	const struct weight *weight;
	const struct stored *stored, *bias; /* stored: the weight, if it is not quantized */
};

struct family_of_parts {
	const char *joined; /* the joined name */
	struct part parts[PARTS_MAX];
	unsigned count;
};

struct checkpoint {
	struct family_of_parts families[FAMILIES_MAX];
	unsigned family_count;
	struct stored stored[TENSORS_MAX];
	unsigned stored_count;
	struct shown shown[TENSORS_MAX], fused[TENSORS_MAX];
	unsigned shown_count, fused_count;

	const char *files[SHARDS_MAX];
	unsigned file_count;
	const char *index; /* NULL if there is none */
	bool has_holes;
	struct {
		const char *name, *text;
	} configs[CONFIGS_MAX];
	unsigned config_count;
	bool has_config;     /* a config.json among them */
	const char *shunned; /* no passed tensor may have this name: a family would refuse it */
	bool no_codes;       /* nor are bytes that pass called weights: one would miss their scale */
	char dir[256];
};

/* ---- draw.c ---- */

void draw_files(struct checkpoint *c);
struct stored *add_stored(struct checkpoint *c, const char *dtype, unsigned bits, int ndim, const uint64_t *shape);
const struct stored *add_plain_part(struct checkpoint *c, const char *name, uint64_t in);
const struct stored *add_bias(struct checkpoint *c, const char *module, uint64_t out);
struct shown *add_shown(struct checkpoint *c, const char *name);
void add_others(struct checkpoint *c);
void expect_views(struct checkpoint *c);
bool have_one_width(const struct family_of_parts *f);
bool is_listed(const struct checkpoint *c, unsigned shard);

/* ---- write.c ---- */

/* A text written by fprintf and complete after closing. Owned by the case. */
struct memo {
	FILE *out;
	char *text;
	size_t len;
};

void memo_open(struct memo *memo);
char *memo_close(struct memo *memo);
void put_string(FILE *out, const char *s);
void add_config(struct checkpoint *c, const char *name, const char *text);
_Noreturn void write_failed(const char *what);
int create(const struct checkpoint *c, const char *name);
void write_at(int fd, const void *data, uint64_t bytes, uint64_t at);
void write_checkpoint(struct checkpoint *c);

/* ---- compare.c ---- */

/* A virtual file in memory, as far as it was read; with holes if it is too large. */
struct image {
	struct gptqfs *m;
	uint64_t ino, size;
	unsigned char *bytes;
};

struct check {
	const struct checkpoint *c;
	const struct shown *shown; /* [shown_count] what the view must have */
	unsigned shown_count;
	struct gptqfs *m;
	const struct format *view;
	uint64_t dir;
	unsigned seen;          /* tensors found so far, in the order of all shards */
	uint64_t data_bytes;    /* of the shards so far */
	const struct json *map; /* weight_map, or NULL if there is no index */
};

bool read_part(const struct image *image, uint64_t at, uint64_t size);
bool image_open(struct image *image, struct gptqfs *m, uint64_t dir, const char *name);
void image_close(struct image *image);
int dims_of(const struct shown *t);
const uint64_t *shape_of(const struct shown *t);
uint64_t shown_bytes(const struct shown *t, const struct format *view);
bool compare_bytes(const struct check *k, const struct image *image, const struct shown *t, uint64_t at);
int64_t number(const struct json *value);
bool check_tensor(struct check *k, const struct image *image, const struct json *entry, uint64_t data, uint64_t *at);
struct json *read_json(struct check *k, const char *name);
uint64_t find_directory(struct gptqfs *m, uint64_t parent, const char *name);
void check_view(const struct checkpoint *c, struct gptqfs *m, const struct format *view, bool fused, bool is_root);

/* ---- tensors.c ---- */

void check_tensors_view(const struct checkpoint *c, struct gptqfs *m, const struct format *type, bool is_root);

/* ---- run.c ---- */

struct program {
	struct checkpoint *(*draw)(void);
	void (*check_mount)(const struct checkpoint *c, struct gptqfs *m); /* private to the program; may be NULL */
	void (*print)(const struct checkpoint *c);
	uint64_t cases; /* where CASES is not set */
};

int run_cases(const struct program *p);

#endif
