/* SPDX-License-Identifier: MIT */

/* Loads an accelerator, decides whether to use it, and falls back to the CPU once it fails. */

#include "kernel/accel.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "kernel/accel_trial.h"

/* The plugin of auto and cuda; set by the Makefile. */
#ifndef GPTQFS_PLUGIN
#define GPTQFS_PLUGIN "/usr/local/lib/gptqfs/gptqfs-cuda.so"
#endif

static const size_t measured_bytes[GPTQFS_ACCEL_SPEEDS] = {(size_t)128 << 10, (size_t)1 << 20};

struct accel {
	char *path;
	bool auto_choice; /* used only where it is faster */
	uint64_t memory;
	void (*log)(void *ctx, const char *line);
	void *log_ctx;
	void *library;
	/* Set before `state` becomes USED, constant afterwards. */
	const struct accel_plugin *plugin;
	void *plugin_state;
	size_t smallest;
	_Atomic(enum gptqfs_accel_state) state;
	atomic_uint_fast64_t bytes;
	pthread_mutex_t lock; /* protects `told` */
	struct gptqfs_accel told;
};

/* ---- the options ---- */

int accel_new(const struct accel_options *options, struct accel **out, struct gptqfs_error *err)
{
	const char *choice = options->choice ? options->choice : "none";
	const bool named = strcmp(choice, "auto") == 0 || strcmp(choice, "cuda") == 0;
	const char *path = !named ? choice : options->plugin ? options->plugin : GPTQFS_PLUGIN;
	struct accel *a;

	*out = NULL;
	if (strcmp(choice, "none") == 0)
		return 0;
	if (!named && *choice != '/')
		return err_set(err, -EINVAL, "accel=%.200s: expected none, auto, cuda or the absolute path of a plugin",
		    choice);
	if (*path != '/')
		return err_set(err, -EINVAL, "accel=%s: the path of the plugin %.200s is not absolute", choice, path);
	a = calloc(1, sizeof(*a));
	if (!a)
		return err_memory(err);
	a->path = strdup(path);
	if (!a->path) {
		free(a);
		return err_memory(err);
	}
	a->auto_choice = strcmp(choice, "auto") == 0;
	a->memory = options->memory;
	a->log = options->log;
	a->log_ctx = options->log_ctx;
	a->state = GPTQFS_ACCEL_WAITING;
	pthread_mutex_init(&a->lock, NULL);
	snprintf(a->told.choice, sizeof(a->told.choice), "%s", choice);
	snprintf(a->told.text, sizeof(a->told.text), "it has not been tested yet; the CPU decodes");
	*out = a;
	return 0;
}

static void accel_unload(struct accel *a)
{
	if (a->plugin)
		a->plugin->close(a->plugin_state);
	a->plugin = NULL;
	if (a->library)
		dlclose(a->library);
	a->library = NULL;
}

void accel_free(struct accel *a)
{
	if (!a)
		return;
	accel_unload(a);
	pthread_mutex_destroy(&a->lock);
	free(a->path);
	free(a);
}

/* ---- telling ---- */

/* Sets the outcome for gptqfs_accel, and logs it as one line. */
__attribute__((format(printf, 2, 3))) static void accel_settle(struct accel *a, const char *fmt, ...)
{
	char line[sizeof(a->told.text) + sizeof(a->told.name) + 64];
	struct gptqfs_error text;
	va_list args;

	va_start(args, fmt);
	vsnprintf(text.text, sizeof(a->told.text), fmt, args);
	va_end(args);
	err_set(&text, 0, "%s", strdupa(text.text)); /* text of a plugin also ends up on terminals */
	pthread_mutex_lock(&a->lock);
	memcpy(a->told.text, text.text, sizeof(a->told.text));
	snprintf(line, sizeof(line), "accelerator %s: %s", *a->told.name ? a->told.name : a->path, a->told.text);
	pthread_mutex_unlock(&a->lock);
	if (a->log)
		a->log(a->log_ctx, line);
}

void accel_tell(struct accel *a, struct gptqfs_accel *out)
{
	if (!a) {
		*out = (struct gptqfs_accel){.choice = "none", .text = "the CPU decodes"};
		return;
	}
	pthread_mutex_lock(&a->lock);
	*out = a->told;
	pthread_mutex_unlock(&a->lock);
	out->state = atomic_load(&a->state);
	out->bytes = atomic_load(&a->bytes);
}

const char *gptqfs_accel_state_name(enum gptqfs_accel_state state)
{
	static const char *const names[] = {"none", "waiting", "used", "slower", "refused", "failed"};

	return names[state];
}

