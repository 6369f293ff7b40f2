/* SPDX-License-Identifier: MIT */
#include "quant/gptq/config.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "base/err.h"
#include "checkpoint/subconfig.h"
#include "quant/unsupported.h"

/* A layout such as "gptq" or, with a backend behind it, "gptq:exllamav2". */
static bool word_is(const char *word, const char *name)
{
	size_t len = strlen(name);

	return strncmp(word, name, len) == 0 && (!word[len] || word[len] == ':');
}

static int refuse_word(const char *file, const char *field, const char *word, struct gptqfs_error *err)
{
	const struct foreign foreign = foreign_by_label(word);

	if (foreign.what)
		return err_set(err, -ENOTSUP, "%s: %s is \"%.80s\": %s is not served (expected \"gptq\"); %s", file,
		    field, word, foreign.what, foreign.remedy);
	return err_set(err, -ENOTSUP,
	    "%s: %s \"%.80s\" is not known (expected \"gptq\", \"gptq_v2\" or \"gptq_p\"); %s", file, field, word,
	    foreign.remedy);
}

/* A string member in lower case; "" if it is absent. NULL for lack of memory. */
static const char *lower(const struct json *object, const char *key, struct arena *arena)
{
	const char *s = json_str(json_get(object, key));
	char *copy = arena_strndup(arena, s ? s : "", s ? strlen(s) : 0);

	for (char *p = copy; p && *p; p++)
		*p = (char)tolower((unsigned char)*p);
	return copy;
}

/* An integer under one of two names; `absent` if neither is there. */
static int64_t integer(const struct json *object, const char *key, const char *alias, int64_t absent)
{
	int64_t value;

	if (json_integer(json_get(object, key), &value) || json_integer(json_get(object, alias), &value))
		return value;
	return absent;
}

static bool is_autoround(const char *method)
{
	return strcmp(method, "auto-round") == 0 || strcmp(method, "auto_round") == 0 ||
	       strcmp(method, "intel/auto-round") == 0 || strcmp(method, "autoround") == 0;
}

/*
 * What AutoRound's packers store under each label, "auto_round:LAYOUT" with a backend perhaps behind it. Without
 * "gptq" in its label a layout is AutoRound's own, and zeros are stored as they are.
 */
static const struct {
	const char *layout;
	enum zeros zeros;
} autoround_layouts[] = {
    {"auto_gptq", ZEROS_V1},
    {"gptq", ZEROS_V1},
    {"gptqmodel", ZEROS_V2},
    {"auto_round", ZEROS_V2},
    {"exllamav2", ZEROS_V2},
    {"triton", ZEROS_V2},
    {"tritonv2", ZEROS_V2},
};

/* Reads the label, which releases before 0.5 wrote under "backend", as later ones name the kernel: "auto" by default. */
static int read_autoround(const struct quant_config_input *in, struct arena *arena, struct quant_config *out,
    struct gptqfs_error *err)
{
	static const char *const prefixes[] = {"auto_round:", "auto-round:", "autoround:"};
	const char *key = json_get(in->json, "packing_format") ? "packing_format" : "backend";
	const char *label = lower(in->json, key, arena), *layout = label;

	if (!label)
		return err_memory(err);
	out->producer = "auto-round";
	out->zeros = ZEROS_V1;
	if (!*label || strcmp(label, "auto") == 0)
		return 0;
	out->format = label;
	for (int i = 0; i < 3; i++)
		if (strncmp(label, prefixes[i], strlen(prefixes[i])) == 0)
			layout = label + strlen(prefixes[i]);
	for (size_t i = 0; i < sizeof(autoround_layouts) / sizeof(*autoround_layouts); i++)
		if (word_is(layout, autoround_layouts[i].layout)) {
			out->zeros = autoround_layouts[i].zeros;
			return 0;
		}
	return refuse_word(in->file, key, strstr(layout, "awq") ? "awq" : layout, err);
}

static int read_gptq(const struct quant_config_input *in, struct arena *arena, struct quant_config *out,
    struct gptqfs_error *err)
{
	const struct json *meta = json_get(in->json, "meta"), *quantizer = json_get(meta, "quantizer");
	const char *provider = lower(in->json, "provider", arena), *producer;
	const char *field = "checkpoint_format";

