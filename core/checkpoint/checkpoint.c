/* SPDX-License-Identifier: MIT */
#include "checkpoint/checkpoint.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "checkpoint/companion.h"
#include "checkpoint/header.h"
#include "checkpoint/index.h"
#include "checkpoint/numbered.h"
#include "file/pages.h"
#include "file/rights.h"

static void add_warning(struct checkpoint *c, const char *text)
{
	if (c->warning_count == c->warning_room) {
		size_t room = c->warning_room * 2 + 16;
		const char **grown = arena_alloc(&c->arena, room, sizeof(*grown));

		if (!grown)
			return;
		if (c->warning_count)
			memcpy(grown, c->warnings, c->warning_count * sizeof(*grown));
		c->warnings = grown;
		c->warning_room = room;
	}
	c->warnings[c->warning_count] = arena_strndup(&c->arena, text, strlen(text));
	if (c->warnings[c->warning_count])
		c->warning_count++;
}

static void format_warning(struct gptqfs_error *line, const char *fmt, va_list args)
{
	char text[1024];

	vsnprintf(text, sizeof(text), fmt, args);
	err_set(line, 0, "%s", text);
}

/*
 * Plans of a model may take this much memory plus the size of its shards on disk: more than any real model needs, but
 * too little for a small file whose header lists half a million tensors.
 */
#define ARENA_FREE ((size_t)128 << 20)

void checkpoint_warn(struct checkpoint *c, const char *fmt, ...)
{
	struct gptqfs_error line;
	va_list args;

	va_start(args, fmt);
	format_warning(&line, fmt, args);
	va_end(args);
	add_warning(c, line.text);
}

void checkpoint_warn_once(struct checkpoint *c, const char *fmt, ...)
{
	struct gptqfs_error line;
	va_list args;

	va_start(args, fmt);
	format_warning(&line, fmt, args);
	va_end(args);
	for (size_t i = 0; i < c->warning_count; i++)
		if (strcmp(c->warnings[i], line.text) == 0)
			return;
	add_warning(c, line.text);
}

/* ---- one shard ---- */

/*
 * Detects incomplete files: open for writing, or with a hole, which interrupted downloads leave if they write in
 * several places. The zeros of a hole would pass for weights.
 */
static void warn_of_state(struct checkpoint *c, const struct source_file *f)
{
	const off_t hole = lseek(f->fd, 0, SEEK_HOLE);

	if (source_file_has_writer(f))
		checkpoint_warn(c,
		    "%.500s: open for writing elsewhere; what is written through a memory map may not be noticed",
		    f->name);
	if (hole >= 0 && hole < f->stat.st_size)
		checkpoint_warn(c,
		    "%.500s: nothing was ever written from byte %lld on, which reads as zeros (an interrupted download?); "
		    "compare the file with the original",
		    f->name, (long long)hole);
}

static int open_shard(struct checkpoint *c, const char *name, struct safetensors *out, struct gptqfs_error *err)
{
	struct source_file *f = &c->shards[c->shard_count];
	int rc = source_file_open(&c->dir, name, f, err);

	if (rc == -ENOENT)
		return err_set(err, -EBADMSG,
		    "%.1000s: a link to a file that is not there; finish the download (in %s)", name, c->dir.path);
	if (rc)
		return rc == -ELOOP ? -EBADMSG : rc;
	c->shard_count++;
	c->disk_bytes += (uint64_t)f->stat.st_blocks * 512;
	c->arena.limit = ARENA_FREE + (size_t)c->disk_bytes;
	/* Files computed from it are at the top of the mount, wherever the shard is. */
	rc = rights_reach(&f->stat, f->fd, c->dir.path, err);
	if (rc == 0)
		rc = header_read(f, &c->arena, out, err);
	if (rc == 0)
		warn_of_state(c, f);
	return rc ? rc : source_file_map(f, err);
}

/* ---- all shards ---- */

static int checkpoint_by_name(const void *a, const void *b)
{
	return strcmp(((const struct st_tensor *)a)->name, ((const struct st_tensor *)b)->name);
}

/* Adds one warning for all `count` tensors that index and shard disagree on, of which `first` is one. */
static void warn_of_index(struct checkpoint *c, uint32_t shard, const char *first, size_t count, const char *what)
{
	if (count == 1)
		checkpoint_warn(c, "%.500s: tensor %.500s %s", c->shards[shard].name, first, what);
	else if (count)
		checkpoint_warn(c, "%.500s: %zu tensors, of which %.500s is one: each %s", c->shards[shard].name, count,
		    first, what);
}

