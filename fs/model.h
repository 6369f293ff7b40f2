/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_FS_MODEL_H
#define GPTQFS_FS_MODEL_H

#include "exit.h"
#include "options.h"

/* Opens the model of the command line; if it is no directory, looks for it in the Hugging Face cache. */

/*
 * Returns EXIT_OK and in *model the model, which the caller closes; or another code after a message, and *model is
 * NULL. May replace o->source.
 */
enum exit_code model_open(struct options *o, struct gptqfs **model);

/*
 * The same for a model to compare with, which need not be quantized. Options that change its weights are not for it.
 */
enum exit_code model_open_other(const struct options *o, const char *dir, struct gptqfs **model);

/* Returns the exit code for a failure of gptqfs_open, gptqfs_check, gptqfs_hashes or gptqfs_stats. */
enum exit_code model_exit_code(int rc);

#endif
