/* SPDX-License-Identifier: MIT */
#include "lora/adapter.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/err.h"
#include "checkpoint/header.h"
#include "file/guard.h"
#include "file/pages.h"
#include "kernel/lora/lora.h"

#define CONFIG_NAME "adapter_config.json"

/* Bytes of tensors allowed in any case, and for each byte on disk: more would be holes, which take as long to read. */
#define HOLES_FREE ((uint64_t)64 << 20)
#define HOLES_PER_BYTE 8

/* ---- what the user asks for ---- */

int lora_request_parse(const char *text, char **path, double *scale, struct gptqfs_error *err)
{
	const char *colon = strrchr(text, ':');
	size_t len = strlen(text);
	char *end = NULL;

	*scale = colon && colon[1] ? strtod(colon + 1, &end) : 1;
	if (end && !*end)
		len = (size_t)(colon - text);
	else
		*scale = 1;
	*path = NULL;
	if (!isfinite(*scale))
		return err_set(err, -EINVAL, "lora=%.200s: the scale is not finite; expected DIR or DIR:SCALE", text);
	if (!len)
		return err_set(err, -EINVAL, "lora=%.200s: expected DIR or DIR:SCALE", text);
	*path = strndup(text, len);
	return *path ? 0 : err_memory(err);
}

/* ---- messages ---- */

int adapter_refuse(const struct adapter *a, const struct lora_entry *e, struct gptqfs_error *err, const char *fmt, ...)
{
	char why[512], shape[128] = "";
	size_t len = 0;
	va_list args;

	va_start(args, fmt);
	vsnprintf(why, sizeof(why), fmt, args);
	va_end(args);
	for (int i = 0; i < e->t.ndim && len < sizeof(shape); i++)
		len += (size_t)snprintf(shape + len, sizeof(shape) - len, "%s%llu", i ? ", " : "",
		    (unsigned long long)e->t.shape[i]);
	return err_set(err, -EBADMSG, "%s: tensor %.200s, %s [%s]: %s", a->file.name, e->t.name, dtype_name(e->t.dtype),
	    shape, why);
}

int adapter_code(int rc)
{
	return rc == -ENOENT || rc == -ENOTDIR || rc == -EACCES || rc == -ELOOP ? -EBADMSG : rc;
}

/* ---- the directory ---- */

/* Says why a directory without the file is not an adapter that can be merged. */
static int refuse_directory(const struct adapter *a, const char *wanted, struct gptqfs_error *err)
{
	static const struct {
		const char *suffix, *what;
	} others[] = {
	    {"adapter_model.bin",
		"is a pickle, which can run code when read; convert it once: python3 -c \"import torch, "
		"safetensors.torch as s; s.save_file(torch.load('adapter_model.bin', weights_only=True), "
		"'adapter_model.safetensors')\""},
	    {".gguf", "is an adapter in GGUF; take the PEFT adapter that it was made from"},
	    {"config.json",
		"belongs to a full model, not to an adapter; mount that model instead, or give the directory of an adapter"},
	};

	for (size_t i = 0; i < sizeof(others) / sizeof(*others); i++)
		for (size_t k = 0; k < a->listing.count; k++) {
			const char *name = a->listing.names[k];

			if (!strchr(name, '/') && strcmp(name, CONFIG_NAME) != 0 &&
			    (*others[i].suffix == '.' ? ends_with(name, others[i].suffix)
						      : strcmp(name, others[i].suffix) == 0))
				return err_set(err, -EBADMSG, "%s: there is no %s, and %.200s %s", a->dir.path, wanted,
				    name, others[i].what);
		}
	return err_set(err, -EBADMSG, "%s: there is no %s; give the directory that holds the adapter", a->dir.path,
	    wanted);
}

static int open_adapter_file(struct adapter *a, struct checkpoint *c, const char *name, struct source_file *f,
    struct gptqfs_error *err)
{
	int rc;

	if (!listing_has(&a->listing, name))
		return refuse_directory(a, name, err);
	rc = adapter_code(source_file_open(&a->dir, name, f, err));
	if (rc)
		return rc;
	f->name = arena_printf(&c->arena, "%s/%s", a->dir.path, name);
	return f->name ? 0 : err_memory(err);
}

/* ---- the configuration ---- */

