/* SPDX-License-Identifier: MIT */
#include "quant/gptq/config.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "quant/unsupported.h"

/* True for a layout such as "gptq", also followed by a backend, as in "gptq:exllamav2". */
static bool word_is(const char *word, const char *name)
{
	size_t len = strlen(name);

	return strncmp(word, name, len) == 0 && (!word[len] || word[len] == ':');
}

static int refuse_word(const char *file, const char *field, const char *word, struct gptqfs_error *err)
{
	const struct foreign foreign = foreign_by_label(word);

	if (foreign.what)
		return err_set(err, -ENOTSUP,
		    foreign.served
			? "%s: %s is \"%.80s\" (%s), but tensors are named like GPTQ's (expected \"gptq\"); %s"
			: "%s: %s is \"%.80s\": %s is not supported (expected \"gptq\"); %s",
		    file, field, word, foreign.what, foreign.remedy);
	return err_set(err, -ENOTSUP, "%s: %s \"%.80s\" is unknown (expected \"gptq\", \"gptq_v2\" or \"gptq_p\"); %s",
	    file, field, word, foreign.remedy);
}

/* Returns a string member in lower case; "" if absent, NULL if out of memory. */
static const char *lower(const struct json *object, const char *key, struct arena *arena)
{
	const char *s = json_str(json_get(object, key));
	char *copy = arena_strndup(arena, s ? s : "", s ? strlen(s) : 0);

	for (char *p = copy; p && *p; p++)
		*p = (char)tolower((unsigned char)*p);
	return copy;
}

/* Reads a number with several possible names, of which the first present counts. */
struct field {
	const char *names[4];
	int64_t least, most;
};

static const struct field bits_field = {{"bits", "w_bit", "wbits"}, 0, 64};
static const struct field group_size_field = {{"group_size", "q_group_size"}, -1, INT32_MAX};

/* Reads a number; if it is absent or of another type, *out is 0. */
static int quant_config_read_number(const struct quant_config_input *in, const struct field *field, int64_t *out,
    struct gptqfs_error *err)
{
	const struct json *value = NULL;
	const char *const *name = field->names;

	while (*name && !value)
		value = json_get(in->json, *name++);
	*out = 0;
	if (!json_is_number(value))
		return 0;
	if (json_integer(value, out) && *out >= field->least && *out <= field->most)
		return 0;
	return err_set(err, -EBADMSG,
	    "%s: %s is not a whole number from %lld to %lld; correct it or fetch the file again", in->file, name[-1],
	    (long long)field->least, (long long)field->most);
}

/* Names of readers and writers of plain GPTQ; some are names of kernels. */
static bool is_gptq(const char *method)
{
	static const char *const names[] = {"", "gptq", "gptq_v2", "gptq_p", "gptqmodel", "gptq_marlin", "gptq_bitblas",
	    "gptq_triton", "gptq_exllama", "gptq_exllamav2", "auto_gptq", "auto-gptq", "autogptq", "exllama",
	    "exllamav2"};

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		if (word_is(method, names[i]))
			return true;
	return false;
}

static bool is_autoround(const char *method)
{
	return strcmp(method, "auto-round") == 0 || strcmp(method, "auto_round") == 0 ||
	       strcmp(method, "intel/auto-round") == 0 || strcmp(method, "autoround") == 0;
}

bool quant_method_turns_conv1d(const struct opening *o, const char *module)
{
	const char *method = o->out->labels.checkpoint_format;

	return method && is_autoround(method) && architecture_is_conv1d(o->architecture, module);
}

/*
 * The formats of AutoRound's packers by label, "auto_round:LAYOUT", optionally with a backend appended. A layout
 * without "gptq" in its label is AutoRound's own, with zeros stored unchanged.
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

/*
 * Reads the label. Releases before 0.5 stored it as "backend", which in later ones names the kernel: "auto" by default.
 */
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
	return refuse_word(in->file, key, layout, err);
}

/* True for formats that store zeros unchanged. */
static bool stores_zeros(const char *word)
{
	return word_is(word, "gptq_v2") || word_is(word, "gptq_p");
}

