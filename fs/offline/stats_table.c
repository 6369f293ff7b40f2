/* SPDX-License-Identifier: MIT */
#include "offline/stats_table.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "size.h"

#define WORST 10
#define LISTED 20
#define SPARKS 26
#define NAME_MAX_SHOWN 40

/* The figure that is shown by layer, and by which modules are bad: the first that there is. */
enum figure {
	FIGURE_ERROR,
	FIGURE_USE, /* entropy of the codes over their bits */
	FIGURE_RMS, /* of which none is bad */
};

/* How the output may look. */
struct style {
	FILE *out;
	enum figure figure;
	bool wide; /* characters beyond ASCII */
	const char *bold, *colour, *plain;
};

typedef const struct gptqfs_module_stats module;

/* ---- cells ---- */

static bool speaks_utf8(void)
{
	const char *const variables[] = {"LC_ALL", "LC_CTYPE", "LANG"};

	for (size_t i = 0; i < sizeof(variables) / sizeof(*variables); i++) {
		const char *value = getenv(variables[i]);

		if (value && *value)
			return strcasestr(value, "utf-8") || strcasestr(value, "utf8");
	}
	return false;
}

static bool has_codes(const struct gptqfs_stats *stats)
{
	for (size_t i = 0; i < stats->module_count; i++)
		if (stats->modules[i].histogram)
			return true;
	return false;
}

static struct style style_of(const struct gptqfs_stats *stats, FILE *out)
{
	const char *none = getenv("NO_COLOR"), *term = getenv("TERM");
	const bool colours = isatty(fileno(out)) && !(none && *none) && term && strcmp(term, "dumb") != 0;

	return (struct style){
	    .out = out,
	    .figure = stats->is_compared ? FIGURE_ERROR
	              : has_codes(stats) ? FIGURE_USE
	                                 : FIGURE_RMS,
	    .wide = speaks_utf8(),
	    .bold = colours ? "\033[1m" : "",
	    .colour = colours ? "\033[36m" : "",
	    .plain = colours ? "\033[0m" : "",
	};
}

/* A number in 9 columns, or "-". */
static void put_number(const struct style *s, double value)
{
	if (isfinite(value))
		fprintf(s->out, " %9.4g", value);
	else
		fprintf(s->out, " %9s", "-");
}

/* The end of a name says more than its beginning. */
static void put_name(const struct style *s, const char *name, int width)
{
	const size_t len = strlen(name);
	char shown[NAME_MAX_SHOWN + 1];

	if (len > (size_t)width)
		snprintf(shown, sizeof(shown), "...%s", name + len - (size_t)width + 3);
	else
		snprintf(shown, sizeof(shown), "%s", name);
	gptqfs_printable(shown);
	fprintf(s->out, "%-*s", width, shown);
}

static double figure_of(const struct style *s, module *m)
{
	switch (s->figure) {
	case FIGURE_ERROR:
		return m->against.rel_error;
	case FIGURE_USE:
		return m->histogram ? m->entropy / m->bits : NAN;
	default:
		return m->rms;
	}
}

/* ---- kinds ---- */

/* Modules of one kind, in the order of layers. */
struct kind {
	const char *name;
	size_t length;
	size_t first, count; /* in the sorted list */
};

struct sorted {
	module *m;
	struct kind kind;
	unsigned long layer;
	size_t index;
};

/* "q" of "model.layers.0.self_attn.q_proj", "experts" of anything below such, "head" of lm_head. */
static struct kind kind_of(const char *name)
{
	const char *last = strrchr(name, '.');
	size_t length;

	if (strstr(name, ".experts"))
		return (struct kind){.name = "experts", .length = 7};
	last = last ? last + 1 : name;
	if (strcmp(last, "lm_head") == 0)
		return (struct kind){.name = "head", .length = 4};
	length = strlen(last);
	if (length > 5 && strcmp(last + length - 5, "_proj") == 0)
		length -= 5;
	return (struct kind){.name = last, .length = length};
}

/* The first component that is a number. */
static unsigned long layer_of(const char *name)
{
	for (const char *at = name; at; at = strchr(at, '.')) {
		at += *at == '.';
		if (strspn(at, "0123456789") && strchr(".", at[strspn(at, "0123456789")]))
			return strtoul(at, NULL, 10);
	}
	return 0;
}

/* In the order in which a layer computes them. */
static int rank_of(const struct kind *k)
{
	static const char *const order[] = {"q", "k", "v", "qkv", "o", "gate", "up", "gate_up", "down", "experts"};
	const int count = (int)(sizeof(order) / sizeof(*order));

	for (int i = 0; i < count; i++)
		if (strlen(order[i]) == k->length && strncmp(order[i], k->name, k->length) == 0)
			return i;
	return k->length == 4 && strncmp(k->name, "head", 4) == 0 ? count + 1 : count;
}