static int adapter_read_config(struct adapter *a, struct checkpoint *c, struct gptqfs_error *err)
{
	struct source_file f = {.fd = -1};
	char *text = NULL;
	int rc = open_adapter_file(a, c, CONFIG_NAME, &f, err);

	if (rc == 0)
		rc = checkpoint_read_object(&f, &text, &a->config, err);
	a->config_name = f.name;
	free(text);
	source_file_close(&f);
	return rc;
}

static bool is_truthy(const struct json *value)
{
	double number;

	if (!value || json_is_null(value))
		return false;
	if (json_number(value, &number))
		return number != 0;
	if (json_str(value))
		return *json_str(value) != 0;
	return json_count(value) || json_bool(value, false);
}

/* True if training began with the base as it is: other ways take something out of it first. */
static bool keeps_base(const char *init)
{
	static const char *const inits[] = {"gaussian", "eva", "orthogonal", "mica", "true", "false", ""};

	for (size_t i = 0; i < sizeof(inits) / sizeof(*inits); i++)
		if (strcasecmp(init, inits[i]) == 0)
			return true;
	return false;
}

/* Settings that change the base itself, or are not a sum with it. */
static int refuse_config(const struct adapter *a, struct gptqfs_error *err)
{
	static const char *const keys[] = {"alora_invocation_tokens", "arrow_config", "kasa_config",
	    "layer_replication", "use_bdlora", "use_qalora", "megatron_config"};
	const char *init = json_str(json_get(a->config, "init_lora_weights"));

	for (size_t i = 0; i < sizeof(keys) / sizeof(*keys); i++)
		if (is_truthy(json_get(a->config, keys[i])))
			return err_set(err, -ENOTSUP,
			    "%s: %s is set, and so the result is not a sum of the base and a product; merge it with "
			    "PEFT",
			    a->config_name, keys[i]);
	if (init && !keeps_base(init))
		return err_set(err, -ENOTSUP,
		    "%s: init_lora_weights is \"%.40s\", so training began from a changed base; convert it "
		    "(PEFT: save_pretrained with path_initial_model_for_weight_conversion), or, if the model "
		    "given is that base, set it to true",
		    a->config_name, init);
	return 0;
}

static int examine_config(struct adapter *a, struct checkpoint *c, double scale, struct gptqfs_error *err)
{
	const char *type = json_str(json_get(a->config, "peft_type"));
	const char *tuning = json_str(json_get(a->config, "fine_tune_type"));
	int rc;

	if (!type && !tuning && (json_get(a->config, "model_type") || json_get(a->config, "architectures")))
		return err_set(err, -EBADMSG,
		    "%s: describes a full model, not an adapter; give the directory of an adapter", a->config_name);
	if (!type && !tuning)
		return err_set(err, -EBADMSG,
		    "%s: has neither peft_type (PEFT) nor fine_tune_type (mlx-lm): not a known kind of adapter",
		    a->config_name);
	if (strcmp(type ? type : "LORA", "LORA") != 0 || strcmp(tuning ? tuning : "lora", "lora") != 0)
		return err_set(err, -ENOTSUP, "%s: %s is \"%.40s\", expected \"%s\"; only LoRA is merged",
		    a->config_name, type ? "peft_type" : "fine_tune_type", type ? type : tuning,
		    type ? "LORA" : "lora");
	a->mlx = !type;
	rc = refuse_config(a, err);
	a->scale = (struct lora_scale){.file = a->config_name, .whole = a->mlx, .requested = scale};
	return rc ? rc : lora_scale_read(&a->scale, a->config, &c->arena, err);
}

/* ---- tensors ---- */

struct finite_scan {
	const unsigned char *data;
	uint64_t bytes;
	enum dtype dtype;
	bool finite;
};

typedef uint16_t halves8 __attribute__((vector_size(16)));
typedef uint32_t words4 __attribute__((vector_size(16)));

/* True if a vector of 16 bytes is not all zeros. */
static bool any_bit(const void *vector)
{
	uint64_t halves[2];

	memcpy(halves, vector, sizeof(halves));
	return halves[0] | halves[1];
}

/* Inf and NaN have all bits of the exponent set. By vectors, because adapters may be gigabytes. */
static bool is_finite16(const unsigned char *data, uint64_t count, uint16_t exponent)
{
	const halves8 all = (halves8){0} + exponent;
	halves8 x, bad = {0};
	uint64_t i = 0;

	for (; i + 8 <= count; i += 8) {
		memcpy(&x, data + i * 2, sizeof(x));
		bad |= (halves8)((x & all) == all);
	}
	x = (halves8){0};
	memcpy(&x, data + i * 2, (count - i) * 2);
	bad |= (halves8)((x & all) == all);
	return !any_bit(&bad);
}