/*
 * Adds the tensors of a shard, except those that the index places in another one. Tensors unknown to the index are
 * added: transformers reads everything in a listed file.
 */
static int checkpoint_add_tensors(struct checkpoint *c, const struct safetensors *st, const struct index *index,
    struct gptqfs_error *err)
{
	const uint32_t shard = (uint32_t)(c->shard_count - 1);
	struct st_tensor *all = realloc(c->tensors, (c->tensor_count + st->count + 1) * sizeof(*all));
	const char *unlisted = NULL, *misplaced = NULL;
	size_t unlisted_count = 0, misplaced_count = 0;

	if (!all)
		return err_memory(err);
	c->tensors = all;
	for (size_t i = 0; i < st->count; i++) {
		const char *name = st->tensors[i].name;
		const int64_t place = index ? index_find(index, name) : (int64_t)shard;

		if (place >= 0 && place != (int64_t)shard) {
			misplaced = misplaced_count++ ? misplaced : name;
			continue;
		}
		if (place < 0)
			unlisted = unlisted_count++ ? unlisted : name;
		all[c->tensor_count] = st->tensors[i];
		all[c->tensor_count++].shard = shard;
	}
	warn_of_index(c, shard, misplaced, misplaced_count, "is placed in another file by the index; ignored here");
	warn_of_index(c, shard, unlisted, unlisted_count, "is not listed in the index; read all the same");
	return 0;
}

static int check_unique(struct checkpoint *c, struct gptqfs_error *err)
{
	qsort(c->tensors, c->tensor_count, sizeof(*c->tensors), checkpoint_by_name);
	for (size_t i = 1; i < c->tensor_count; i++) {
		const struct st_tensor *a = &c->tensors[i - 1], *b = &c->tensors[i];

		if (strcmp(a->name, b->name) == 0)
			return err_set(err, -EBADMSG,
			    "tensor %.200s is in %s and in %s, and no index says which to use; remove the file that "
			    "does not belong to the model",
			    a->name, c->shards[a->shard].name, c->shards[b->shard].name);
	}
	return 0;
}

static int open_shards(struct checkpoint *c, const char **names, size_t count, const struct index *index,
    struct gptqfs_error *err)
{
	struct safetensors st = {0};
	int rc = 0;

	c->shards = arena_alloc(&c->arena, count, sizeof(*c->shards));
	c->layers = arena_alloc(&c->arena, count, sizeof(*c->layers));
	if (!c->shards || !c->layers)
		return err_memory(err);
	for (size_t i = 0; rc == 0 && i < count; i++) {
		rc = open_shard(c, names[i], &st, err);
		c->layers[i] = st.layers;
		if (rc == 0)
			rc = checkpoint_add_tensors(c, &st, index, err);
		safetensors_free(&st);
	}
	return rc ? rc : check_unique(c, err);
}

/* ---- which files ---- */

static int read_index(struct checkpoint *c, const char *name, struct index *out, struct gptqfs_error *err)
{
	struct source_file f;
	char *text;
	int rc = source_file_open(&c->dir, name, &f, err);

	if (rc)
		return rc == -ELOOP ? -EBADMSG : rc;
	rc = source_file_slurp(&f, CHECKPOINT_INDEX_MAX, &text, err);
	if (rc == 0) {
		rc = header_check(&f, text, (size_t)f.stat.st_size, err);
		if (rc == 0)
			rc = index_parse((struct json_text){text, (size_t)f.stat.st_size}, name, &c->arena, out, err);
		free(text);
	}
	source_file_close(&f);
	return rc;
}

static int open_indexed(struct checkpoint *c, const char *name, struct gptqfs_error *err)
{
	struct index index;
	int rc = read_index(c, name, &index, err);

	if (rc)
		return rc;
	for (size_t i = 0; i < index.shard_count; i++)
		if (!listing_has(&c->listing, index.shards[i]))
			return err_set(err, -EBADMSG,
			    "shard %.500s, which %.500s names, is missing; fetch it (an interrupted download?) into %s",
			    index.shards[i], name, c->dir.path);
	rc = open_shards(c, index.shards, index.shard_count, &index, err);
	for (size_t i = 0; rc == 0 && i < index.count; i++)
		if (!checkpoint_find(c, index.entries[i].tensor))
			return err_set(err, -EBADMSG,
			    "tensor %.500s is not in %.500s, where %.500s puts it; fetch both files again (in %s)",
			    index.entries[i].tensor, index.shards[index.entries[i].shard], name, c->dir.path);
	return rc;
}

