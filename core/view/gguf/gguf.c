/* SPDX-License-Identifier: MIT */

/*
 * A model in one file for llama.cpp and programs based on it. Quantized weights become blocks with the same values if a
 * GGUF type can hold them; everything else has the type of the checkpoint. All zeros and the tokenizer are read when
 * the file is first looked up.
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/err.h"
#include "tensor/architecture.h"
#include "tensor/dense.h"
#include "tree/transpose.h"
#include "view/gguf/kv.h"
#include "view/gguf/place.h"
#include "view/gguf/rows.h"
#include "view/gguf/types.h"
#include "view/gguf/vocab.h"
#include "view/view.h"

/* The file's st_blksize: llama.cpp rounds direct I/O to it, and tensors may be small. */
#define BLOCK 4096

#define FILE_TYPE_F16 1

struct gguf_view {
	struct late late; /* first */
	struct plan p;
	const char *name;             /* of the model */
	struct layout *file, *readme; /* planned late */
	uint32_t ino;                 /* of the file */
};

/* ---- types ---- */

/* A tensor of the file: in blocks, or of a float type. */
struct shaped {
	enum gguf_block block;       /* or GGUF_BLOCKS: of a float type */
	enum dtype dtype;            /* that, or the type of a block joined with floats */
	struct gguf_choice *choices; /* [parts] of a matrix */
	uint64_t offset, bytes;
};

/* The file while being planned. */
struct plan_file {
	struct gguf_view *v;
	struct gguf_hparams h;
	struct gguf_vocab vocab;
	struct gguf_tensors ts;
	struct shaped *shaped;             /* [ts.count] */
	uint64_t weights[GGUF_BLOCKS + 1]; /* of quantized modules, by block; the last is F16 */
	size_t modules[GGUF_BLOCKS + 1];
	uint64_t units;       /* scales of the module that has most */
	const uint16_t *unit; /* [units] arena */
	struct text inexact;  /* lines of README: modules that fit no block */
	struct gptqfs_error *err;
};

/* Returns the narrowest type that holds both. */
static struct shaped wider(struct shaped a, struct shaped b)
{
	if (a.block != GGUF_BLOCKS && b.block != GGUF_BLOCKS) {
		if (a.block == b.block)
			return a;
		a.block = a.block > b.block ? a.block : b.block;
		return a;
	}
	if (a.dtype != b.dtype)
		a.dtype = DTYPE_F32;
	a.block = GGUF_BLOCKS;
	return a;
}

/* A quantized weight that shares its tensor with a float becomes F16, or F32 beside BF16. */
static int shape_encoded(struct plan_file *f, const struct tensor *t, struct gguf_choice *choice)
{
	struct encoded *e = tensor_encoded(t);

	*choice = (struct gguf_choice){.block = GGUF_BLOCKS, .reason = "an adapter is merged into it"};
	if (tensor_base(t) == t && gguf_choose(e, f->v->p.gguf_q2, choice))
		return err_set(f->err, -EIO, "module %.200s cannot be read", e->module);
	f->units = choice->scales > f->units ? choice->scales : f->units;
	if (choice->reason)
		coded_remark(&f->inexact, e, choice->reason);
	return 0;
}

static enum dtype dtype_kept(const struct tensor *t)
{
	const enum dtype stored = tensor_stored_dtype(tensor_base(t));

	/* F8 without a scale is exact in F16. */
	return stored < DTYPE_VIEWS ? stored : stored == DTYPE_F64 ? DTYPE_F32 : DTYPE_F16;
}