/* Returns the version in "gptqmodel:7.3.2", a text of meta.quantizer; 0 in others. */
static uint32_t gptqmodel_version(const char *text)
{
	unsigned major, minor, patch;

	return text && sscanf(text, "gptqmodel:%4u.%2u.%2u", &major, &minor, &patch) == 3
	           ? major * 10000 + minor * 100 + patch
	           : 0;
}

static int read_gptq(const struct quant_config_input *in, struct arena *arena, struct quant_config *out,
    struct gptqfs_error *err)
{
	const struct json *meta = json_get(in->json, "meta"), *quantizer = json_get(meta, "quantizer");
	const char *provider = lower(in->json, "provider", arena), *producer, *other;
	const char *field = "checkpoint_format";

	out->format = lower(in->json, field, arena);
	other = lower(in->json, "format", arena);
	if (!out->format || !other || !provider)
		return err_memory(err);
	if (!*out->format) {
		field = *other ? "format" : "quant_method";
		out->format = *other ? other : stores_zeros(out->method) ? out->method : "";
	}
	producer = json_str(quantizer) ? json_str(quantizer) : json_str(json_at(quantizer, 0));
	out->gptqmodel = gptqmodel_version(producer);
	out->producer = producer ? arena_strndup(arena, producer, strlen(producer)) : provider;
	if (!out->producer)
		return err_memory(err);
	if (json_bool(json_get(in->json, "is_marlin_format"), false))
		return refuse_word(in->file, "the format of is_marlin_format", "marlin", err);
	if (stores_zeros(out->format))
		out->zeros = ZEROS_V2;
	else if (*out->format && !word_is(out->format, "gptq"))
		return refuse_word(in->file, field, out->format, err);
	out->planar = word_is(out->format, "gptq_p");
	/* Half of the readers go by one, half by the other. */
	if (*other && (word_is(other, "gptq") || stores_zeros(other)) &&
	    stores_zeros(other) != stores_zeros(out->format))
		out->doubt = "checkpoint_format and format contradict each other, and the former takes precedence";
	/* Those of symmetric models are known by their values: see zeros.h. */
	else if (producer && strncmp(producer, "gptqmodel:5.0.0-dev", 19) == 0 && out->zeros == ZEROS_V1 && !out->sym)
		out->doubt =
		    "some builds of GPTQModel 5.0.0-dev stored gptq_v2 zeros under the label gptq, and nothing "
		    "tells which did; read as the label says";
	return 0;
}

/* An algorithm of Quark. Of its rotations, R1 and R2 may be undone in other weights. */
static bool rotates_activations(const struct json *algorithm)
{
	return json_bool(json_get(algorithm, "r4"), false) ||
	       json_bool(json_get(algorithm, "online_r1_rotation"), false);
}

/* The algorithms of Quark: a list, or in old files one, or those before quantization. */
static const char *rotating_algorithm(const struct json *config)
{
	static const char *const keys[] = {"algo_config", "pre_quant_opt_config"};

	for (size_t i = 0; i < sizeof(keys) / sizeof(*keys); i++) {
		const struct json *all = json_get(config, keys[i]);

		if (rotates_activations(all))
			return keys[i];
		for (const struct json *one = json_first(all); one; one = json_after(one))
			if (rotates_activations(one))
				return keys[i];
	}
	return NULL;
}

int quant_config_refuse_rotation(const char *file, const struct json *config, struct gptqfs_error *err)
{
	static const char *const keys[] = {"rotation", "rotation_config", "spinquant_config"};
	const char *found = rotating_algorithm(config);

	for (size_t i = 0; !found && i < sizeof(keys) / sizeof(*keys); i++) {
		const struct json *value = json_get(config, keys[i]);

		if (value && !json_is_null(value) && !(json_is_object(value) && !json_count(value)))
			found = keys[i];
	}
	return found ? err_set(err, -ENOTSUP,
			   "%s: \"%s\" is set: the weights are rotated and need a runtime that rotates activations "
			   "too; fetch a version quantized without it",
			   file, found)
	             : 0;
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
	rc = quant_config_read_number(in, &bits_field, &out->bits, err);
	if (rc == 0)
		rc = quant_config_read_number(in, &group_size_field, &out->group_size, err);
	if (rc)
		return rc;
	out->has_sym = sym || zero_point;
	out->sym = json_bool(sym, !json_bool(zero_point, false));
	out->desc_act = json_bool(json_get(json, "desc_act"), false);
	rc = overrides_read(in->file, json, arena, &out->overrides, err);
	if (rc)
		return rc;
	if (is_autoround(out->method))
		rc = read_autoround(in, arena, out, err);
	else if (is_gptq(out->method))
		rc = read_gptq(in, arena, out, err);
	else
		rc = refuse_word(in->file, "quant_method", out->method, err);
	return rc ? rc : quant_config_refuse_rotation(in->file, json, err);
}