static int no_weights(const struct checkpoint *c, struct gptqfs_error *err)
{
	static const char *const pickles[] = {".bin", ".pt", ".pth"};
	const struct listing *l = &c->listing;

	for (size_t i = 0; i < l->count; i++)
		for (size_t s = 0; s < 3; s++)
			if (ends_with(l->names[i], pickles[s]))
				return err_set(err, -ENOENT,
				    "weights only as torch pickles (%.500s), which can run code when read; convert "
				    "them to safetensors first (transformers: save_pretrained), in %s",
				    l->names[i], c->dir.path);
	for (size_t i = 0; i < l->count; i++)
		if (ends_with(l->names[i], ".gguf"))
			return err_set(err, -ENOENT,
			    "%.500s is a GGUF file; gptqfs needs quantized weights in safetensors (in %s)", l->names[i],
			    c->dir.path);
	return err_set(err, -ENOENT,
	    "%.1500s: no *.safetensors here; give the directory that holds the model's weights", c->dir.path);
}

static const char *const quant_files[CHECKPOINT_QUANT_FILES] = {
    "quantize_config.json", "quant_config.json", "quantization_config.json"};

static bool is_config(const char *name)
{
	bool found = strcmp(name, "config.json") == 0;

	for (size_t i = 0; i < CHECKPOINT_QUANT_FILES; i++)
		found |= strcmp(name, quant_files[i]) == 0;
	return found;
}

/* True for weights in the top directory, except adapters. */
static bool checkpoint_is_weights(const char *name)
{
	return ends_with(name, ".safetensors") && strncmp(name, "adapter_", 8) != 0 && !strchr(name, '/');
}

/* Refuses a FIFO, socket or device in place of a file that determines the weights. */
static int refuse_odd(const struct checkpoint *c, struct gptqfs_error *err)
{
	for (size_t i = 0; i < c->listing.odd_count; i++) {
		const struct listing_odd *o = &c->listing.odd[i];

		if (o->file && !strchr(o->name, '/') &&
		    (checkpoint_is_weights(o->name) || ends_with(o->name, ".safetensors.index.json") ||
			is_config(o->name)))
			return err_set(err, -EBADMSG,
			    "%.1000s: %s; replace it with the model's file of that name (in %s)", o->name, o->why,
			    c->dir.path);
	}
	return 0;
}

static const char *find_index(const struct checkpoint *c)
{
	static const char usual[] = "model.safetensors.index.json";

	if (listing_has(&c->listing, usual))
		return usual;
	for (size_t i = 0; i < c->listing.count; i++)
		if (ends_with(c->listing.names[i], ".safetensors.index.json") && !strchr(c->listing.names[i], '/'))
			return c->listing.names[i];
	return NULL;
}

/* Without an index, the numbers in file names show whether a shard is missing. */
static int check_numbers(struct checkpoint *c, const char *name, struct gptqfs_error *err)
{
	const char *missing;

	if (numbered_neighbours(&c->listing, name, &c->arena, &missing))
		return err_memory(err);
	if (!missing)
		return 0;
	return err_set(err, -EBADMSG,
	    "shard %.500s is missing, according to %.500s; fetch it (an interrupted download?) into %s", missing, name,
	    c->dir.path);
}

static int open_weights(struct checkpoint *c, struct gptqfs_error *err)
{
	static const char usual[] = "model.safetensors";
	const char *index = find_index(c), **names;
	size_t count = 0;

	names = arena_alloc(&c->arena, c->listing.count, sizeof(*names));
	if (!names)
		return err_memory(err);
	for (size_t i = 0; i < c->listing.count; i++)
		if (checkpoint_is_weights(c->listing.names[i]))
			names[count++] = c->listing.names[i];
	if (listing_has(&c->listing, usual)) {
		if (count > 1)
			checkpoint_warn(c, "%s is used; %zu other safetensors files beside it are ignored", usual,
			    count - 1);
		names[0] = usual;
		return open_shards(c, names, 1, NULL, err);
	}
	if (index)
		return open_indexed(c, index, err);
	if (!count)
		return no_weights(c, err);
	for (size_t i = 0; i < count; i++) {
		int rc = check_numbers(c, names[i], err);

		if (rc)
			return rc;
	}
	if (count > 1)
		checkpoint_warn(c, "no index: all %zu safetensors files are read as one model", count);
	return open_shards(c, names, count, NULL, err);
}

/* ---- configuration ---- */

