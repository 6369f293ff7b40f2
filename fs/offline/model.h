/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_FS_MODEL_H
#define GPTQFS_FS_MODEL_H

#include "exit.h"
#include "options.h"

/* Opens the model of the command line; if it is not a directory, looks for it in the Hugging Face cache. */

/* Replaces a name with its path in the cache. Returns EXIT_OK, or another code after a message. */
enum exit_code model_find_source(char **source);

/*
 * Does what needs more rights than reading models does: finds their directories and raises the limit of open files. May
 * replace o->source and o->against. Returns EXIT_OK, or another code after a message.
 */
enum exit_code model_find(struct options *o);

/*
 * Returns EXIT_OK and in *model the model, which the caller closes; or another code after a message, and *model is
 * NULL. model_find must have succeeded.
 */
enum exit_code model_open(struct options *o, struct gptqfs **model);

/* The same for the model o->against, which need not be quantized. Options that change weights do not apply to it. */
enum exit_code model_open_other(const struct options *o, struct gptqfs **model);

/* Returns the exit code for a failure of gptqfs_open, gptqfs_check, gptqfs_hashes or gptqfs_stats. */
enum exit_code model_exit_code(int rc);

#endif
