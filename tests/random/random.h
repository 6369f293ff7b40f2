/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_TEST_RANDOM_H
#define GPTQFS_TEST_RANDOM_H

/*
 * A random checkpoint: drawn (draw.c), packed (pack.c), written (write.c), and compared with what the core shows of it
 * (compare.c, tensors.c, packed.c). Only this test knows these structures; all memory of a case is freed with it.
 */

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "gptqfs.h"
#include "../test.h"

#define TENSORS_MAX 96
#define MODULES_MAX 7
#define PARTS_MAX 3
#define FAMILIES_MAX 2
#define SHARDS_MAX 5
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

/* A tensor as a file holds it. */
struct stored {
	const char *name;
	const char *dtype;
	int ndim;
	uint64_t shape[3], bytes;
	unsigned char *data; /* NULL for a hole in the file: zeros that take no room */
	unsigned shard;
	bool passes; /* the views show it under its name */
	bool stray;  /* the index does not list it here */
};

enum groups {
	GROUPS_ABSENT, /* no g_idx: k / group_size */
	GROUPS_TRIVIAL,
	GROUPS_ACT_ORDER,
	GROUPS_ARBITRARY,
};

struct module {
	const char *name;
	unsigned bits, word_bits;
	bool planar, has_zeros;
	enum groups order;
	int64_t group_size;
	uint64_t in, out, groups;
	const struct format *scale_format;
	unsigned char *codes; /* [in][out] */
	unsigned char *zeros; /* [groups][out] */
	uint64_t *scales;     /* [groups][out] bit patterns */
	uint32_t *group_of;   /* [in] */
	double *weights;      /* [out][in] the products as fp32 has them */
};

/* A tensor that a view must show: a module's, a stored one, or, in fused views, one joined from others. */
struct shown {
	const char *name;
	const struct module *module;
	const struct stored *stored;
	const char *other;   /* its dtype if it is no float and stays what it is */
	unsigned part_count; /* joined */
	struct shown *parts; /* [part_count] */
	uint64_t zeros;      /* a part: this many zeros, because there is no bias */
};

/* What one of the parts of a family is: q_proj, k_proj and v_proj of one prefix, or gate_proj and up_proj. */
struct part {
	const char *name;
	const struct module *module;
	const struct stored *stored, *bias; /* stored: the weight, if it is not quantized */
};

struct family_of_parts {
	const char *joined; /* the name of the whole */
	struct part parts[PARTS_MAX];
	unsigned count;
};

enum family { FAMILY_NONE, FAMILY_GPTQ, FAMILY_AUTOROUND };

struct checkpoint {
	enum family family;
	const char *checkpoint_format, *format, *packing_format; /* NULL if absent */
	bool v2, planar, sym, says_sym, says_bits, says_group_size, mixed, has_config;
	unsigned bits;
	int64_t group_size;

	struct module modules[MODULES_MAX];
	unsigned module_count;
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
	char *quant_text;
	char dir[256];
};

/* ---- draw.c ---- */

void draw_checkpoint(struct checkpoint *c);
struct stored *add_stored(struct checkpoint *c, const char *dtype, unsigned bits, int ndim, const uint64_t *shape);
bool is_planar(const struct checkpoint *c, unsigned bits);
uint64_t whole_size(int64_t group_size, uint64_t in);
bool have_one_width(const struct family_of_parts *f);
bool is_listed(const struct checkpoint *c, unsigned shard);
void draw_groups(struct module *m);
void draw_values(const struct checkpoint *c, struct module *m);
void multiply(struct module *m);

/* ---- pack.c ---- */

uint64_t place(const struct module *m, uint64_t index, unsigned bit);
const char *word_dtype(const struct module *m);
const struct stored *fill_module(struct checkpoint *c, struct module *m);

/* ---- write.c ---- */

_Noreturn void write_failed(const char *what);
int create(const struct checkpoint *c, const char *name);
void write_at(int fd, const void *data, uint64_t bytes, uint64_t at);
void write_checkpoint(struct checkpoint *c);

/* ---- compare.c ---- */

/* A virtual file, in memory as far as it was read; what is too large for that is a hole here too. */
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
	unsigned seen;          /* tensors found so far; those of all shards are in one order */
	uint64_t data_bytes;    /* of the shards so far */
	const struct json *map; /* weight_map, or NULL if there is no index */
};

bool read_part(const struct image *image, uint64_t at, uint64_t size);
bool image_open(struct image *image, struct gptqfs *m, uint64_t dir, const char *name);
void image_close(struct image *image);
uint64_t shown_bytes(const struct shown *t, const struct format *view);
bool compare_bytes(const struct check *k, const struct image *image, const struct shown *t, uint64_t at);
int64_t number(const struct json *value);
bool check_tensor(struct check *k, const struct image *image, const struct json *entry, uint64_t data, uint64_t *at);
struct json *read_json(struct check *k, const char *name);
uint64_t find_directory(struct gptqfs *m, uint64_t parent, const char *name);
void check_view(const struct checkpoint *c, struct gptqfs *m, const struct format *view, bool fused, bool is_root);

/* ---- tensors.c, packed.c ---- */

void check_tensors_view(const struct checkpoint *c, struct gptqfs *m, const struct format *type, bool is_root);
void check_packed(const struct checkpoint *c, struct gptqfs *m, uint64_t dir);
void check_packed_again(const struct checkpoint *c, struct gptqfs *m, uint64_t dir);

#endif
