/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_CHECKPOINT_H
#define GPTQFS_CHECKPOINT_H

/*
 * A model directory as it lies on disk: its shards, their tensors by name, its configuration, and the files that
 * pass through. Knows safetensors and JSON, and nothing of quantization.
 */

#include "base/arena.h"
#include "base/json.h"
#include "checkpoint/safetensors.h"
#include "file/listing.h"
#include "file/source_file.h"
#include "gptqfs.h"

/* Of an index, which has a line for each tensor, and of a configuration: real ones have kilobytes. */
#define CHECKPOINT_INDEX_MAX ((size_t)100 << 20)
#define CHECKPOINT_CONFIG_MAX ((size_t)4 << 20)

#define CHECKPOINT_QUANT_FILES 3

struct checkpoint_json {
	const char *name;  /* "quantize_config.json" */
	struct json *json; /* an object */
};

struct checkpoint {
	struct arena arena; /* all that follows, as far as it is not a descriptor */
	struct source_dir dir;
	struct listing listing;

	struct source_file *shards;
	size_t shard_count;
	uint64_t disk_bytes;       /* that the shards take */
	struct st_tensor *tensors; /* of all shards, by name, each once */
	size_t tensor_count;

	struct source_file config;    /* config.json; fd -1 if there is none */
	struct json_text config_text; /* its text, checked, an object; at == NULL if there is none */
	struct json *config_json;
	/* What quantizers write beside it, as far as it is there; first the one that counts most. */
	struct checkpoint_json quant_files[CHECKPOINT_QUANT_FILES];
	size_t quant_file_count;

	struct source_file *companions; /* files that dense views show as they are */
	size_t companion_count;
	const char **hidden; /* files that views do not show and that were not read either: see companion.h */
	size_t hidden_count;

	const char *zeros; /* of the options */

	const char **warnings; /* one line each */
	size_t warning_count, warning_room;
};

/*
 * Opens, maps and checks everything. Weights are looked for in this order: model.safetensors; an index
 * (model.safetensors.index.json, then any other); all other *.safetensors together. Configurations are only parsed:
 * what they say of the quantization is for the family to read. Codes as gptqfs_open. checkpoint_close must be called in
 * any case.
 */
struct checkpoint_options {
	bool follow_symlinks;
	const char *zeros; /* what zeros mean where no file says it: "v1" or "v2"; NULL if that is not known either */
	struct log_sink log;
};
int checkpoint_open(struct checkpoint *c, const char *path, const struct checkpoint_options *options,
    struct gptqfs_error *err);
void checkpoint_close(struct checkpoint *c);

/* The tensor with that name, or NULL. */
const struct st_tensor *checkpoint_find(const struct checkpoint *c, const char *name);

/* The file of a tensor, and its bytes in the map (for source_guard'ed reading). */
struct source_file *checkpoint_file(const struct checkpoint *c, const struct st_tensor *t);
const unsigned char *checkpoint_data(const struct checkpoint *c, const struct st_tensor *t);

/* Adds a warning for `info` and --check. Control characters become '?'. A warning that finds no memory is dropped. */
__attribute__((format(printf, 2, 3))) void checkpoint_warn(struct checkpoint *c, const char *fmt, ...);

/* The same, unless that warning is there: for what several views find. */
__attribute__((format(printf, 2, 3))) void checkpoint_warn_once(struct checkpoint *c, const char *fmt, ...);

#endif
