/* SPDX-License-Identifier: MIT */
#include "serve/status.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "log.h"

#define PREFIX "user.gptqfs."
#define PREFIX_LENGTH (sizeof(PREFIX) - 1)

/*
 * Numbers of the root have the width of the largest counter: they grow between the call that asks for the size of a
 * value and the one that fetches it, and programs such as rsync require both to agree.
 */
#define NUMBER_WIDTH 20

static time_t seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_BOOTTIME, &now);
	return now.tv_sec;
}

void status_start(struct server *server)
{
	server->started = seconds();
	server->generation = (uint32_t)time(NULL);
}

/* Passes on the model's facts about an inode, and for the root also those of the server. */
static int tell(const struct server *server, uint64_t ino, gptqfs_fact_fn *fn, void *ctx)
{
	char value[24];
	int rc = gptqfs_facts(server->model, ino, fn, ctx);

	if (rc || ino != GPTQFS_ROOT)
		return rc;
	if (server->readahead) {
		snprintf(value, sizeof(value), "%u", server->readahead);
		fn(ctx, "readahead_kib", value);
	}
	fn(ctx, "sandbox", server->sandbox);
	snprintf(value, sizeof(value), "%ld", (long)getpid());
	fn(ctx, "pid", value);
	snprintf(value, sizeof(value), "%lld", (long long)(seconds() - server->started));
	fn(ctx, "uptime_seconds", value);
	return 0;
}

struct constants {
	gptqfs_fact_fn *fn;
	void *ctx;
};

static void pass_constant(void *ctx, const char *key, const char *value)
{
	static const char *const keys[] = {"view", "kernel", "sandbox", "pid"};
	const struct constants *c = ctx;

	for (size_t i = 0; i < sizeof(keys) / sizeof(*keys); i++)
		if (strcmp(key, keys[i]) == 0)
			c->fn(c->ctx, key, value);
}

int status_tell_constants(const void *ctx, uint64_t ino, gptqfs_fact_fn *fn, void *fn_ctx)
{
	struct constants c = {fn, fn_ctx};

	return ino == GPTQFS_ROOT ? tell(ctx, ino, pass_constant, &c) : tell(ctx, ino, fn, fn_ctx);
}

/* ---- the file, and the log ---- */

/* Writes ASCII, with other bytes as \ooo like /proc/self/mountinfo. */
static void put_ascii(FILE *out, const char *value)
{
	for (; *value; value++)
		fprintf(out, *value >= 0x20 && *value < 0x7f && *value != '\\' ? "%c" : "\\%03o",
		    (unsigned char)*value);
}

static void put_line(void *ctx, const char *key, const char *value)
{
	fprintf(ctx, "%c%s:%*s", toupper((unsigned char)*key), key + 1, 19 - (int)strlen(key), "");
	put_ascii(ctx, value);
	putc('\n', ctx);
}

static void put_word(void *ctx, const char *key, const char *value)
{
	fprintf(ctx, "%s%s ", ftell(ctx) ? ", " : "", key);
	put_ascii(ctx, value);
}

/* Returns the facts of the root in one allocation, or NULL. */
static char *collect(const struct server *server, gptqfs_fact_fn *put, size_t *len)
{
	char *text = NULL;
	FILE *out = open_memstream(&text, len);
	int rc;

	if (!out)
		return NULL;
	rc = tell(server, GPTQFS_ROOT, put, out);
	if (fclose(out) == 0 && rc == 0)
		return text;
	free(text);
	return NULL;
}

struct snapshot *status_snapshot(const struct server *server)
{
	struct snapshot *s = NULL;
	size_t len;
	char *text = collect(server, put_line, &len);

	if (text)
		s = malloc(sizeof(*s) + len);
	if (s) {
		s->len = len;
		memcpy(s->text, text, len);
	}
	free(text);
	return s;
}

void status_log(const struct server *server)
{
	size_t len;
	char *text = collect(server, put_word, &len);

	if (text)
		log_line("%s", text);
	free(text);
}

/* ---- extended attributes ---- */

struct answer {
	char *out;
	size_t size, used; /* used exceeds size if it did not fit */
	const char *key;   /* of the requested value */
	bool wide;         /* numbers are padded */
	bool found;
};

static void add_bytes(struct answer *a, const char *bytes, size_t len)
{
	/* Nothing is copied to nowhere: an empty value, whose size was asked. */
	if (len && a->used <= a->size && len <= a->size - a->used)
		memcpy(a->out + a->used, bytes, len);
	a->used += len;
}

static ssize_t answer_size(const struct answer *a)
{
	return !a->size || a->used <= a->size ? (ssize_t)a->used : -ERANGE;
}

static void put_name(void *ctx, const char *key, const char *value)
{
	struct answer *a = ctx;

	(void)value;
	add_bytes(a, PREFIX, PREFIX_LENGTH);
	add_bytes(a, key, strlen(key) + 1);
}

static void put_value(void *ctx, const char *key, const char *value)
{
	struct answer *a = ctx;

	if (strcmp(key, a->key) != 0)
		return;
	a->found = true;
	if (a->wide && strspn(value, "0123456789") == strlen(value))
		for (size_t n = strlen(value); n < NUMBER_WIDTH; n++)
			add_bytes(a, " ", 1);
	add_bytes(a, value, strlen(value));
}

ssize_t status_list_attributes(const struct server *server, uint64_t ino, char *out, size_t size)
{
	struct answer a = {.out = out, .size = size};
	int rc = tell(server, ino, put_name, &a);

	return rc ? rc : answer_size(&a);
}

ssize_t status_get_attribute(const struct server *server, uint64_t ino, const char *name, char *out, size_t size)
{
	struct answer a = {.out = out, .size = size, .wide = ino == GPTQFS_ROOT};
	int rc;

	if (strncmp(name, PREFIX, PREFIX_LENGTH) != 0)
		return -ENODATA;
	a.key = name + PREFIX_LENGTH;
	rc = tell(server, ino, put_value, &a);
	if (rc || !a.found)
		return rc ? rc : -ENODATA;
	return answer_size(&a);
}
