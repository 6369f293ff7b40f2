/* SPDX-License-Identifier: MIT */
#include "offline/stats.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>

#include "exit.h"
#include "log.h"
#include "offline/model.h"
#include "progress.h"
#include "signals.h"
#include "offline/stats_table.h"

struct stats_task {
	bool quiet;
	struct progress *progress;
	atomic_uint_fast64_t done;
};

static uint64_t stats_done(const void *ctx)
{
	const struct stats_task *t = ctx;

	return atomic_load_explicit(&t->done, memory_order_relaxed);
}

static void begin(void *ctx, uint64_t total)
{
	struct stats_task *t = ctx;

	t->progress =
	    progress_start(&(struct progress_task){.doing = "computed", .total = total, .done = stats_done, .ctx = t},
		t->quiet);
}

static void add_done(void *ctx, uint64_t bytes)
{
	struct stats_task *t = ctx;

	atomic_fetch_add_explicit(&t->done, bytes, memory_order_relaxed);
}

/* Returns the signal that waits to end the process, or 0. They are blocked. */
static int signal_waiting(void)
{
	static const int ends[] = {SIGINT, SIGTERM, SIGHUP};
	sigset_t set;

	if (sigpending(&set) < 0)
		return 0;
	for (size_t i = 0; i < sizeof(ends) / sizeof(*ends); i++)
		if (sigismember(&set, ends[i]) == 1)
			return ends[i];
	return 0;
}

static bool is_told_to_stop(void *ctx)
{
	(void)ctx;
	return signal_waiting() != 0;
}

static int write_stats(const struct options *o, const struct gptqfs_stats *stats)
{
	struct gptqfs_error err;
	int rc;

	if (o->quiet)
		return EXIT_OK;
	if (o->json) {
		rc = gptqfs_stats_json(stats, stdout, &err);
		if (rc)
			log_line("%s", err.text);
		return rc ? model_exit_code(rc) : EXIT_OK;
	}
	rc = stats_table(stats, o->all, stdout);
	if (rc)
		log_line("standard output: %s", strerror(-rc));
	return rc ? EXIT_SERVE : EXIT_OK;
}

static int compute(const struct options *o, struct gptqfs *model, struct gptqfs *other)
{
	struct stats_task task = {.quiet = o->quiet};
	const struct gptqfs_stats_control control = {begin, add_done, is_told_to_stop, &task};
	struct gptqfs_stats *stats;
	struct gptqfs_error err;
	int code, rc = gptqfs_stats(model, other, &control, &stats, &err);

	progress_stop(task.progress);
	if (rc) {
		log_line("%s", err.text);
		return model_exit_code(rc);
	}
	code = write_stats(o, stats);
	if (code == EXIT_OK && !stats->is_complete) {
		log_line("interrupted: the statistics are of the %zu modules that were finished", stats->module_count);
		code = 128 + signal_waiting();
	}
	gptqfs_stats_free(stats);
	return code;
}

int stats_print(const struct options *o, struct gptqfs *model)
{
	struct gptqfs *other = NULL;
	int code = EXIT_OK;

	signals_hold();
	if (o->against)
		code = model_open_other(o, &other);
	if (code == EXIT_OK)
		code = compute(o, model, other);
	gptqfs_close(other);
	return code;
}
