/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_LORA_ADAPTER_H
#define GPTQFS_LORA_ADAPTER_H

/* An adapter on disk: its configuration, and its tensors by what their names say. */

#include "checkpoint/checkpoint.h"
#include "lora/names.h"
#include "lora/scale.h"

struct lora_request {
	const char *path;
	double scale;
};

/* Parses "DIR" or "DIR:SCALE". The caller frees *path. Returns 0, -EINVAL with a message, or -ENOMEM. */
int lora_request_parse(const char *text, char **path, double *scale, struct gptqfs_error *err);

struct lora_entry {
	struct lora_name name;
	struct st_tensor t; /* its shard is that of the attached file */
};

struct adapter {
	struct source_dir dir;
	struct listing listing;
	struct source_file file; /* of the tensors; mapped */
	struct json *config;
	const char *config_name; /* with the path, for messages */
	bool mlx;
	struct lora_scale scale;
	struct lora_entry *entries; /* [count] by module, depth and role; without ignored ones */
	size_t count;
	/* What merging did with it, for reports. */
	size_t modules, replaced, given_rows;
	uint32_t rank_least, rank_most;
	size_t other_ranks;  /* modules whose rank differs from the configuration's */
	const char *renamed; /* "model. as model.language_model.", or NULL */
};

/*
 * Opens and checks an adapter, and attaches it to a checkpoint, in whose arena everything lives. adapter_close must be
 * called in any case. Returns 0; -EBADMSG or -ENOTSUP for what cannot be merged; -ENOMEM, -EIO, -EMFILE.
 */
int adapter_open(struct adapter *a, struct checkpoint *c, const struct lora_request *request, struct gptqfs_error *err);
void adapter_close(struct adapter *a);

/*
 * Turns codes for what is missing or cannot be opened into -EBADMSG, as the adapter is at fault and not the model;
 * returns others as they are.
 */
int adapter_code(int rc);

/* Refuses a tensor of the adapter: `found` and `needed` complete "tensor X [8, 320] ...". Returns -EBADMSG. */
__attribute__((format(printf, 4, 5))) int adapter_refuse(const struct adapter *a, const struct lora_entry *e,
    struct gptqfs_error *err, const char *fmt, ...);

#endif