static int kind_compare(const struct kind *x, const struct kind *y)
{
	const int a = rank_of(x), b = rank_of(y);
	const size_t shorter = x->length < y->length ? x->length : y->length;
	int order;

	if (a != b)
		return a - b;
	order = strncmp(x->name, y->name, shorter);
	return order ? order : (x->length > y->length) - (x->length < y->length);
}

static int sorted_compare(const void *a, const void *b)
{
	const struct sorted *x = a, *y = b;
	const int order = kind_compare(&x->kind, &y->kind);

	if (order)
		return order;
	if (x->layer != y->layer)
		return x->layer < y->layer ? -1 : 1;
	return x->index < y->index ? -1 : 1;
}

/* Of several modules that share a place, the greatest. */
static void put_sparks(const struct style *s, const struct sorted *list, size_t count)
{
	static const char *const wide[] = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
	static const char narrow[] = "_.,-=+*#";
	const size_t places = count < SPARKS ? count : SPARKS;
	double value[SPARKS], low = INFINITY, high = -INFINITY;

	for (size_t i = 0; i < places; i++) {
		value[i] = -INFINITY;
		for (size_t k = i * count / places; k < (i + 1) * count / places; k++)
			value[i] = fmax(value[i], figure_of(s, list[k].m));
		low = isfinite(value[i]) ? fmin(low, value[i]) : low;
		high = isfinite(value[i]) ? fmax(high, value[i]) : high;
	}
	fprintf(s->out, "  %s", s->colour);
	for (size_t i = 0; i < places; i++) {
		int level = 0;

		if (isfinite(value[i]) && high > low)
			level = (int)((value[i] - low) / (high - low) * 7.999);
		if (!isfinite(value[i]))
			putc(' ', s->out);
		else if (s->wide)
			fputs(wide[level], s->out);
		else
			putc(narrow[level], s->out);
	}
	fprintf(s->out, "%s\n", s->plain);
}

static void put_kind(const struct style *s, const struct sorted *list, size_t count)
{
	double weights = 0, bytes = 0, entropy = 0, coded = 0, low = INFINITY, high = -INFINITY;
	char name[13];

	for (size_t i = 0; i < count; i++) {
		module *m = list[i].m;
		const double figure = figure_of(s, m);

		weights += (double)m->weights;
		bytes += (double)m->stored_bytes;
		entropy += m->histogram ? m->entropy * (double)m->weights : 0;
		coded += m->histogram ? (double)m->weights : 0;
		low = fmin(low, figure);
		high = fmax(high, figure);
	}
	snprintf(name, sizeof(name), "%.*s", (int)list->kind.length, list->kind.name);
	gptqfs_printable(name);
	fprintf(s->out, "%-12s %7zu %9.4g", name, count, 8 * bytes / weights);
	put_number(s, coded > 0 ? entropy / coded : NAN);
	put_number(s, low);
	put_number(s, high);
	put_sparks(s, list, count);
}

static int put_kinds(const struct style *s, const struct gptqfs_stats *stats)
{
	static const char *const headings[] = {"err least", "use least", "rms least"};
	struct sorted *list = calloc(stats->module_count + 1, sizeof(*list));
	size_t first = 0;

	if (!list)
		return -ENOMEM;
	for (size_t i = 0; i < stats->module_count; i++)
		list[i] = (struct sorted){
		    &stats->modules[i], kind_of(stats->modules[i].name), layer_of(stats->modules[i].name), i};
	qsort(list, stats->module_count, sizeof(*list), sorted_compare);
	fprintf(s->out, "%s%-12s %7s %9s %9s %9s %9s  %s%s\n", s->bold, "kind", "modules", "bits/w", "entropy",
	    headings[s->figure], "greatest", "by layer", s->plain);
	for (size_t i = 1; i <= stats->module_count; i++)
		if (i == stats->module_count || kind_compare(&list[i].kind, &list[first].kind) != 0) {
			put_kind(s, list + first, i - first);
			first = i;
		}
	free(list);
	return 0;
}

/* ---- modules ---- */

static void put_modules_heading(const struct style *s)
{
	fprintf(s->out, "%s%-40s %-18s %9s %9s %9s %9s%s\n", s->bold, "module", "format", "bits/w", "entropy",
	    s->figure == FIGURE_ERROR ? "error" : "rms", s->figure == FIGURE_ERROR ? "cosine" : "absmax", s->plain);
}

