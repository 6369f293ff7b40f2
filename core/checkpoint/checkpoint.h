/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_CHECKPOINT_H
#define GPTQFS_CHECKPOINT_H

/*
 * A model directory on disk: its shards, their tensors by name, its configuration, and the files that pass through.
 * Knows safetensors and JSON, but nothing about quantization.
 */

#include "base/arena.h"
#include "base/json.h"
#include "checkpoint/safetensors.h"
#include "file/listing.h"
#include "file/source_file.h"
#include "gptqfs.h"

/* Size limits of an index, which has a line per tensor, and of a configuration: real ones have kilobytes. */
#define CHECKPOINT_INDEX_MAX ((size_t)100 << 20)
#define CHECKPOINT_CONFIG_MAX ((size_t)4 << 20)

#define CHECKPOINT_QUANT_FILES 3

struct checkpoint_json {
	const char *name;  /* "quantize_config.json" */
	struct json *json; /* an object */
};

struct checkpoint {
	struct arena arena; /* everything below but descriptors */
	struct source_dir dir;
	struct listing listing;

	struct source_file *shards;
	const char **layers; /* [shard_count] see struct safetensors */
	size_t shard_count;
	uint64_t disk_bytes;           /* taken by the shards */
	struct source_file **attached; /* [attached_count] see checkpoint_attach; owned by the caller */
	size_t attached_count;
	struct st_tensor *tensors; /* of all shards, sorted by name, unique */
	size_t tensor_count;

	struct source_file config;    /* config.json; fd -1 if there is none */
	struct json_text config_text; /* its text, checked, an object; at == NULL if there is none */
	struct json *config_json;
	/* Other configurations that quantizers write, those present, in order of precedence. */
	struct checkpoint_json quant_files[CHECKPOINT_QUANT_FILES];
	size_t quant_file_count;

	struct source_file *companions; /* files that dense views show unchanged */
	size_t companion_count;
	const char **hidden; /* files that are neither shown nor read: see companion.h */
	size_t hidden_count;

	const char *zeros; /* of the options */
	bool unquantized;  /* likewise */

	const char **warnings; /* one line each */
	size_t warning_count, warning_room;
};

struct checkpoint_options {
	bool follow_symlinks;
	const char *zeros; /* zeros format where no file names it: "v1" or "v2"; NULL if unknown */
	struct log_sink log;
	bool unquantized; /* weights need not be quantized */
};

/*
 * Opens, maps and checks everything. Weights are, in this order, model.safetensors; those of an index
 * (model.safetensors.index.json, then any other); all other *.safetensors together. Configurations are only parsed:
 * their quantization settings are for families to read. Codes of gptqfs_open. Call checkpoint_close in any case.
 */
int checkpoint_open(struct checkpoint *c, const char *path, const struct checkpoint_options *options,
    struct gptqfs_error *err);
void checkpoint_close(struct checkpoint *c);

/*
 * Reads a configuration, which must be a JSON object. The caller frees *text in any case; it is NULL if it cannot be
 * read. Returns 0, -EBADMSG, -ENOMEM or what source_file_slurp does.
 */
int checkpoint_read_object(struct source_file *f, char **text, struct json **json, struct gptqfs_error *err);

/* Returns the tensor of that name, or NULL. */
const struct st_tensor *checkpoint_find(const struct checkpoint *c, const char *name);

/* Returns the index of the first tensor whose name is not before `len` bytes of `prefix`: of those that begin so. */
size_t checkpoint_below(const struct checkpoint *c, const char *prefix, size_t len);

/* Return the file of a tensor, and its bytes in the map (to be read under source_guard). */
struct source_file *checkpoint_file(const struct checkpoint *c, const struct st_tensor *t);
const unsigned char *checkpoint_data(const struct checkpoint *c, const struct st_tensor *t);

/*
 * Lets tensors of another file, which must be mapped and outlive the checkpoint, be served like those of a shard: sets
 * *shard to their st_tensor.shard. Raises the arena's limit by the file's size on disk. Returns 0 or -ENOMEM.
 */
int checkpoint_attach(struct checkpoint *c, struct source_file *f, uint32_t *shard);

/* Adds a warning for `info` and --check. Control characters become '?'. If out of memory, the warning is dropped. */
__attribute__((format(printf, 2, 3))) void checkpoint_warn(struct checkpoint *c, const char *fmt, ...);

/* The same, unless the checkpoint has this warning: for what several views find. */
__attribute__((format(printf, 2, 3))) void checkpoint_warn_once(struct checkpoint *c, const char *fmt, ...);

#endif
