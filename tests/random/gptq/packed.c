/* SPDX-License-Identifier: MIT */

/* Compares packed/ with the generated checkpoint, and opens it again as a checkpoint. */

#include <sys/stat.h>
#include <unistd.h>

#include "gptq.h"

/* ---- the packed view ---- */

/* The view's only shard and its configuration, and the number of tensors compared. */
struct packed {
	const struct checkpoint *c;
	struct check k; /* reads files */
	struct image image;
	struct json *header, *config;
	uint64_t data; /* where tensors begin */
	unsigned seen;
};

/* A tensor of the header that has this type and shape; its bytes, or NULL. */
static const unsigned char *packed_bytes(struct packed *p, const char *name, const char *dtype, int ndim,
    const uint64_t *shape)
{
	const struct json *entry = json_get(p->header, name), *found = json_get(entry, "shape");
	const char *type = json_str(json_get(entry, "dtype"));
	bool good = CHECK(entry && type && strcmp(type, dtype) == 0) && CHECK(json_count(found) == (size_t)ndim);

	for (int i = 0; good && i < ndim; i++)
		good = CHECK(number(json_at(found, (size_t)i)) == (int64_t)shape[i]);
	if (!good) {
		printf("  packed tensor %s\n", name);
		return NULL;
	}
	p->seen++;
	return p->image.bytes + p->data + number(json_at(json_get(entry, "data_offsets"), 0));
}

static unsigned get_code(const struct module *m, const unsigned char *data, uint64_t first, uint64_t step,
    uint64_t index)
{
	unsigned code = 0;

	for (unsigned bit = 0; bit < m->bits; bit++) {
		const uint64_t at = place(m, index, bit), element = first + at / m->word_bits * step;

		code |= (data[element * m->word_bits / 8 + at % m->word_bits / 8] >> at % 8 & 1u) << bit;
	}
	return code;
}

/* Modules side by side: one, or those of a family. */
struct row {
	const char *name;
	const struct module *parts[PARTS_MAX];
	unsigned count;
	uint64_t out;
};

static void compare_codes(struct packed *p, const struct row *r)
{
	const struct module *m = r->parts[0];
	const uint64_t shape[] = {div_up(m->in * m->bits, m->word_bits), r->out};
	const unsigned char *data = packed_bytes(p, say("%s.qweight", r->name), word_dtype(m), 2, shape);
	uint64_t column = 0, wrong = 0;

	for (unsigned i = 0; data && i < r->count; column += r->parts[i++]->out)
		for (uint64_t k = 0; k < m->in; k++)
			for (uint64_t n = 0; n < r->parts[i]->out; n++)
				wrong += get_code(m, data, column + n, r->out, k) !=
				         r->parts[i]->codes[k * r->parts[i]->out + n];
	CHECK(wrong == 0);
}

static void compare_zeros(struct packed *p, const struct row *r)
{
	const struct module *m = r->parts[0];
	const bool less = !gptq_of(p->c)->v2 && !m->planar;
	const uint64_t words = div_up(r->out * m->bits, m->word_bits), shape[] = {m->groups, words};
	const unsigned char *stored = packed_bytes(p, say("%s.qzeros", r->name), word_dtype(m), 2, shape);
	unsigned char *data = take(m->groups * words * m->word_bits / 8);
	uint64_t column = 0, wrong = 0, ones = 0;

	if (!stored)
		return;
	for (unsigned at = 0; less && m->bits != 3 && at < m->word_bits; at += m->bits)
		ones |= UINT64_C(1) << at;
	for (uint64_t i = 0; i < m->groups * words; i++)
		store(data + i * m->word_bits / 8, load(stored + i * m->word_bits / 8, m->word_bits / 8) + ones,
		    m->word_bits / 8);
	for (unsigned i = 0; i < r->count; column += r->parts[i++]->out)
		for (uint64_t g = 0; g < m->groups; g++)
			for (uint64_t n = 0; n < r->parts[i]->out; n++) {
				const unsigned code = get_code(m, data, g * words, 1, column + n);

				wrong += (less && m->bits == 3 ? (code + 1) & 7 : code) !=
				         r->parts[i]->zeros[g * r->parts[i]->out + n];
			}
	CHECK(wrong == 0);
}

static void compare_scales(struct packed *p, const struct row *r)
{
	const struct module *m = r->parts[0];
	const unsigned bytes = format_bytes(m->scale_format);
	const uint64_t shape[] = {m->groups, r->out};
	const unsigned char *data = packed_bytes(p, say("%s.scales", r->name), m->scale_format->name, 2, shape);
	uint64_t column = 0, wrong = 0;

	for (unsigned i = 0; data && i < r->count; column += r->parts[i++]->out)
		for (uint64_t g = 0; g < m->groups; g++)
			for (uint64_t n = 0; n < r->parts[i]->out; n++)
				wrong += load(data + (g * r->out + column + n) * bytes, bytes) !=
				         r->parts[i]->scales[g * r->parts[i]->out + n];
	CHECK(wrong == 0);
}