static int shape_matrix(struct plan_file *f, const struct gguf_tensor *t, struct shaped *out)
{
	struct gguf_choice *choices = arena_alloc(&f->ts.arena, t->count, sizeof(*choices));
	uint64_t quantized = 0;
	size_t modules = 0;
	int rc = choices ? 0 : err_memory(f->err);

	for (size_t i = 0; rc == 0 && i < t->count; i++) {
		struct encoded *e = tensor_encoded(t->parts[i]);
		struct shaped one = {.block = GGUF_BLOCKS, .dtype = dtype_kept(t->parts[i])};

		if (e) {
			rc = shape_encoded(f, t->parts[i], &choices[i]);
			one = (struct shaped){.block = choices[i].block, .dtype = DTYPE_F16};
		}
		quantized += e ? tensor_elements(t->parts[i]) : 0;
		modules += e != NULL;
		*out = i ? wider(*out, one) : one;
	}
	f->weights[out->block] += quantized;
	f->modules[out->block] += modules;
	out->choices = choices;
	return rc;
}

static uint64_t bytes_of_rows(const struct gguf_tensor *t, const struct shaped *s)
{
	const struct gguf_type type = gguf_type_of(s->block, s->dtype);

	return t->shape[2] * t->shape[1] * (t->shape[0] / type.weights) * type.bytes;
}

static uint64_t padding(uint64_t bytes)
{
	return (GGUF_ALIGN - bytes % GGUF_ALIGN) % GGUF_ALIGN;
}

static int shape_all(struct plan_file *f)
{
	uint64_t at = 0;
	int rc = 0;

	f->shaped = calloc(f->ts.count, sizeof(*f->shaped));
	if (!f->shaped)
		return err_memory(f->err);
	for (size_t i = 0; rc == 0 && i < f->ts.count; i++) {
		const struct gguf_tensor *t = &f->ts.list[i];
		struct shaped *s = &f->shaped[i];

		*s = (struct shaped){.block = GGUF_BLOCKS, .dtype = DTYPE_F32};
		if (t->kind == GGUF_MATRIX)
			rc = shape_matrix(f, t, s);
		s->offset = at;
		s->bytes = bytes_of_rows(t, s);
		at += s->bytes + padding(s->bytes);
	}
	return rc;
}

/* The most common type of quantized weights; of two, the wider one. */
static uint32_t file_type(const struct plan_file *f)
{
	enum gguf_block most = GGUF_BLOCKS;

	for (int b = GGUF_BLOCKS - 1; b >= 0; b--)
		if (f->weights[b] > f->weights[most])
			most = (enum gguf_block)b;
	return most == GGUF_BLOCKS ? FILE_TYPE_F16 : gguf_layout(most)->file_type;
}

/* ---- the header ---- */

/* If the name of a model says Phi-3, llama.cpp looks up four tokens and lets special tokens strip spaces. */
static const char *model_name(const struct plan_file *f)
{
	static const char *const tokens[] = {"</s>", "<unk>", "<s>", "<|endoftext|>"};
	const char *name = f->v->name;
	const bool named = strcasestr(name, "phi-3") || strcasestr(name, "phi3");
	bool all = true;

	for (size_t i = 0; i < sizeof(tokens) / sizeof(*tokens); i++)
		all &= f->v->p.gguf_kv ? gguf_kv_has(f->v->p.gguf_kv, tokens[i]) : gguf_vocab_has(&f->vocab, tokens[i]);
	if (named && !all)
		return "model";
	if (!named && all && strcmp(f->h.arch->name, "phi3") == 0)
		return arena_printf(&f->v->p.c->arena, "phi-3 %s", name);
	return name;
}

static void put_info(const struct gguf_tensor *t, const struct shaped *s, struct text *out)
{
	gguf_put_string(out, t->name, strlen(t->name));
	gguf_put_u32(out, t->ndim);
	for (int i = 0; i < t->ndim; i++)
		gguf_put_u64(out, t->shape[i]);
	gguf_put_u32(out, gguf_type_of(s->block, s->dtype).id);
	gguf_put_u64(out, s->offset);
}