static bool is_finite32(const unsigned char *data, uint64_t count)
{
	const words4 all = (words4){0} + 0x7f800000;
	words4 x, bad = {0};
	uint64_t i = 0;

	for (; i + 4 <= count; i += 4) {
		memcpy(&x, data + i * 4, sizeof(x));
		bad |= (words4)((x & all) == all);
	}
	x = (words4){0};
	memcpy(&x, data + i * 4, (count - i) * 4);
	bad |= (words4)((x & all) == all);
	return !any_bit(&bad);
}

static void scan_finite(void *ctx)
{
	struct finite_scan *s = ctx;

	s->finite = s->dtype == DTYPE_F32 ? is_finite32(s->data, s->bytes / 4)
	                                  : is_finite16(s->data, s->bytes / 2, s->dtype == DTYPE_F16 ? 0x7c00 : 0x7f80);
}

/* Whether the elements are numbers that can be added. */
static int check_values(const struct adapter *a, const struct lora_entry *e, struct gptqfs_error *err)
{
	struct finite_scan scan = {a->file.map + e->t.begin, e->t.bytes, e->t.dtype, false};

	if (e->name.role == LORA_REPLACES)
		return dtype_is_cast(e->t.dtype)
		           ? 0
		           : adapter_refuse(a, e, err,
				 "it replaces a tensor of the model and must be F16, BF16, F32 or F64");
	if (e->t.dtype >= DTYPE_VIEWS)
		return adapter_refuse(a, e, err, "expected F32, F16 or BF16; save the adapter in one of them");
	if (!e->t.bytes || (e->t.ndim < 2 && e->name.role != LORA_BIAS && e->name.role != LORA_MAGNITUDE))
		return adapter_refuse(a, e, err,
		    "expected a matrix; it was saved without gathering its parts (ZeRO-3, FSDP): save it again");
	if (source_guard(scan_finite, &scan))
		return err_set(err, -EIO, "%s: tensor %.200s cannot be read", a->file.name, e->t.name);
	return scan.finite
	           ? 0
	           : adapter_refuse(a, e, err, "it holds inf or NaN: the training diverged; take an earlier one");
}

static int check_who(const struct adapter *a, const struct lora_entry *e, const char **who, struct gptqfs_error *err)
{
	if (!*who)
		*who = e->name.who;
	if (strcmp(*who, e->name.who) != 0)
		return adapter_refuse(a, e, err,
		    "it belongs to the adapter \"%.40s\", others of this file to \"%.40s\"; save one of them alone",
		    e->name.who, *who);
	return 0;
}

static int check_entry(const struct adapter *a, const struct lora_entry *e, struct gptqfs_error *err)
{
	const bool mlx = e->name.role == LORA_MLX_A || e->name.role == LORA_MLX_B;

	if (e->name.role == LORA_UNKNOWN || mlx != (a->mlx && e->name.role < LORA_REPLACES))
		return adapter_refuse(a, e, err,
		    "%s gives no tensor such a name; no part of an adapter is ignored, so it is refused",
		    a->mlx ? "mlx-lm" : "PEFT");
	return check_values(a, e, err);
}

static int by_module(const void *x, const void *y)
{
	const struct lora_name *a = &((const struct lora_entry *)x)->name, *b = &((const struct lora_entry *)y)->name;
	int order = strcmp(a->module, b->module);

	if (!order)
		order = (a->role == LORA_REPLACES) - (b->role == LORA_REPLACES);
	if (!order && a->role != LORA_REPLACES)
		order = (a->depth > b->depth) - (a->depth < b->depth);
	if (!order)
		order = strcmp(a->leaf, b->leaf);
	return order ? order : (a->role > b->role) - (a->role < b->role);
}

/* PEFT saves an embedding that was resized as X.weight and as X.modules_to_save.weight. */
static bool is_repeated(const struct adapter *a, const struct lora_entry *e, const struct lora_entry *other)
{
	return e->name.role == LORA_REPLACES && e->t.dtype == other->t.dtype && e->t.ndim == other->t.ndim &&
	       memcmp(e->t.shape, other->t.shape, e->t.ndim * sizeof(*e->t.shape)) == 0 &&
	       source_same_bytes(a->file.map + e->t.begin, a->file.map + other->t.begin, e->t.bytes);
}

