/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_QUANT_CONFIG_H
#define GPTQFS_QUANT_CONFIG_H

/*
 * The quantization configuration. Tensors take precedence: sizes and bits come from their shapes, and most fields here
 * are only checked against them. Only the configuration knows the zeros format, symmetry, and formats whose tensors
 * look like another's.
 */

#include "base/arena.h"
#include "base/json.h"
#include "gptqfs.h"
#include "kernel/gptq/gptq.h"
#include "quant/family.h"
#include "quant/gptq/overrides.h"

struct quant_config {
	const char *file;   /* its file, for messages; NULL if there is none */
	const char *method; /* quant_method or method, lower case; "" if absent */
	/* checkpoint_format or format; for AutoRound packing_format or backend; lower case; "" if absent */
	const char *format;
	const char *producer; /* "gptqmodel:7.7.0", "auto-round", or "" */
	uint32_t gptqmodel;   /* version of GPTQModel if that is the producer: 70302 for 7.3.2; else 0 */
	int64_t bits;         /* 0 if absent */
	int64_t group_size;   /* -1 for one group per column, 0 if absent */
	bool has_sym, sym;    /* sym is true if absent, as in other readers */
	bool desc_act;
	struct overrides overrides; /* of single modules: dynamic, extra_config */
	enum zeros zeros;           /* ZEROS_V1 or ZEROS_V2 */
	bool planar;                /* format gptq_p: 3-bit words are planar too */
	const char *doubt;          /* a warning, or NULL */
	const char *filled;         /* the other file that gives the zeros format, or NULL */
};

struct quant_config_input {
	const char *file;
	const struct json *json;
};

/*
 * Reads the object `json` of the file `file`. Strings go to the arena. Returns 0; -ENOTSUP, with the format's name, for
 * a quantization that is not GPTQ or that weights alone cannot undo; -EBADMSG; -ENOMEM.
 */
int quant_config_read(const struct quant_config_input *in, struct arena *arena, struct quant_config *out,
    struct gptqfs_error *err);

/* True for a Conv1D by AutoRound, which stores the weight as that of a Linear, [out_features, in_features]. */
bool quant_method_turns_conv1d(const struct opening *o, const char *module);

/*
 * Refuses a configuration, of any format, that says that weights are rotated: an ordinary model does not rotate its
 * activations. Returns 0 or -ENOTSUP.
 */
int quant_config_refuse_rotation(const char *file, const struct json *config, struct gptqfs_error *err);

/*
 * Combines all configurations of a checkpoint: quantize_config.json, quant_config.json, quantization_config.json, then
 * those inside config.json (subconfig.h). The first one with a setting counts; a warning reports contradictions.
 * out->file is NULL if there is none. Codes of quant_config_read.
 */
int quant_config_collect(struct opening *o, struct quant_config *out);

/*
 * Fills in the settings that `q` lacks from another configuration of the same model. Returns the first field in which
 * the two differ ("bits"), and `q` wins, or NULL.
 */
const char *quant_config_merge(struct quant_config *q, const struct quant_config *other);

#endif