/* ---- loading ---- */

static int plugin_complain(struct accel_text *why, const char *what, uint32_t expected, uint32_t found)
{
	snprintf(why->text, sizeof(why->text), "%s is %u, expected %u: it was built for another gptqfs", what, found,
	    expected);
	return -ENOEXEC;
}

/* Encodings that jobs can have. */
static const struct accel_encoding accel_encodings[] = {{ACCEL_GPTQ, sizeof(struct qtensor)}};

/* Unknown encodings are ignored, but at least one must be known. */
static int check_encodings(const struct accel_plugin *p, struct accel_text *why)
{
	char what[64];
	int known = 0;

	for (size_t i = 0; i < sizeof(accel_encodings) / sizeof(*accel_encodings); i++) {
		const struct accel_encoding *ours = &accel_encodings[i];

		for (const struct accel_encoding *e = p->encodings; e->name; e++) {
			if (strcmp(e->name, ours->name) != 0)
				continue;
			snprintf(what, sizeof(what), "the size of its matrix of encoding %s", ours->name);
			if (e->matrix_size != ours->matrix_size)
				return plugin_complain(why, what, ours->matrix_size, e->matrix_size);
			known++;
		}
	}
	if (known)
		return 0;
	snprintf(why->text, sizeof(why->text), "decodes %.64s, and none of the encodings that can be accelerated (%s)",
	    p->encodings->name ? p->encodings->name : "nothing", ACCEL_GPTQ);
	return -ENOTSUP;
}

/* A plugin of another version may have anything after the first fields, so they are compared in this order. */
static int check_plugin(const struct accel_plugin *p, struct accel_text *why)
{
	if (p->size != sizeof(*p))
		return plugin_complain(why, "the size of its struct accel_plugin", sizeof(*p), p->size);
	if (p->version != ACCEL_VERSION)
		return plugin_complain(why, "its version of the interface", ACCEL_VERSION, p->version);
	if (p->job_size != sizeof(struct accel_job))
		return plugin_complain(why, "the size of its struct accel_job", sizeof(struct accel_job), p->job_size);
	if (!p->encodings || !p->open || !p->dequant || !p->forget || !p->close) {
		snprintf(why->text, sizeof(why->text), "a member of its struct accel_plugin is missing");
		return -ENOEXEC;
	}
	return check_encodings(p, why);
}

static bool plugin_decodes(const struct accel_plugin *p, const char *encoding)
{
	for (const struct accel_encoding *e = p->encodings; e->name; e++)
		if (strcmp(e->name, encoding) == 0)
			return true;
	return false;
}

#ifdef GPTQFS_STATIC
/* A static program cannot load libraries, which would need the C library it was linked with. */
static int load_library(struct accel *a, const struct accel_plugin **plugin, struct accel_text *why)
{
	(void)a;
	*plugin = NULL;
	snprintf(why->text, sizeof(why->text), "cannot be loaded: this gptqfs is linked statically and has no plugins");
	return -ENOTSUP;
}
#else
static int load_library(struct accel *a, const struct accel_plugin **plugin, struct accel_text *why)
{
	a->library = dlopen(a->path, RTLD_NOW | RTLD_LOCAL);
	if (!a->library) {
		snprintf(why->text, sizeof(why->text), "cannot be loaded: %s", dlerror());
		return -ENOENT;
	}
	*plugin = dlsym(a->library, ACCEL_SYMBOL);
	if (*plugin)
		return 0;
	snprintf(why->text, sizeof(why->text), "is not a plugin of gptqfs: it has no symbol %s", ACCEL_SYMBOL);
	return -ENOEXEC;
}
#endif

static int accel_load(struct accel *a, struct accel_text *why)
{
	const struct accel_config config = {a->memory};
	const struct accel_plugin *plugin;
	struct accel_text name = {""};
	int rc = load_library(a, &plugin, why);

	if (rc)
		return rc;
	rc = check_plugin(plugin, why);
	if (rc)
		return rc;
	rc = plugin->open(&config, &a->plugin_state, &name);
	if (rc) {
		*why = name;
		return rc;
	}
	a->plugin = plugin;
	pthread_mutex_lock(&a->lock);
	snprintf(a->told.name, sizeof(a->told.name), "%.255s", name.text);
	pthread_mutex_unlock(&a->lock);
	return 0;
}

/* ---- the choice ---- */