/* Present if one of the parts has it. */
static void compare_g_idx(struct packed *p, const struct row *r)
{
	const struct module *m = r->parts[0];
	const char *name = say("%s.g_idx", r->name);
	const unsigned char *data;
	bool stored = false;
	uint64_t wrong = 0;

	for (unsigned i = 0; i < r->count; i++)
		stored |= r->parts[i]->order != GROUPS_ABSENT;
	if (!CHECK(stored == (json_get(p->header, name) != NULL)) || !stored)
		return;
	data = packed_bytes(p, name, "I32", 1, &m->in);
	for (uint64_t k = 0; data && k < m->in; k++)
		wrong += load(data + k * 4, 4) != m->group_of[k];
	CHECK(wrong == 0);
}

/* The configuration of a module, by a pattern for its name or for all. */
static const struct json *said(const struct packed *p, const char *name, const char *key)
{
	char pattern[300] = "+:^", *to = pattern + 3;
	const struct json *own;

	for (; *name; *to++ = *name++)
		if (strchr(".\\+*?[](){}^$|", *name))
			*to++ = '\\';
	strcpy(to, "$");
	own = json_get(json_get(json_get(p->config, "dynamic"), pattern), key);
	return own ? own : json_get(p->config, key);
}

static void compare_config(struct packed *p, const struct row *r)
{
	const struct module *m = r->parts[0];
	const char *word = json_str(said(p, r->name, "pack_dtype"));
	bool middle = true;

	for (unsigned i = 0; i < r->count; i++)
		for (uint64_t z = 0; z < m->groups * r->parts[i]->out; z++)
			middle &= r->parts[i]->zeros[z] == 1u << (m->bits - 1);
	CHECK(number(said(p, r->name, "bits")) == m->bits);
	/* Groups of any size have no size. */
	CHECK(m->order == GROUPS_ARBITRARY ||
	      div_up(m->in, whole_size(number(said(p, r->name, "group_size")), m->in)) == m->groups);
	CHECK(word && strcmp(word, say("int%u", m->word_bits)) == 0);
	CHECK(!json_bool(said(p, r->name, "sym"), true) || middle || gptq_of(p->c)->sym);
}

static void compare_row(struct packed *p, const struct row *r)
{
	const unsigned failed = test_failed;

	compare_codes(p, r);
	compare_zeros(p, r);
	compare_scales(p, r);
	compare_g_idx(p, r);
	compare_config(p, r);
	if (test_failed > failed)
		printf("  packed module %s\n", r->name);
}

/* An unquantized tensor: as stored, or those of the parts in sequence. */
static void compare_plain(struct packed *p, const struct shown *t)
{
	const struct stored *first = t->stored;
	uint64_t shape[3], at = 0;
	const unsigned char *data;

	for (unsigned i = 0; i < t->part_count; i++)
		first = first ? first : t->parts[i].stored;
	memcpy(shape, first->shape, sizeof(shape));
	for (unsigned i = 0; i < t->part_count; i++)
		shape[0] = (i ? shape[0] : 0) + (t->parts[i].stored ? t->parts[i].stored->shape[0] : t->parts[i].zeros);
	data = packed_bytes(p, t->name, first->dtype, first->ndim, shape);
	if (data && !t->part_count)
		CHECK(memcmp(data, first->data, first->bytes) == 0);
	for (unsigned i = 0; data && i < t->part_count; i++) {
		const struct shown *part = &t->parts[i];
		const uint64_t bytes =
		    part->stored ? part->stored->bytes : part->zeros * format_bytes(find_format(first->dtype));
		const unsigned char *zeros = take(bytes);

		CHECK(memcmp(data + at, part->stored ? part->stored->data : zeros, bytes) == 0);
		at += bytes;
	}
}

/* True if the parts make a single module. */
static bool alike(const struct module *a, const struct module *b)
{
	return a->bits == b->bits && a->word_bits == b->word_bits && a->scale_format == b->scale_format &&
	       a->groups == b->groups && memcmp(a->group_of, b->group_of, a->in * sizeof(*a->group_of)) == 0;
}

