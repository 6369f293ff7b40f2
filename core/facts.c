/* SPDX-License-Identifier: MIT */

/* Reports on an open model: counters, facts about files, --check, statistics. */

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "base/err.h"
#include "kernel/accel.h"
#include "model.h"
#include "report/attributes.h"
#include "report/report.h"
#include "report/stats.h"

void gptqfs_counters(const struct gptqfs *m, struct gptqfs_counters *out)
{
	struct cache_stats cache;

	cache_stats(m->reader.cache, &cache);
	*out = (struct gptqfs_counters){
	    .reads = m->count.reads,
	    .bytes_served = m->count.served,
	    .bytes_computed = m->reader.computed,
	    .errors = m->count.errors,
	    .cache_hits = cache.hits,
	    .cache_misses = cache.misses,
	    .cache_bytes = cache.bytes,
	    .cache_budget = cache.budget,
	};
}

/* The only list of counters: `status`, the attributes of the root and the log all use it. */
static const struct {
	const char *key;
	size_t offset;
} counter_facts[] = {
    {"reads", offsetof(struct gptqfs_counters, reads)},
    {"bytes_served", offsetof(struct gptqfs_counters, bytes_served)},
    {"bytes_decoded", offsetof(struct gptqfs_counters, bytes_computed)},
    {"errors", offsetof(struct gptqfs_counters, errors)},
    {"cache_hits", offsetof(struct gptqfs_counters, cache_hits)},
    {"cache_misses", offsetof(struct gptqfs_counters, cache_misses)},
    {"cache_bytes", offsetof(struct gptqfs_counters, cache_bytes)},
    {"cache_budget_bytes", offsetof(struct gptqfs_counters, cache_budget)},
};

static void tell_counters(const struct gptqfs *m, gptqfs_fact_fn *fn, void *ctx)
{
	struct gptqfs_counters counters;
	char value[24];

	gptqfs_counters(m, &counters);
	for (size_t i = 0; i < sizeof(counter_facts) / sizeof(*counter_facts); i++) {
		snprintf(value, sizeof(value), "%" PRIu64,
		    *(const uint64_t *)((const char *)&counters + counter_facts[i].offset));
		fn(ctx, counter_facts[i].key, value);
	}
}

static void tell_accelerator(const struct gptqfs *m, gptqfs_fact_fn *fn, void *ctx)
{
	struct gptqfs_accel accel;
	char value[24];

	accel_tell(m->accel, &accel);
	fn(ctx, "accelerator", gptqfs_accel_state_name(accel.state));
	if (accel.state == GPTQFS_ACCEL_NONE)
		return;
	fn(ctx, "accelerator_choice", accel.choice);
	if (*accel.name)
		fn(ctx, "accelerator_device", accel.name);
	fn(ctx, "accelerator_reason", accel.text);
	snprintf(value, sizeof(value), "%" PRIu64, accel.bytes);
	fn(ctx, "accelerator_bytes", value);
}

int gptqfs_facts(const struct gptqfs *m, uint64_t ino, gptqfs_fact_fn *fn, void *ctx)
{
	const struct node *n = find_node(m, ino);
	const struct fact_sink sink = {fn, ctx};
	int rc;

	if (!n)
		return -ENOENT;
	rc = n->layout ? settle_node(n) : 0;
	if (rc)
		return rc;
	if (ino != GPTQFS_ROOT)
		return attributes_of_file(&m->tree, m->root, (uint32_t)ino, &sink);
	if (m->root)
		fn(ctx, "view", m->root->name);
	fn(ctx, "kernel", cpu_name(m->kernels.level));
	tell_accelerator(m, fn, ctx);
	tell_counters(m, fn, ctx);
	return 0;
}

/* Checked after the report, which counts damaged blobs: they fail the check as damaged weights do. */
static int check_blobs(const struct blobs *b, struct gptqfs_error *err)
{
	if (!b->damaged)
		return 0;
	return err_set(err, -EBADMSG,
	    "%.1000s: its blob does not match its name (%zu of %zu blobs); delete it and fetch it again", b->first,
	    b->damaged, b->checked);
}

int gptqfs_check(struct gptqfs *m, bool json, FILE *out, struct gptqfs_error *err)
{
	struct report r = {.plan = &m->plan, .refusals = &m->refusals, .sandbox = m->sandbox};
	struct findings findings;
	struct blobs blobs = {0};
	struct text text = {0};
	int rc = report_examine(&r, &findings, err);

	if (rc == 0 && m->blobs) {
		rc = blobs_check(&m->checkpoint.dir, &m->checkpoint.listing, &blobs, err);
		r.blobs = &blobs;
	}
	if (rc)
		return rc;
	report_check(&r, &findings, json, &text);
	rc = err_write(err, &text, out, "the report");
	return rc ? rc : check_blobs(&blobs, err);
}

int gptqfs_stats(struct gptqfs *m, struct gptqfs *other, const struct gptqfs_stats_control *control,
    struct gptqfs_stats **out, struct gptqfs_error *err)
{
	return stats_make(&m->plan, other ? &other->plan : NULL, control, out, err);
}