/*
 * For auto: returns the smallest size from which the accelerator is used, SIZE_MAX for never. It must be faster at a
 * measured size and all larger ones; each stands for pieces from half its size.
 */
static size_t smallest_worth(const struct gptqfs_accel_speed *speeds)
{
	size_t smallest = SIZE_MAX;

	for (size_t i = GPTQFS_ACCEL_SPEEDS; i-- && speeds[i].accel > speeds[i].cpu;)
		smallest = speeds[i].bytes / 2;
	return smallest;
}

static int accel_try(struct accel *a, const struct kernels *kernels, struct accel_text *why)
{
	const struct accel_trial trial = {a->plugin, a->plugin_state, kernels};
	struct gptqfs_accel_speed speeds[GPTQFS_ACCEL_SPEEDS] = {{0}};
	int rc = accel_trial_tiles(&trial, why);

	for (size_t i = 0; i < GPTQFS_ACCEL_SPEEDS; i++)
		speeds[i].bytes = measured_bytes[i];
	if (rc == 0)
		rc = accel_trial_speeds(&trial, speeds, GPTQFS_ACCEL_SPEEDS, why);
	if (rc)
		return rc;
	a->smallest = a->auto_choice ? smallest_worth(speeds) : 0;
	pthread_mutex_lock(&a->lock);
	memcpy(a->told.speeds, speeds, sizeof(speeds));
	a->told.smallest = a->smallest == SIZE_MAX ? 0 : a->smallest;
	pthread_mutex_unlock(&a->lock);
	return 0;
}

static void tell_choice(struct accel *a)
{
	const struct gptqfs_accel_speed *s = a->told.speeds; /* only this thread writes them */
	char use[64] = "the CPU is faster and decodes";

	if (a->smallest != SIZE_MAX)
		snprintf(use, sizeof(use), a->smallest ? "it decodes pieces of %zu KiB and more" : "it decodes",
		    a->smallest >> 10);
	accel_settle(a, "%.2f GB/s in pieces of %zu KiB (the CPU: %.2f), %.2f in pieces of %zu KiB (the CPU: %.2f); %s",
	    s[0].accel, s[0].bytes >> 10, s[0].cpu, s[1].accel, s[1].bytes >> 10, s[1].cpu, use);
}

void accel_start(struct accel *a, const struct kernels *kernels)
{
	struct accel_text why = {"no reason given"};
	int rc = accel_load(a, &why);

	if (rc == 0)
		rc = accel_try(a, kernels, &why);
	if (rc) {
		accel_unload(a);
		accel_settle(a, "%s; the CPU decodes", why.text);
		atomic_store(&a->state, GPTQFS_ACCEL_REFUSED);
		return;
	}
	tell_choice(a);
	if (a->smallest == SIZE_MAX)
		accel_unload(a);
	atomic_store(&a->state, a->smallest == SIZE_MAX ? GPTQFS_ACCEL_SLOWER : GPTQFS_ACCEL_USED);
}

/* ---- use ---- */

/* Remembers whether the source failed: then the plugin is not to blame. */
struct watched_copy {
	const struct accel_job *job;
	int rc;
};

static int copy_watched(void *ctx, const struct accel_copy *what)
{
	struct watched_copy *watched = ctx;
	int rc = watched->job->copy(watched->job->copy_ctx, what);

	if (rc)
		watched->rc = rc;
	return rc;
}

int accel_dequant(struct accel *a, const struct accel_job *job)
{
	const uint64_t bytes = (uint64_t)job->nrows * job->row_bytes;
	struct watched_copy watched = {job, 0};
	struct accel_job asked = *job;
	struct accel_text why = {"no reason given"};
	enum gptqfs_accel_state used = GPTQFS_ACCEL_USED;
	int rc;

	if (atomic_load_explicit(&a->state, memory_order_acquire) != GPTQFS_ACCEL_USED || bytes < a->smallest ||
	    !plugin_decodes(a->plugin, job->encoding))
		return 1;
	asked.copy = copy_watched;
	asked.copy_ctx = &watched;
	rc = a->plugin->dequant(a->plugin_state, &asked, &why);
	if (watched.rc)
		return watched.rc;
	if (rc == 0) {
		atomic_fetch_add_explicit(&a->bytes, bytes, memory_order_relaxed);
		return 0;
	}
	if (rc != -ENOTSUP && atomic_compare_exchange_strong(&a->state, &used, GPTQFS_ACCEL_FAILED))
		accel_settle(a, "failed while serving: %s; from now on the CPU decodes", why.text);
	return 1;
}