static int read_tokenizer(struct plan_file *f)
{
	const struct gguf_kv *kv = f->v->p.gguf_kv;

	if (!kv)
		return gguf_vocab_read(&f->v->p, &f->h, &f->vocab, f->err);
	if (kv->token_count != f->h.vocabulary)
		return err_set(f->err, -ENOTSUP, "the file of gguf_kv= has %llu tokens, the model %u",
		    (unsigned long long)kv->token_count, f->h.vocabulary);
	return 0;
}

/* The tokenizer of the model, or of a file that was given in its place. */
static void put_tokenizer(const struct plan_file *f, struct gguf_keys *k)
{
	const struct gguf_kv *kv = f->v->p.gguf_kv;

	if (!kv) {
		gguf_vocab_put(&f->vocab, &f->h, k);
		return;
	}
	text_put(&k->out, kv->keys, kv->len);
	k->count += kv->count;
}

static int put_header(struct plan_file *f, struct text *out)
{
	static const char zeros[GGUF_ALIGN];
	const char *name = model_name(f);
	struct gguf_keys k;
	int rc;

	gguf_begin(&k, f->ts.count);
	rc = name ? gguf_hparams_put(&f->h, name, file_type(f), &k, f->err) : err_memory(f->err);
	if (rc == 0) {
		put_tokenizer(f, &k);
		gguf_end(&k);
	}
	for (size_t i = 0; rc == 0 && i < f->ts.count; i++)
		put_info(&f->ts.list[i], &f->shaped[i], &k.out);
	text_put(&k.out, zeros, padding(k.out.len));
	*out = k.out;
	return rc == 0 && out->failed ? err_memory(f->err) : rc;
}

/* ---- the data ---- */

/* Makes a part of a tensor whose rows differ from those of a dense view. */
static int make_rows(const struct plan_file *f, const struct gguf_tensor *t, const struct shaped *s, size_t i,
    const struct generator **g)
{
	const struct plan *p = &f->v->p;
	const struct tensor *part = t->parts[i];
	const struct dense d = {p->c, p->kernels, s->dtype};
	int rc;

	if (s->block == GGUF_BLOCKS)
		rc = dense_rows(&d, part, g);
	else
		rc = gguf_block_rows(&(struct gguf_block_make){{tensor_encoded(part), p->kernels, s->choices[i].run,
								   s->choices[i].step, f->unit},
					 s->block},
		    &p->c->arena, g);
	if (rc == 0 && t->kind == GGUF_NORM && f->h.arch->plus_one)
		rc = gguf_plus_one_rows(*g, &p->c->arena, g);
	if (rc == 0 && t->head && t->kind == GGUF_BIAS)
		rc = transpose_make(&p->c->arena, &(struct transpose){{*g}, 1, false, (uint32_t)dtype_bytes(s->dtype)},
		    g);
	if (rc == 0 && t->head)
		rc = gguf_rope_rows(*g, t->head, &p->c->arena, g);
	return rc;
}

static bool is_dense(const struct plan_file *f, const struct gguf_tensor *t, const struct shaped *s)
{
	return s->block == GGUF_BLOCKS && !t->head && !(t->kind == GGUF_NORM && f->h.arch->plus_one);
}

static int append_part(const struct plan_file *f, const struct gguf_tensor *t, const struct shaped *s, size_t i,
    struct layout *layout)
{
	const struct dense d = {f->v->p.c, f->v->p.kernels, s->dtype};
	const struct generator *g;
	int rc;

	if (is_dense(f, t, s))
		return dense_append(&d, t->parts[i], layout);
	rc = make_rows(f, t, s, i, &g);
	if (rc == 0)
		layout_add_generator(layout, g);
	return rc;
}

static int append_tensor(const struct plan_file *f, size_t i, struct layout *layout)
{
	static const char zeros[GGUF_ALIGN];
	const struct gguf_tensor *t = &f->ts.list[i];
	int rc = t->count ? 0 : layout_keep_text(layout, &f->v->p.c->arena, &t->made);

	for (size_t k = 0; rc == 0 && k < t->count; k++)
		rc = append_part(f, t, &f->shaped[i], k, layout);
	layout_add_bytes(layout, zeros, padding(f->shaped[i].bytes));
	return rc;
}