/* Refuses two tensors that mean the same, and drops the second one of equals. */
static int drop_repeated(struct adapter *a, struct gptqfs_error *err)
{
	size_t kept = 0;

	for (size_t i = 0; i < a->count; i++) {
		const struct lora_entry *e = &a->entries[i], *last = kept ? &a->entries[kept - 1] : NULL;

		if (!last || by_module(last, e) != 0)
			a->entries[kept++] = *e;
		else if (!is_repeated(a, e, last))
			return adapter_refuse(a, e, err, "tensor %.200s means the same; remove one of them",
			    last->t.name);
	}
	a->count = kept;
	return 0;
}

static int take_tensors(struct adapter *a, struct checkpoint *c, const struct safetensors *st, uint32_t shard,
    struct gptqfs_error *err)
{
	const char *who = NULL;
	int rc = 0;

	a->entries = arena_alloc(&c->arena, st->count, sizeof(*a->entries));
	if (!a->entries)
		return err_memory(err);
	for (size_t i = 0; rc == 0 && i < st->count; i++) {
		struct lora_entry *e = &a->entries[a->count];

		e->t = st->tensors[i];
		e->t.shard = shard;
		if (lora_name_parse(e->t.name, &c->arena, &e->name))
			return err_memory(err);
		if (e->name.role == LORA_IGNORED)
			continue;
		a->count++;
		rc = check_entry(a, e, err);
		if (rc == 0 && e->name.role < LORA_REPLACES)
			rc = check_who(a, e, &who, err);
	}
	if (rc)
		return rc;
	if (!a->count)
		return err_set(err, -EBADMSG, "%s: holds no tensors: nothing was saved; save the adapter again",
		    a->file.name);
	qsort(a->entries, a->count, sizeof(*a->entries), by_module);
	return drop_repeated(a, err);
}

static int read_tensors(struct adapter *a, struct checkpoint *c, struct gptqfs_error *err)
{
	const uint64_t size = (uint64_t)a->file.stat.st_size, disk = (uint64_t)a->file.stat.st_blocks * 512;
	struct safetensors st = {0};
	uint32_t shard;
	int rc;

	if (size > HOLES_FREE && size / HOLES_PER_BYTE > disk)
		return err_set(err, -EBADMSG, "%s: %llu bytes, but only %llu are on the disk: finish the download",
		    a->file.name, (unsigned long long)size, (unsigned long long)disk);
	rc = source_file_map(&a->file, err);
	if (rc == 0 && checkpoint_attach(c, &a->file, &shard))
		rc = err_memory(err);
	if (rc == 0)
		rc = header_read(&a->file, &c->arena, &st, err);
	if (rc == 0)
		rc = take_tensors(a, c, &st, shard, err);
	safetensors_free(&st);
	return rc;
}

/* ---- all of it ---- */

int adapter_open(struct adapter *a, struct checkpoint *c, const struct lora_request *request, struct gptqfs_error *err)
{
	const char *weights;
	int rc;

	*a = (struct adapter){.dir = {.fd = -1, .blobs = -1}, .file = {.fd = -1}};
	rc = source_dir_open(&a->dir, request->path, c->dir.follow_symlinks, err);
	a->dir.log = c->dir.log;
	if (rc == 0)
		rc = listing_read(&a->dir, &c->arena, &a->listing, err);
	if (rc == 0)
		rc = adapter_read_config(a, c, err);
	if (rc == 0)
		rc = examine_config(a, c, request->scale, err);
	if (rc == 0 && listing_has(&a->listing, "new_embeddings.safetensors"))
		rc = err_set(err, -ENOTSUP,
		    "%s: new_embeddings.safetensors holds rows for new tokens, which are not merged; resize the base "
		    "and save the adapter with its embedding",
		    a->dir.path);
	weights = a->mlx ? "adapters.safetensors" : "adapter_model.safetensors";
	if (rc == 0)
		rc = open_adapter_file(a, c, weights, &a->file, err);
	if (rc == 0)
		rc = read_tensors(a, c, err);
	return adapter_code(rc);
}

void adapter_close(struct adapter *a)
{
	source_file_close(&a->file);
	source_dir_close(&a->dir);
	json_free(a->config);
	a->config = NULL;
}