static void put_module(const struct style *s, module *m)
{
	put_name(s, m->name, NAME_MAX_SHOWN);
	fprintf(s->out, " %-18.18s", m->format);
	put_number(s, m->bits_per_weight);
	put_number(s, m->entropy);
	put_number(s, s->figure == FIGURE_ERROR ? m->against.rel_error : m->rms);
	put_number(s, s->figure == FIGURE_ERROR ? m->against.cosine : m->absmax);
	putc('\n', s->out);
}

/* True if x is worse than y: of a greater error, or fewer bits used. */
static bool is_worse(const struct style *s, module *x, module *y)
{
	const double a = figure_of(s, x), b = figure_of(s, y);

	return s->figure == FIGURE_ERROR ? a > b : a < b;
}

static void put_worst(const struct style *s, const struct gptqfs_stats *stats)
{
	module *worst[WORST];
	size_t count = 0;

	for (size_t i = 0; i < stats->module_count; i++) {
		module *m = &stats->modules[i];
		size_t at = count;

		if (isnan(figure_of(s, m)))
			continue;
		while (at && is_worse(s, m, worst[at - 1]))
			at--;
		if (at == WORST)
			continue;
		count += count < WORST;
		memmove(&worst[at + 1], &worst[at], (count - at - 1) * sizeof(module *));
		worst[at] = m;
	}
	if (!count || s->figure == FIGURE_RMS)
		return;
	fprintf(s->out, "\n%s\n", s->figure == FIGURE_ERROR ? "greatest errors:" : "least use of their bits:");
	put_modules_heading(s);
	for (size_t i = 0; i < count; i++)
		put_module(s, worst[i]);
}

/* ---- the rest ---- */

static void put_line(const struct style *s, const char *what, const char *name)
{
	fprintf(s->out, "  ");
	put_name(s, name, NAME_MAX_SHOWN);
	fprintf(s->out, "  %s\n", what);
}

static const char *unpaired_text(const struct gptqfs_unpaired *u)
{
	if (strcmp(u->reason, "shape") == 0)
		return "has another shape there";
	if (strcmp(u->reason, "transposed") == 0)
		return "is transposed there";
	return u->of_other ? "is only in the other model" : "is not in the other model";
}

static void put_lists(const struct style *s, const struct gptqfs_stats *stats, bool all)
{
	const size_t most = all ? SIZE_MAX : LISTED;

	if (stats->unpaired_count)
		fprintf(s->out, "\n%zu tensors without a counterpart:\n", stats->unpaired_count);
	for (size_t i = 0; i < stats->unpaired_count && i < most; i++)
		put_line(s, unpaired_text(&stats->unpaired[i]), stats->unpaired[i].name);
	if (stats->unpaired_count > most)
		fprintf(s->out, "  ... --all lists all of them\n");
	if (stats->changed_count)
		fprintf(s->out, "\n%zu tensors that are not quantized but differ:\n", stats->changed_count);
	for (size_t i = 0; i < stats->changed_count && i < most; i++) {
		char text[40];

		snprintf(text, sizeof(text), "error %.4g", stats->changed[i].against.rel_error);
		put_line(s, text, stats->changed[i].name);
	}
	if (stats->changed_count > most)
		fprintf(s->out, "  ... --all lists all of them\n");
}

static void put_total(const struct style *s, const struct gptqfs_stats *stats)
{
	const struct gptqfs_stats_total *t = &stats->total;
	char size[SIZE_TEXT_MAX];

	fprintf(s->out, "\n%s%zu modules%s: %" PRIu64 " weights in %s, %.4g bits each; rms %.4g, greatest %.4g\n",
	    s->bold, t->modules, s->plain, t->weights, size_text(size, t->stored_bytes), t->bits_per_weight, t->rms,
	    t->absmax);
	if (!t->compared)
		return;
	fprintf(s->out, "%s%zu compared%s: relative error %.4g", s->bold, t->compared, s->plain, t->rel_error);
	if (isfinite(t->sqnr_db))
		fprintf(s->out, ", SQNR %.2f dB", t->sqnr_db);
	fprintf(s->out, ", cosine %.6g\n", t->cosine);
}

int stats_table(const struct gptqfs_stats *stats, bool all, FILE *out)
{
	const struct style s = style_of(stats, out);
	int rc = 0;

	if (all) {
		put_modules_heading(&s);
		for (size_t i = 0; i < stats->module_count; i++)
			put_module(&s, &stats->modules[i]);
	} else {
		rc = put_kinds(&s, stats);
		if (rc == 0)
			put_worst(&s, stats);
	}
	put_lists(&s, stats, all);
	put_total(&s, stats);
	return rc ? rc : fflush(out) ? -errno : ferror(out) ? -EIO : 0;
}