	out->format = lower(in->json, field, arena);
	if (out->format && !*out->format) {
		field = "format";
		out->format = lower(in->json, field, arena);
	}
	if (!out->format || !provider)
		return err_memory(err);
	producer = json_str(quantizer) ? json_str(quantizer) : json_str(json_at(quantizer, 0));
	out->producer = producer ? arena_strndup(arena, producer, strlen(producer)) : provider;
	if (!out->producer)
		return err_memory(err);
	if (json_bool(json_get(in->json, "is_marlin_format"), false))
		return refuse_word(in->file, "the format of is_marlin_format", "marlin", err);
	if (strcmp(out->format, "gptq_v2") == 0 || strcmp(out->format, "gptq_p") == 0)
		out->zeros = ZEROS_V2;
	else if (*out->format && strcmp(out->format, "gptq") != 0)
		return refuse_word(in->file, field, out->format, err);
	out->planar = strcmp(out->format, "gptq_p") == 0;
	return 0;
}

/* Weights that were rotated need an online rotation of activations, which a stock model does not do. */
static int refuse_rotation(const struct quant_config_input *in, struct gptqfs_error *err)
{
	static const char *const keys[] = {"rotation", "rotation_config", "spinquant_config"};

	for (size_t i = 0; i < sizeof(keys) / sizeof(*keys); i++) {
		const struct json *value = json_get(in->json, keys[i]);

		if (value && !json_is_null(value) && !(json_is_object(value) && !json_count(value)))
			return err_set(err, -ENOTSUP,
			    "%s: \"%s\" is set: the weights are rotated and need a runtime that rotates activations "
			    "too; fetch a "
			    "version quantized without it",
			    in->file, keys[i]);
	}
	return 0;
}

int quant_config_read(const struct quant_config_input *in, struct arena *arena, struct quant_config *out,
    struct gptqfs_error *err)
{
	const struct json *json = in->json, *sym = json_get(json, "sym"), *zero_point = json_get(json, "zero_point");
	int rc;

	*out = (struct quant_config){.file = in->file, .zeros = ZEROS_V1, .format = "", .producer = ""};
	out->method = lower(json, json_get(json, "quant_method") ? "quant_method" : "method", arena);
	if (!out->method)
		return err_memory(err);
	out->bits = integer(json, "bits", json_get(json, "w_bit") ? "w_bit" : "wbits", 0);
	out->group_size = integer(json, "group_size", "q_group_size", 0);
	out->has_sym = sym || zero_point;
	out->sym = json_bool(sym, !json_bool(zero_point, false));
	out->desc_act = json_bool(json_get(json, "desc_act"), false);
	rc = overrides_read(in->file, json, arena, &out->overrides, err);
	if (rc)
		return rc;
	if (is_autoround(out->method))
		rc = read_autoround(in, arena, out, err);
	else if (!*out->method || strcmp(out->method, "gptq") == 0)
		rc = read_gptq(in, arena, out, err);
	else
		rc = refuse_word(in->file, "quant_method", out->method, err);
	return rc ? rc : refuse_rotation(in, err);
}

const char *quant_config_differ(const struct quant_config *a, const struct quant_config *b)
{
	if (a->bits != b->bits)
		return "bits";
	if (a->group_size != b->group_size)
		return "group_size";
	if (a->sym != b->sym)
		return "sym";
	if (a->zeros != b->zeros)
		return "checkpoint_format";
	return NULL;
}

/* Takes a configuration found at one of the places; the first counts, the others are compared with it. */
static int take_config(struct checkpoint *c, const struct quant_config_input *in, struct quant_config *out,
    struct gptqfs_error *err)
{
	struct quant_config found;
	const char *field;
	int rc = quant_config_read(in, &c->arena, &found, err);

	if (rc)
		return rc;
	if (!out->file) {
		*out = found;
		return 0;
	}
	field = quant_config_differ(out, &found);
	if (field)
		checkpoint_warn(c, "%s and %s disagree on %s; %s counts", out->file, in->file, field, out->file);
	return 0;
}

int quant_config_collect(struct checkpoint *c, struct quant_config *out, struct gptqfs_error *err)
{
	struct subconfigs inside;
	int rc = subconfig_list(c->config_json, &c->arena, &inside, err);

	*out = (struct quant_config){.zeros = ZEROS_V1, .sym = true, .method = "", .format = "", .producer = ""};
	for (size_t i = 0; rc == 0 && i < c->quant_file_count; i++)
		rc = take_config(
		    c, &(struct quant_config_input){c->quant_files[i].name, c->quant_files[i].json}, out, err);
	for (size_t i = 0; rc == 0 && i < inside.count; i++)
		rc = take_config(c, &(struct quant_config_input){inside.list[i].where, inside.list[i].json}, out, err);
	return rc;
}
