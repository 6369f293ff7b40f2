/* SPDX-License-Identifier: MIT */
#include "offline/look.h"

#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "exit.h"
#include "log.h"
#include "progress.h"
#include "offline/tar.h"

/* ---- finding ---- */

static int look_up(const struct gptqfs *model, const char *path, struct stat *st)
{
	char *copy = strdup(path), *rest = copy, *name;
	int rc = copy ? gptqfs_getattr(model, GPTQFS_ROOT, st) : -ENOMEM;

	while (rc == 0 && (name = strsep(&rest, "/")))
		if (*name)
			rc = gptqfs_lookup(model, st->st_ino, name, st);
	free(copy);
	return rc;
}

/* Logs why a path cannot be found. Returns the exit code. */
static int explain_path(const char *path, int rc)
{
	log_line("%s: %s%s", path, strerror(-rc), rc == -ENOENT ? "; gptqfs --ls MODEL_DIR lists what there is" : "");
	return rc == -ENOENT || rc == -ENOTDIR || rc == -EISDIR ? EXIT_USAGE : EXIT_SERVE;
}

static int explain_output(int rc)
{
	log_line("standard output: %s", strerror(-rc));
	return EXIT_SERVE;
}

/* ---- listing ---- */

static void print_name(const char *name, const struct stat *st)
{
	char line[4096];

	if (S_ISDIR(st->st_mode))
		printf("%15s ", "-");
	else
		printf("%15llu ", (unsigned long long)st->st_size);
	/* A terminal must not obey a name. */
	snprintf(line, sizeof(line), "%s", name);
	if (isatty(STDOUT_FILENO))
		gptqfs_printable(line);
	printf("%s%s\n", line, S_ISDIR(st->st_mode) ? "/" : "");
}

static int list_directory(const struct gptqfs *model, uint64_t ino)
{
	struct gptqfs_dirent child;
	struct stat st;
	int rc;

	for (uint64_t i = 2; (rc = gptqfs_readdir(model, ino, i, &child)) == 0; i++) {
		rc = gptqfs_getattr(model, child.ino, &st);
		if (rc)
			return rc;
		print_name(child.name, &st);
	}
	return rc == -ENOENT ? 0 : rc;
}

int look_list(const struct gptqfs *model, const char *path)
{
	struct stat st;
	int rc = look_up(model, path, &st);

	if (rc == 0 && S_ISDIR(st.st_mode))
		rc = list_directory(model, st.st_ino);
	else if (rc == 0)
		print_name(path, &st);
	if (rc)
		return explain_path(path, rc);
	return fflush(stdout) ? explain_output(-errno) : EXIT_OK;
}

/* ---- one file ---- */

struct file {
	uint64_t ino, at, bytes;
};

static int file_next(void *ctx, struct portion *out)
{
	struct file *f = ctx;
	const uint64_t left = f->bytes - f->at;

	if (!left)
		return 0;
	out->ino = f->ino;
	out->at = f->at;
	out->bytes = left < GPTQFS_READ_MAX ? (size_t)left : GPTQFS_READ_MAX;
	f->at += out->bytes;
	return 1;
}

int look_cat(struct gptqfs *model, const char *path, unsigned threads)
{
	struct file file = {0};
	const struct pouring pouring = {model, STDOUT_FILENO, threads, file_next, &file, NULL};
	struct stat st;
	bool writing;
	int rc = look_up(model, path, &st);

	if (rc == 0 && S_ISDIR(st.st_mode))
		rc = -EISDIR;
	if (rc)
		return explain_path(path, rc);
	file.ino = st.st_ino;
	file.bytes = (uint64_t)st.st_size;
	rc = pour(&pouring, &writing);
	if (rc && writing)
		return explain_output(rc);
	return rc ? explain_path(path, rc) : EXIT_OK;
}

/* ---- everything ---- */

static uint64_t load(const void *ctx)
{
	const atomic_uint_fast64_t *n = ctx;

	return atomic_load_explicit(n, memory_order_relaxed);
}

int look_tar(struct gptqfs *model, unsigned threads, bool quiet)
{
	struct entries entries;
	struct tar tar = {.entries = &entries};
	atomic_uint_fast64_t written = 0;
	const struct pouring pouring = {model, STDOUT_FILENO, threads, tar_next, &tar, &written};
	struct progress_task task = {.doing = "exported", .done = load, .ctx = &written};
	struct progress *progress;
	bool writing = false;
	int rc = entries_list(&entries, model);

	if (rc == 0) {
		task.total = entries.bytes;
		progress = progress_start(&task, quiet);
		rc = pour(&pouring, &writing);
		progress_stop(progress);
	}
	entries_free(&entries);
	if (rc && writing)
		return explain_output(rc);
	if (rc)
		log_line("the archive is not complete: %s", strerror(-rc));
	return rc ? EXIT_SERVE : EXIT_OK;
}