static int lay_out(const struct plan_file *f, const struct text *header, struct layout *layout)
{
	struct arena *arena = &f->v->p.c->arena;
	size_t extents = 1;
	int rc;

	for (size_t i = 0; i < f->ts.count; i++)
		extents += (f->ts.list[i].count ? f->ts.list[i].count : 1) + 1;
	rc = layout_reserve(layout, arena, extents);
	if (rc == 0)
		rc = layout_keep_text(layout, arena, header);
	for (size_t i = 0; rc == 0 && i < f->ts.count; i++)
		rc = append_tensor(f, i, layout);
	layout->contents = NULL; /* it describes no module */
	layout->block = BLOCK;
	return rc ? err_memory(f->err) : 0;
}

/* ---- README ---- */

static void write_readme(const struct plan_file *f, struct text *out)
{
	text_string(out,
	    "The model in one file for llama.cpp and programs built on it, computed when it is read. Quantized weights\n"
	    "keep the checkpoint's values, in blocks of GGUF: nothing is quantized again.\n\n"
	    "Quantized modules by type:\n");
	for (int b = 0; b <= GGUF_BLOCKS; b++)
		if (f->modules[b])
			text_printf(out, "    %-5s %zu\n", gguf_type_of(b, DTYPE_F16).name, f->modules[b]);
	if (f->inexact.len) {
		text_string(out,
		    "\nNo block type is exact for these modules. They are F16, with the bits and the size of the fp16 view:\n");
		text_put(out, f->inexact.data, f->inexact.len);
	}
	if (f->h.warning) {
		text_string(out, "\n");
		text_string(out, f->h.warning);
		text_string(out, "\n");
	}
}

static int keep_summary(const struct plan_file *f)
{
	struct arena *arena = &f->v->p.c->arena;
	struct text line = {0};

	for (int b = 0; b <= GGUF_BLOCKS; b++)
		if (f->modules[b])
			text_printf(&line, "%s%s (%zu modules)", line.len ? ", " : "", gguf_type_of(b, DTYPE_F16).name,
			    f->modules[b]);
	f->v->late.summary = text_keep(&line, arena);
	f->v->late.remarks = text_keep(&f->inexact, arena);
	text_free(&line);
	return f->v->late.summary && f->v->late.remarks ? 0 : -ENOMEM;
}

/* ---- planning ---- */

static int plan_contents(struct plan_file *f, struct layout *layout)
{
	const struct plan *p = &f->v->p;
	struct text header = {0};
	int rc = gguf_hparams_read(p->c->config_json, &f->h, f->err);

	/* An adapter may add tokens with their own rows. */
	if (rc == 0 && p->lora && p->lora->vocabulary)
		f->h.vocabulary = (uint32_t)strtoul(p->lora->vocabulary, NULL, 10);
	f->h.untied = !architecture_ties_head(p->c->config_json, true) || (p->lora && p->lora->untied);
	if (rc == 0)
		rc = gguf_place_all(p->c, p->tensors, &f->h, &f->ts, f->err);
	if (rc == 0)
		rc = read_tokenizer(f);
	if (rc == 0)
		rc = shape_all(f);
	if (rc == 0) {
		f->unit = coded_units(&p->c->arena, f->units);
		rc = f->unit ? 0 : err_memory(f->err);
	}
	if (rc == 0)
		rc = put_header(f, &header);
	if (rc == 0)
		rc = lay_out(f, &header, layout);
	text_free(&header);
	return rc;
}