int checkpoint_read_object(struct source_file *f, char **text, struct json **json, struct gptqfs_error *err)
{
	const size_t len = (size_t)f->stat.st_size;
	int rc = source_file_slurp(f, CHECKPOINT_CONFIG_MAX, text, err);

	*json = NULL;
	if (rc == 0)
		rc = header_check(f, *text, len, err);
	if (rc == 0)
		rc = json_check_python((struct json_text){*text, len}, f->name, err);
	if (rc == 0)
		rc = json_parse((struct json_text){*text, len}, f->name, json, err);
	if (rc == 0 && !json_is_object(*json)) {
		json_free(*json);
		*json = NULL;
		return err_set(err, -EBADMSG, "%s: expected a JSON object; fetch the file again", f->name);
	}
	return rc;
}

static int read_quant_file(struct checkpoint *c, const char *name, struct gptqfs_error *err)
{
	struct checkpoint_json *out = &c->quant_files[c->quant_file_count];
	struct source_file f;
	char *text;
	int rc = source_file_open(&c->dir, name, &f, err);

	if (rc)
		return rc == -ELOOP ? -EBADMSG : rc;
	out->name = name;
	rc = checkpoint_read_object(&f, &text, &out->json, err);
	if (rc == 0)
		c->quant_file_count++;
	free(text);
	source_file_close(&f);
	return rc;
}

static int read_config(struct checkpoint *c, struct gptqfs_error *err)
{
	const size_t len = (size_t)c->config.stat.st_size;
	char *text;
	int rc = checkpoint_read_object(&c->config, &text, &c->config_json, err);

	if (rc == 0) {
		c->config_text = (struct json_text){arena_strndup(&c->arena, text, len), len};
		rc = c->config_text.at ? 0 : err_memory(err);
	}
	free(text);
	return rc;
}

static int read_configs(struct checkpoint *c, struct gptqfs_error *err)
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < CHECKPOINT_QUANT_FILES; i++)
		if (listing_has(&c->listing, quant_files[i]))
			rc = read_quant_file(c, quant_files[i], err);
	if (rc == 0 && !listing_has(&c->listing, "config.json"))
		checkpoint_warn(c, "no config.json: the views have none either, and most loaders need it");
	else if (rc == 0)
		rc = source_file_open(&c->dir, "config.json", &c->config, err);
	if (rc || c->config.fd < 0)
		return rc == -ELOOP ? -EBADMSG : rc;
	return read_config(c, err);
}

/* ---- what passes through ---- */

/* True if the model has a tensor of the same module (the name up to the last dot). */
static bool has_module(const struct checkpoint *c, const char *tensor)
{
	const char *dot = strrchr(tensor, '.');
	const size_t len = dot ? (size_t)(dot + 1 - tensor) : strlen(tensor) + 1;
	const size_t first = checkpoint_below(c, tensor, len);

	return first < c->tensor_count && strncmp(c->tensors[first].name, tensor, len) == 0;
}

/* Sets *is_copy if a file holds weights of this model, in whatever form. An unreadable header counts as no. */
static int find_copy(struct checkpoint *c, struct source_file *f, bool *is_copy)
{
	struct arena arena = {0};
	struct safetensors st = {0};
	int rc = header_read(f, &arena, &st, NULL);

	*is_copy = false;
	for (size_t i = 0; rc == 0 && i < st.count; i++)
		*is_copy |= has_module(c, st.tensors[i].name);
	safetensors_free(&st);
	arena_free(&arena);
	return rc == -EBADMSG || rc == -ENOTSUP ? 0 : rc;
}

/* Opens a companion to be shown, or hides it. */
static int open_companion(struct checkpoint *c, const char *name, enum companion kind, struct gptqfs_error *err)
{
	struct source_file *f = &c->companions[c->companion_count];
	bool hide = kind == COMPANION_HIDDEN;
	int rc = hide ? 0 : source_file_open(&c->dir, name, f, err);

	if (rc == 0 && kind == COMPANION_WEIGHTS) {
		rc = find_copy(c, f, &hide);
		if (rc || hide)
			source_file_close(f);
		if (rc)
			return rc == -ENOMEM ? err_memory(err) : err_system(err, -rc, "%s/%s", c->dir.path, name);
	}
	if (rc == 0 && hide)
		c->hidden[c->hidden_count++] = name;
	else if (rc == 0)
		c->companion_count++;
	else if (rc == -ELOOP)
		return -EBADMSG;
	else if (rc != -ENOENT && rc != -EACCES && rc != -EBADMSG)
		return rc;
	else
		checkpoint_warn(c, "%s; the views do not show it", err->text);
	return 0;
}