static bool is_packed_joined(const struct family_of_parts *f)
{
	const struct part *first = &f->parts[0];
	const struct stored *bias = NULL;

	if (!have_one_width(f))
		return false;
	for (unsigned i = 0; i < f->count; i++) {
		const struct part *p = &f->parts[i];

		if (!first->weight != !p->weight)
			return false;
		if (p->weight ? !alike(module_of(first->weight), module_of(p->weight))
			      : strcmp(first->stored->dtype, p->stored->dtype) != 0)
			return false;
		if (bias && p->bias && strcmp(bias->dtype, p->bias->dtype) != 0)
			return false;
		bias = bias ? bias : p->bias;
	}
	return true;
}

static const struct family_of_parts *family_of(const struct checkpoint *c, const char *name)
{
	for (unsigned i = 0; i < c->family_count; i++)
		for (unsigned k = 0; k < c->families[i].count; k++)
			if (strncmp(name, c->families[i].parts[k].name, strlen(c->families[i].parts[k].name)) == 0)
				return &c->families[i];
	return NULL;
}

static void compare_family(struct packed *p, const struct family_of_parts *f)
{
	struct row row = {.name = f->joined, .count = f->count};

	for (unsigned i = 0; i < f->count && f->parts[i].weight; i++) {
		row.parts[i] = module_of(f->parts[i].weight);
		row.out += row.parts[i]->out;
	}
	if (row.out)
		compare_row(p, &row);
	/* The bias, and the weight if it is not quantized, are as in the fused views. */
	for (unsigned i = 0; i < p->c->fused_count; i++) {
		const struct shown *t = &p->c->fused[i];

		if (t->part_count && strncmp(t->name, f->joined, strlen(f->joined)) == 0 && !t->parts[0].weight)
			compare_plain(p, t);
	}
}

static void compare_packed(struct packed *p)
{
	for (unsigned i = 0; i < p->c->family_count; i++)
		if (is_packed_joined(&p->c->families[i]))
			compare_family(p, &p->c->families[i]);
	for (unsigned i = 0; i < p->c->shown_count; i++) {
		const struct shown *t = &p->c->shown[i];
		const struct family_of_parts *f = family_of(p->c, t->name);

		if (f && is_packed_joined(f))
			continue;
		if (t->weight) {
			const struct module *m = module_of(t->weight);

			compare_row(p, &(struct row){m->name, {m}, 1, m->out});
		} else {
			compare_plain(p, t);
		}
	}
	/* Nothing else is left but __metadata__. */
	CHECK(json_count(p->header) == p->seen + 1);
}

void check_packed(const struct checkpoint *c, struct gptqfs *m, uint64_t dir)
{
	struct packed p = {.c = c, .k = {.c = c, .m = m, .dir = dir}};
	struct gptqfs_error err;
	struct json_text text;

	p.config = read_json(&p.k, "quantize_config.json");
	if (CHECK(p.config) && CHECK(image_open(&p.image, m, dir, "model.safetensors"))) {
		p.data = read_part(&p.image, 0, p.image.size) ? 8 + load(p.image.bytes, 8) : 8;
		text = (struct json_text){(char *)p.image.bytes + 8, p.data - 8};
		if (CHECK(p.data % 4096 == 0) && CHECK(json_parse(text, "packed", &p.header, &err) == 0))
			compare_packed(&p);
		image_close(&p.image);
	}
	json_free(p.header);
	json_free(p.config);
}

/* ---- the packed view as a checkpoint ---- */

static void copy_file(const struct checkpoint *to, struct gptqfs *m, uint64_t dir, const char *name)
{
	struct image image;
	int fd;

	if (!CHECK(image_open(&image, m, dir, name)))
		return;
	if (CHECK(read_part(&image, 0, image.size))) {
		fd = create(to, name);
		write_at(fd, image.bytes, image.size, 0);
		close(fd);
	}
	image_close(&image);
}

/* Written to disk and opened, it has the same fused views as the original model. */
void check_packed_again(const struct checkpoint *c, struct gptqfs *m, uint64_t dir)
{
	static struct checkpoint copy;
	struct gptqfs_options options = {.cpu = "c", .uid = (uid_t)-1, .gid = (gid_t)-1};
	struct gptqfs_dirent entry;
	struct gptqfs_error err;
	struct gptqfs *again;

	copy = *c;
	memcpy(copy.dir + strlen(c->dir), "/again", sizeof("/again"));
	if (mkdir(copy.dir, 0777) < 0)
		write_failed(copy.dir);
	for (uint64_t i = 2; gptqfs_readdir(m, dir, i, &entry) == 0; i++)
		copy_file(&copy, m, dir, entry.name);
	if (!CHECK(gptqfs_open(copy.dir, &options, &again, &err) == 0)) {
		printf("  packed: %s\n", err.text);
		return;
	}
	for (size_t i = 0; i < 3; i++)
		check_view(&copy, again, formats[i], true, false);
	gptqfs_close(again);
}