/* A plan that fails for lack of memory leaves nothing behind: it is made again. */
static int plan_late(struct late *late)
{
	struct gguf_view *v = (struct gguf_view *)late;
	struct gptqfs_error err;
	struct plan_file f = {.v = v, .err = &err};
	struct layout file = {0}, readme = {0};
	struct text text = {0};
	int rc = plan_contents(&f, &file);

	if (rc == 0) {
		write_readme(&f, &text);
		rc = layout_set_text(&readme, &v->p.c->arena, &text);
	}
	if (rc == 0)
		rc = keep_summary(&f);
	if (rc == -ENOTSUP || rc == -EBADMSG)
		rc = view_refuse(&v->p, late, &err, "There is no GGUF file of this model", &readme);
	if (rc == 0) {
		*v->file = v->late.refusal ? (struct layout){0} : file;
		*v->readme = readme;
		tree_count(v->p.tree, v->file->size + readme.size);
		if (v->late.refusal)
			tree_drop(v->p.tree, v->ino);
	}
	text_free(&text);
	text_free(&f.inexact);
	free(f.shaped);
	gguf_vocab_free(&f.vocab);
	gguf_tensors_free(&f.ts);
	return rc;
}

/* Names in config.json may be anything, but descriptions of views are ASCII. */
static int keep_reason(const struct plan *p, const struct gptqfs_error *err, const char **reason)
{
	struct text text = {0};

	text_ascii(&text, err->text);
	*reason = text_keep(&text, &p->c->arena);
	text_free(&text);
	return *reason ? 0 : -ENOMEM;
}

int view_gguf_absent(const struct plan *p, const char **reason)
{
	struct gptqfs_error err;
	struct gguf_hparams h;

	*reason = NULL;
	if (gguf_hparams_read(p->c->config_json, &h, &err))
		return keep_reason(p, &err, reason);
	if (!p->gguf_kv && !view_companion(p, "tokenizer.json") && !view_companion(p, "tokenizer.model"))
		*reason = "there is no tokenizer.json or tokenizer.model";
	return 0;
}

/*
 * Returns the name of the directory, or of the repository for an entry of the Hugging Face cache, whose path ends in
 * models--OWNER--NAME/snapshots/REVISION.
 */
static const char *name_of(const struct plan *p)
{
	const char *path = p->c->dir.path, *end = path + strlen(path), *name;
	const bool cached = p->c->dir.blobs >= 0;

	for (int i = 0; cached && i < 2; i++)
		while (*--end != '/')
			;
	name = end;
	while (name > path && name[-1] != '/')
		name--;
	for (const char *dashes = name; cached && dashes + 2 < end; dashes++)
		if (dashes[0] == '-' && dashes[1] == '-')
			name = dashes + 2;
	return name == end ? "model" : arena_strndup(&p->c->arena, name, (size_t)(end - name));
}

int view_gguf_plan(const struct plan *p, const struct view *view, uint32_t dir)
{
	struct arena *arena = &p->c->arena;
	struct gguf_view *v = arena_alloc(arena, 1, sizeof(*v));
	struct gguf_hparams h;
	const char *file;
	uint32_t readme;

	if (!v)
		return -ENOMEM;
	*v = (struct gguf_view){.late = {.plan = plan_late}, .p = *p, .name = name_of(p)};
	v->file = arena_alloc(arena, 1, sizeof(*v->file));
	v->readme = arena_alloc(arena, 1, sizeof(*v->readme));
	file = v->name ? arena_printf(arena, "%s.gguf", v->name) : NULL;
	if (!v->file || !v->readme || !file)
		return -ENOMEM;
	if (gguf_hparams_read(p->c->config_json, &h, NULL) == 0 && h.warning)
		checkpoint_warn_once(p->c, "%s", h.warning);
	v->ino = tree_add(p->tree, dir, file, v->file, &p->weights);
	readme = tree_add(p->tree, dir, "README", v->readme, &p->weights);
	if (!v->ino || !readme)
		return -ENOMEM;
	tree_set_late(p->tree, v->ino, &v->late);
	tree_set_late(p->tree, readme, &v->late);
	view_state(p, view)->late = &v->late;
	return 0;
}
