/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_QUANT_CONFIG_H
#define GPTQFS_QUANT_CONFIG_H

/*
 * What a configuration says of the quantization. Tensors are believed first: sizes and bits come from their shapes,
 * and most fields here are only checked against them. What only the configuration knows is the convention of zeros,
 * whether they are symmetric, and formats whose tensors look like another's.
 */

#include "base/arena.h"
#include "base/json.h"
#include "checkpoint/checkpoint.h"
#include "gptqfs.h"
#include "kernel/gptq.h"
#include "quant/gptq/overrides.h"

struct quant_config {
	const char *file;   /* that holds it, for messages; NULL if there is none */
	const char *method; /* quant_method or method, lower case; "" if absent */
	const char *format; /* checkpoint_format, else format; of AutoRound packing_format, else backend; lower case; ""
	                       if absent */
	const char *producer; /* "gptqmodel:7.7.0", "auto-round", or "" */
	int64_t bits;         /* 0 if absent */
	int64_t group_size;   /* -1 for one group per column, 0 if absent */
	bool has_sym, sym;    /* sym is true where it is absent, as readers assume */
	bool desc_act;
	struct overrides overrides; /* of single modules: dynamic, extra_config */
	enum zeros zeros;           /* ZEROS_V1 or ZEROS_V2 */
	bool planar;                /* format gptq_p: 3-bit words are planar too */
	const char *doubt;          /* what to warn of, or NULL */
	const char *filled;         /* the other file that says how zeros are meant, or NULL */
};

/*
 * Reads the object `json` of the file `name`. Strings go to the arena. Returns 0; -ENOTSUP, with the format's name,
 * for a quantization that is not GPTQ or cannot be undone by reading weights; -EBADMSG; -ENOMEM.
 */
struct quant_config_input {
	const char *file;
	const struct json *json;
};
int quant_config_read(const struct quant_config_input *in, struct arena *arena, struct quant_config *out,
    struct gptqfs_error *err);

/*
 * What all configurations of a checkpoint say together: quantize_config.json, quant_config.json,
 * quantization_config.json, then those inside config.json (subconfig.h): the first that says a thing counts, and a
 * warning names what others contradict.
 * out->file is NULL if there is none. Codes as quant_config_read.
 */
int quant_config_collect(struct checkpoint *c, struct quant_config *out, struct gptqfs_error *err);

/*
 * Gives `q` what it does not say itself and another configuration of the same model does. Returns the first field in
 * which the two contradict each other ("bits"), where `q` counts, or NULL.
 */
const char *quant_config_merge(struct quant_config *q, const struct quant_config *other);

#endif