const char *quant_config_merge(struct quant_config *q, const struct quant_config *other)
{
	const char *differs = NULL;

	if (q->bits && other->bits && q->bits != other->bits)
		differs = "bits";
	else if (q->group_size && other->group_size && q->group_size != other->group_size)
		differs = "group_size";
	else if (q->has_sym && other->has_sym && q->sym != other->sym)
		differs = "sym";
	else if (*q->format && *other->format && (q->zeros != other->zeros || q->planar != other->planar))
		differs = "checkpoint_format";
	q->bits = q->bits ? q->bits : other->bits;
	q->group_size = q->group_size ? q->group_size : other->group_size;
	q->filled =
	    (!q->has_sym && other->has_sym && !other->sym) || (!*q->format && *other->format) ? other->file : NULL;
	if (!q->has_sym) {
		q->has_sym = other->has_sym;
		q->sym = other->sym;
	}
	if (!*q->format) {
		q->format = other->format;
		q->zeros = other->zeros;
		q->planar = other->planar;
	}
	if (!*q->producer) {
		q->producer = other->producer;
		q->gptqmodel = other->gptqmodel;
	}
	if (!q->overrides.count)
		q->overrides = other->overrides;
	return differs;
}

struct config_collector {
	struct opening *o;
	struct quant_config *out;
};

/* Adds a configuration; later ones only fill in missing settings. */
static int take_config(void *ctx, const char *where, const struct json *json)
{
	const struct config_collector *k = ctx;
	struct checkpoint *c = k->o->c;
	struct quant_config found, *out = k->out;
	const char *field;
	int rc = quant_config_read(&(struct quant_config_input){where, json}, &c->arena, &found, k->o->err);

	if (rc)
		return rc;
	if (found.doubt)
		checkpoint_warn(c, "%s: %s", where, found.doubt);
	if (!out->file) {
		*out = found;
		return 0;
	}
	field = quant_config_merge(out, &found);
	if (field)
		checkpoint_warn(c, "%s and %s disagree on %s; %s takes precedence", out->file, where, field, out->file);
	if (out->filled)
		checkpoint_warn(c, "%s does not give the zeros format; %s does", out->file, where);
	return 0;
}

/* The zeros option applies if no file gives the format. */
static int take_option(const struct checkpoint *c, struct quant_config *out, struct gptqfs_error *err)
{
	const bool v1 = c->zeros && strcmp(c->zeros, "v1") == 0, v2 = c->zeros && strcmp(c->zeros, "v2") == 0;

	if (!c->zeros)
		return 0;
	if (!v1 && !v2)
		return err_set(err, -EINVAL, "zeros=%.80s: expected v1 or v2", c->zeros);
	if (*out->format)
		return err_set(err, -EINVAL,
		    "zeros=%s is for files without a label, but %s says \"%.80s\"; omit the option, or correct that file",
		    c->zeros, out->file, out->format);
	out->zeros = v1 ? ZEROS_V1 : ZEROS_V2;
	out->format = v1 ? "gptq (given as -o zeros=v1)" : "gptq_v2 (given as -o zeros=v2)";
	return 0;
}

int quant_config_collect(struct opening *o, struct quant_config *out)
{
	int rc;

	*out = (struct quant_config){.zeros = ZEROS_V1, .sym = true, .method = "", .format = "", .producer = ""};
	rc = opening_configs(o, take_config, &(struct config_collector){o, out});
	return rc ? rc : take_option(o->c, out, o->err);
}
