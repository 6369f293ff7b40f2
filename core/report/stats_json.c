/* SPDX-License-Identifier: MIT */

/* Statistics as JSON. Keys are an interface: see gptqfs(1). */

#include <inttypes.h>
#include <math.h>

#include "base/err.h"
#include "report/stats.h"

/* Twelve digits: as many as do not depend on a machine's logarithms. JSON has neither NaN nor inf. */
static void put_real(struct text *out, const char *before, double value)
{
	if (isfinite(value))
		text_printf(out, "%s%.12g", before, value);
	else
		text_printf(out, "%snull", before);
}

/* Those of a total have no place. */
static void put_difference(struct text *out, const struct gptqfs_difference *d, bool place)
{
	put_real(out, "{\"rel_error\": ", d->rel_error);
	put_real(out, ", \"sqnr_db\": ", d->sqnr_db);
	if (place) {
		put_real(out, ", \"max_abs\": ", d->max_abs);
		text_printf(out, ", \"max_at\": [%" PRIu64 ", %" PRIu64 "]", d->max_row, d->max_column);
	}
	put_real(out, ", \"cosine\": ", d->cosine);
	text_string(out, "}");
}

static void put_codes(struct text *out, const struct gptqfs_module_stats *m)
{
	if (!m->histogram) {
		text_string(out, "null");
		return;
	}
	text_string(out, "{\"histogram\": [");
	for (size_t i = 0; i < (size_t)1 << m->bits; i++)
		text_printf(out, "%s%" PRIu64, i ? ", " : "", m->histogram[i]);
	put_real(out, "], \"entropy\": ", m->entropy);
	put_real(out, ", \"lowest\": ", m->lowest);
	put_real(out, ", \"highest\": ", m->highest);
	text_string(out, "}");
}

static void put_scales(struct text *out, const struct gptqfs_module_stats *m)
{
	if (!m->has_scales) {
		text_string(out, "null");
		return;
	}
	put_real(out, "{\"min\": ", m->scale_min);
	put_real(out, ", \"median\": ", m->scale_median);
	put_real(out, ", \"max\": ", m->scale_max);
	text_printf(out, ", \"zero\": %" PRIu64 ", \"not_finite\": %" PRIu64 "}", m->scales_zero, m->scales_not_finite);
}

static void put_module(struct text *out, const struct gptqfs_module_stats *m)
{
	text_string(out, "{\"name\": ");
	text_json_ascii(out, m->name);
	text_string(out, ", \"format\": ");
	text_json_ascii(out, m->format);
	text_printf(out, m->bits ? ", \"bits\": %u" : ", \"bits\": null", m->bits);
	put_real(out, ", \"bits_per_weight\": ", m->bits_per_weight);
	text_printf(out, m->group_size ? ", \"group_size\": %" PRIu64 : ", \"group_size\": null", m->group_size);
	text_string(out, ", \"shape\": [");
	for (unsigned i = 0; i < m->ndim; i++)
		text_printf(out, "%s%" PRIu64, i ? ", " : "", m->shape[i]);
	text_string(out, "], \"codes\": ");
	put_codes(out, m);
	text_string(out, ", \"scales\": ");
	put_scales(out, m);
	put_real(out, ", \"rms\": ", m->rms);
	put_real(out, ", \"absmax\": ", m->absmax);
	text_string(out, ", \"against\": ");
	if (m->compared)
		put_difference(out, &m->against, true);
	else
		text_string(out, "null");
	text_string(out, "}");
}

static void put_unpaired(struct text *out, const struct gptqfs_unpaired *u)
{
	text_string(out, "{\"name\": ");
	text_json_ascii(out, u->name);
	text_printf(out, ", \"reason\": \"%s\", \"of\": \"%s\"}", u->reason, u->of_other ? "against" : "model");
}

static void put_changed(struct text *out, const struct gptqfs_changed *c)
{
	text_string(out, "{\"name\": ");
	text_json_ascii(out, c->name);
	text_string(out, ", \"against\": ");
	put_difference(out, &c->against, true);
	text_string(out, "}");
}

static void put_total(struct text *out, const struct gptqfs_stats *s)
{
	const struct gptqfs_stats_total *t = &s->total;
	const struct gptqfs_difference d = {.rel_error = t->rel_error, .sqnr_db = t->sqnr_db, .cosine = t->cosine};

	text_printf(out, "{\"modules\": %zu, \"compared\": %zu, \"weights\": %" PRIu64 ", \"stored_bytes\": %" PRIu64,
	    t->modules, t->compared, t->weights, t->stored_bytes);
	put_real(out, ", \"bits_per_weight\": ", t->bits_per_weight);
	put_real(out, ", \"rms\": ", t->rms);
	put_real(out, ", \"absmax\": ", t->absmax);
	text_string(out, ", \"against\": ");
	if (t->compared)
		put_difference(out, &d, false);
	else
		text_string(out, "null");
	text_printf(out, ", \"complete\": %s}", s->is_complete ? "true" : "false");
}

static void put_stats(struct text *out, const struct gptqfs_stats *s)
{
	text_string(out, "{\"modules\": [");
	for (size_t i = 0; i < s->module_count; i++) {
		text_string(out, i ? ",\n" : "\n");
		put_module(out, &s->modules[i]);
	}
	text_string(out, "\n], \"unpaired\": [");
	for (size_t i = 0; i < s->unpaired_count; i++) {
		text_string(out, i ? ",\n" : "\n");
		put_unpaired(out, &s->unpaired[i]);
	}
	text_string(out, s->unpaired_count ? "\n], \"changed\": [" : "], \"changed\": [");
	for (size_t i = 0; i < s->changed_count; i++) {
		text_string(out, i ? ",\n" : "\n");
		put_changed(out, &s->changed[i]);
	}
	text_string(out, s->changed_count ? "\n], \"total\": " : "], \"total\": ");
	put_total(out, s);
	text_string(out, "}\n");
}

int gptqfs_stats_json(const struct gptqfs_stats *stats, FILE *out, struct gptqfs_error *err)
{
	struct text text = {0};

	put_stats(&text, stats);
	return err_write(err, &text, out, "the statistics");
}