static int by_file_name(const void *key, const void *file)
{
	return strcmp(key, ((const struct source_file *)file)->name);
}

/* True if opening reads the file, or would have: it is then not reported as hidden. */
static bool is_read(const struct checkpoint *c, const char *name, const char *index)
{
	return is_config(name) || (index && strcmp(name, index) == 0) ||
	       bsearch(name, c->shards, c->shard_count, sizeof(*c->shards), by_file_name);
}

static int open_companions(struct checkpoint *c, struct gptqfs_error *err)
{
	const char *index = listing_has(&c->listing, "model.safetensors") ? NULL : find_index(c);
	int rc = 0;

	c->companions = arena_alloc(&c->arena, c->listing.count + 1, sizeof(*c->companions));
	c->hidden = arena_alloc(&c->arena, c->listing.count + 1, sizeof(*c->hidden));
	if (!c->companions || !c->hidden)
		return err_memory(err);
	for (size_t i = 0; rc == 0 && i < c->listing.count; i++) {
		const char *name = c->listing.names[i];

		if (!is_read(c, name, index))
			rc = open_companion(c, name, companion_of(name), err);
	}
	for (size_t i = 0; i < c->listing.odd_count; i++)
		checkpoint_warn(c, "%.500s: %s; the views do not show it", c->listing.odd[i].name,
		    c->listing.odd[i].why);
	return rc;
}

int checkpoint_open(struct checkpoint *c, const char *path, const struct checkpoint_options *options,
    struct gptqfs_error *err)
{
	int rc;

	*c = (struct checkpoint){.arena = {.limit = ARENA_FREE},
	    .dir = {.fd = -1, .blobs = -1},
	    .config = {.fd = -1},
	    .zeros = options->zeros,
	    .unquantized = options->unquantized};
	rc = source_dir_open(&c->dir, path, options->follow_symlinks, err);
	c->dir.log = options->log;
	if (rc == 0)
		rc = listing_read(&c->dir, &c->arena, &c->listing, err);
	if (rc == 0)
		rc = refuse_odd(c, err);
	/* Configurations first: they identify an unsupported format better than its tensors do. */
	if (rc == 0)
		rc = read_configs(c, err);
	if (rc == 0)
		rc = open_weights(c, err);
	return rc ? rc : open_companions(c, err);
}

void checkpoint_close(struct checkpoint *c)
{
	for (size_t i = 0; i < c->shard_count; i++)
		source_file_close(&c->shards[i]);
	for (size_t i = 0; i < c->companion_count; i++)
		source_file_close(&c->companions[i]);
	if (c->config.fd >= 0)
		source_file_close(&c->config);
	source_dir_close(&c->dir);
	for (size_t i = 0; i < c->quant_file_count; i++)
		json_free(c->quant_files[i].json);
	json_free(c->config_json);
	free(c->tensors);
	arena_free(&c->arena);
	*c = (struct checkpoint){.dir = {.fd = -1, .blobs = -1}, .config = {.fd = -1}};
}

const struct st_tensor *checkpoint_find(const struct checkpoint *c, const char *name)
{
	const struct st_tensor key = {.name = name};

	return c->tensor_count ? bsearch(&key, c->tensors, c->tensor_count, sizeof(key), checkpoint_by_name) : NULL;
}

size_t checkpoint_below(const struct checkpoint *c, const char *prefix, size_t len)
{
	size_t low = 0, high = c->tensor_count;

	while (low < high) {
		const size_t middle = low + (high - low) / 2;

		if (strncmp(c->tensors[middle].name, prefix, len) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

struct source_file *checkpoint_file(const struct checkpoint *c, const struct st_tensor *t)
{
	return t->shard < c->shard_count ? &c->shards[t->shard] : c->attached[t->shard - c->shard_count];
}

const unsigned char *checkpoint_data(const struct checkpoint *c, const struct st_tensor *t)
{
	return checkpoint_file(c, t)->map + t->begin;
}

int checkpoint_attach(struct checkpoint *c, struct source_file *f, uint32_t *shard)
{
	struct source_file **attached = arena_alloc(&c->arena, c->attached_count + 1, sizeof(*attached));

	if (!attached)
		return -ENOMEM;
	if (c->attached_count)
		memcpy(attached, c->attached, c->attached_count * sizeof(*attached));
	attached[c->attached_count] = f;
	c->attached = attached;
	*shard = (uint32_t)(c->shard_count + c->attached_count++);
	c->arena.limit += (size_t)f->stat.st_blocks * 512;
	return 0;
}
