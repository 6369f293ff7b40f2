/* SPDX-License-Identifier: MIT */
#include "offline/model.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "serve/hub.h"
#include "log.h"
#include "mount/mountpoint.h"

enum exit_code model_exit_code(int rc)
{
	switch (rc) {
	case -EINVAL:
		return EXIT_USAGE;
	case -ENOENT:
	case -ENOTDIR:
	case -EACCES:
		return EXIT_NO_WEIGHTS;
	case -EBADMSG:
	case -ENOTSUP:
		return EXIT_BAD_WEIGHTS;
	default:
		return EXIT_SERVE;
	}
}

static void log_model(void *ctx, const char *line)
{
	(void)ctx;
	log_line("%s", line);
}

/* Every source file stays open; the usual soft limit of 1024 descriptors is too low for large models. */
static void raise_file_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
}

enum exit_code model_find_source(char **source)
{
	char *entry;

	if (access(*source, F_OK) == 0 || errno != ENOENT || !hub_is_name(*source))
		return EXIT_OK;
	entry = hub_entry(*source);
	if (!entry) {
		log_line("out of memory");
		return EXIT_SERVE;
	}
	if (access(entry, F_OK) < 0 && errno == ENOENT) {
		log_line(
		    "%s: no such directory, and not in the Hugging Face cache (%s); download it with: hf download %s",
		    *source, entry, *source);
		free(entry);
		return EXIT_NO_WEIGHTS;
	}
	free(*source);
	*source = entry;
	return EXIT_OK;
}

enum exit_code model_find(struct options *o)
{
	enum exit_code code;

	raise_file_limit();
	o->holds_model = o->mountpoint && mountpoint_holds_model(o->mountpoint);
	code = model_find_source(&o->source);
	return code == EXIT_OK && o->against ? model_find_source(&o->against) : code;
}

enum exit_code model_open(struct options *o, struct gptqfs **model)
{
	struct gptqfs_error err;
	enum exit_code code;
	int rc;

	*model = NULL;
	o->model.log = log_model;
	rc = gptqfs_open(o->source, &o->model, model, &err);
	if (rc == 0)
		return EXIT_OK;
	log_line("%s", err.text);
	code = model_exit_code(rc);
	if (code == EXIT_NO_WEIGHTS && o->holds_model)
		log_line("%s holds a model, and MODEL_DIR comes first; did you mean: gptqfs '%s' '%s'", o->mountpoint,
		    o->mountpoint, o->source);
	return code;
}

enum exit_code model_open_other(const struct options *o, struct gptqfs **model)
{
	struct gptqfs_options options = GPTQFS_OPTIONS;
	struct gptqfs_error err;
	int rc;

	*model = NULL;
	options.view = "fp32";
	options.unquantized = true;
	options.cpu = o->model.cpu;
	options.zeros = o->model.zeros;
	options.follow_symlinks = o->model.follow_symlinks;
	options.log = log_model;
	rc = gptqfs_open(o->against, &options, model, &err);
	if (rc == 0)
		return EXIT_OK;
	log_line("%s", err.text);
	return model_exit_code(rc);
}
