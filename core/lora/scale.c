/* SPDX-License-Identifier: MIT */
#include "lora/scale.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#include "base/err.h"
#include "base/pattern.h"

#define PATTERN_MAX 512 /* bytes; real ones are names with a few stars */

static int scale_read_number(const struct lora_scale *s, const struct json *value, const char *key, double *out,
    struct gptqfs_error *err)
{
	if (!json_number(value, out) || !isfinite(*out))
		return err_set(err, -EBADMSG, "%s: %.200s is not a finite number; fetch the adapter again", s->file,
		    key);
	return 0;
}

/* Python's re.match(rf"(.*\.)?({key})$", module). */
static int compile_pattern(struct lora_scale *s, struct arena *arena, const char *key, const struct pattern **out,
    struct gptqfs_error *err)
{
	const char *text = arena_printf(arena, "^(.*\\.)?(%s)$", key), *fault = "is too long";

	if (!text)
		return err_memory(err);
	*out = strlen(key) > PATTERN_MAX ? NULL : pattern_compile(s->patterns, text, &fault);
	return *out ? 0 : err_set(err, -EBADMSG, "%s: alpha_pattern %.200s %s", s->file, key, fault);
}

static int read_patterns(struct lora_scale *s, struct arena *arena, struct gptqfs_error *err)
{
	size_t i = 0;
	double alpha;
	int rc = 0;

	s->compiled = arena_alloc(arena, json_count(s->pattern) + 1, sizeof(*s->compiled));
	s->patterns = patterns_new(arena);
	if (!s->compiled || !s->patterns)
		return err_memory(err);
	for (const struct json *m = json_first(s->pattern); rc == 0 && m; m = json_after(m)) {
		rc = scale_read_number(s, m, json_key(m), &alpha, err);
		if (rc == 0)
			rc = compile_pattern(s, arena, json_key(m), &s->compiled[i++], err);
	}
	return rc;
}

int lora_scale_read(struct lora_scale *s, const struct json *config, struct arena *arena, struct gptqfs_error *err)
{
	const struct json *alpha = json_get(config, "lora_alpha");

	s->alpha = 8;
	s->rslora = json_bool(json_get(config, "use_rslora"), false);
	s->pattern = json_get(config, "alpha_pattern");
	if (s->whole)
		return scale_read_number(s, json_get(json_get(config, "lora_parameters"), "scale"),
		    "lora_parameters.scale", &s->alpha, err);
	if (alpha) {
		int rc = scale_read_number(s, alpha, "lora_alpha", &s->alpha, err);

		if (rc)
			return rc;
	}
	if (s->pattern && !json_is_null(s->pattern) && !json_is_object(s->pattern))
		return err_set(err, -EBADMSG, "%s: alpha_pattern is not an object; fetch the adapter again", s->file);
	return read_patterns(s, arena, err);
}

int lora_scale_of(const struct lora_scale *s, const char *module, uint32_t rank, double *out, struct gptqfs_error *err)
{
	double alpha = s->alpha;
	const char *fault;
	size_t i = 0;

	if (s->whole) {
		*out = s->alpha * s->requested;
		return 0;
	}
	for (const struct json *m = json_first(s->pattern); m; m = json_after(m)) {
		const int found = pattern_match(s->patterns, s->compiled[i++], module, true, &fault);

		if (found < 0)
			return err_set(err, -EBADMSG, "%s: alpha_pattern %.200s %s", s->file, json_key(m), fault);
		if (found) {
			json_number(m, &alpha);
			break;
		}
	}
	*out = alpha / (s->rslora ? sqrt(rank) : rank) * s->requested;
	return 0;
}
