/* SPDX-License-Identifier: MIT */
#include "image.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "fault.h"

#define PIECE 65521 /* so that reads begin and end inside of rows */
#define NAMES_MAX 8192

/* gptqfs_check as text and as JSON, gptqfs_stats. */
enum { TEXT, JSON, STATISTICS, REPORTS };

/* The value of a call into the library, with faults enabled. */
#define FAULTY(call)                               \
	({                                         \
		faults->active = 1;                \
		__typeof__(call) result_ = (call); \
		faults->active = 0;                \
		result_;                           \
	})

struct shown {
	struct stat st;
	unsigned char *bytes; /* of a file */
	char *names;          /* of a directory: its entries, with their inodes */
	uint64_t facts;       /* a hash of them */
};

struct image {
	uint64_t count; /* inodes, from the root on */
	struct shown *shown;
	char *report[REPORTS];
};

/* ---- verdicts ---- */

void verdict_note(struct verdict *v, enum outcome outcome, const char *fmt, ...)
{
	va_list args;

	if (outcome <= v->outcome)
		return;
	v->outcome = outcome;
	va_start(args, fmt);
	vsnprintf(v->what, sizeof(v->what), fmt, args);
	va_end(args);
}

void verdict_code(struct verdict *v, int rc, const char *call, const char *message)
{
	const bool own = rc == -faults->error || (rc == -EIO && faults->class != FAULT_ALLOC);

	verdict_note(v, own ? CLEAN : BLAMED, "%s: %s: %s", call, strerror(-rc), message);
	if (!*message || strchr(message, '\n'))
		verdict_note(v, WRONG, "%s: %s, with the message \"%s\"", call, strerror(-rc), message);
}

/* ---- what is shown ---- */

static uint64_t hash(uint64_t h, const void *bytes, size_t len)
{
	for (size_t i = 0; i < len; i++)
		h = (h ^ ((const unsigned char *)bytes)[i]) * 0x100000001b3;
	return h;
}

/* Cut at a length that no directory here has. */
static void list_names(struct gptqfs *m, uint64_t ino, char names[NAMES_MAX])
{
	struct gptqfs_dirent entry;
	size_t len = 0;

	names[0] = 0;
	for (uint64_t i = 0; len < NAMES_MAX && gptqfs_readdir(m, ino, i, &entry) == 0; i++)
		len += (size_t)snprintf(names + len, NAMES_MAX - len, "%s=%llu ", entry.name,
		    (unsigned long long)entry.ino);
}

static void hash_fact(void *ctx, const char *key, const char *value)
{
	uint64_t *h = ctx;

	*h = hash(*h, key, strlen(key) + 1);
	*h = hash(*h, value, strlen(value) + 1);
}

/* Those of the root are counters. */
static int hash_facts(struct gptqfs *m, uint64_t ino, uint64_t *h)
{
	*h = 0;
	return ino == GPTQFS_ROOT ? 0 : FAULTY(gptqfs_facts(m, ino, hash_fact, h));
}

/* Copies a piece to `to`, or compares it with the bytes there. Returns true if equal. */
static bool take_piece(const struct gptqfs_reply *reply, unsigned char *to, bool compare)
{
	bool same = true;

	for (int i = 0; i < reply->count; i++) {
		const struct iovec *iov = &reply->iov[i];

		if (!compare)
			memcpy(to, iov->iov_base, iov->iov_len);
		else if (memcmp(to, iov->iov_base, iov->iov_len) != 0)
			same = false;
		to += iov->iov_len;
	}
	return same;
}

/* Retries a failed read if the fault is over. */
static int read_piece(struct gptqfs *m, uint64_t ino, uint64_t at, struct gptqfs_reply *reply, struct verdict *v)
{
	int rc = FAULTY(gptqfs_read(m, ino, at, PIECE, reply));

	if (rc && v) {
		verdict_code(v, rc, "read", "in the log");
		if (!faults->always && FAULTY(gptqfs_read(m, ino, at, PIECE, reply)) == 0)
			return 0;
		if (!faults->always)
			verdict_note(v, WRONG, "inode %llu cannot be read after the fault", (unsigned long long)ino);
	}
	return rc;
}

/* Stores the bytes of a file or, with a verdict, compares them. */
static int read_file(struct gptqfs *m, uint64_t ino, const struct shown *shown, struct verdict *v)
{
	const uint64_t size = (uint64_t)shown->st.st_size;
	struct gptqfs_reply reply;

	for (uint64_t at = 0; at < size; at += PIECE) {
		const int rc = read_piece(m, ino, at, &reply, v);

		if (rc && v)
			continue;
		if (rc)
			return rc;
		if (reply.bytes != (size - at < PIECE ? size - at : PIECE))
			verdict_note(v, WRONG, "inode %llu: %zu bytes at %llu", (unsigned long long)ino, reply.bytes,
			    (unsigned long long)at);
		else if (!take_piece(&reply, shown->bytes + at, v != NULL))
			verdict_note(v, WRONG, "inode %llu: wrong bytes near %llu", (unsigned long long)ino,
			    (unsigned long long)at);
		faults->active = 1;
		gptqfs_read_done(m, &reply);
		faults->active = 0;
	}
	return 0;
}

static int statistics(struct gptqfs *m, FILE *out, struct gptqfs_error *err)
{
	struct gptqfs_stats *stats = NULL;
	int rc = gptqfs_stats(m, NULL, NULL, &stats, err);

	if (rc == 0)
		rc = gptqfs_stats_json(stats, out, err);
	gptqfs_stats_free(stats);
	return rc;
}

static int report(struct gptqfs *m, int which, char **text, struct gptqfs_error *err)
{
	size_t len;
	FILE *out = open_memstream(text, &len);
	int rc;

	if (!out)
		return -ENOMEM;
	rc = FAULTY(which == STATISTICS ? statistics(m, out, err) : gptqfs_check(m, which == JSON, out, err));
	if (fclose(out))
		rc = -ENOMEM;
	return rc;
}

/* ---- taking ---- */

static int take_inode(struct gptqfs *m, uint64_t ino, struct shown *s)
{
	int rc = gptqfs_getattr(m, ino, &s->st);
	char names[NAMES_MAX];

	list_names(m, ino, names);
	s->names = strdup(names);
	if (!s->names)
		return -ENOMEM;
	if (rc == 0)
		rc = hash_facts(m, ino, &s->facts);
	if (rc || S_ISDIR(s->st.st_mode))
		return rc;
	s->bytes = malloc((size_t)s->st.st_size + 1);
	return s->bytes ? read_file(m, ino, s, NULL) : -ENOMEM;
}

struct image *image_take(struct gptqfs *m)
{
	struct image *image = calloc(1, sizeof(*image));
	struct gptqfs_error err;
	struct stat st;
	int rc = 0;

	if (!image)
		return NULL;
	while (gptqfs_getattr(m, GPTQFS_ROOT + image->count, &st) == 0)
		image->count++;
	image->shown = calloc(image->count, sizeof(*image->shown));
	if (!image->shown)
		rc = -ENOMEM;
	for (uint64_t i = 0; rc == 0 && i < image->count; i++)
		rc = take_inode(m, GPTQFS_ROOT + i, &image->shown[i]);
	for (int i = 0; rc == 0 && i < REPORTS; i++)
		rc = report(m, i, &image->report[i], &err);
	if (rc == 0)
		return image;
	image_free(image);
	return NULL;
}

void image_free(struct image *image)
{
	if (!image)
		return;
	for (uint64_t i = 0; image->shown && i < image->count; i++) {
		free(image->shown[i].bytes);
		free(image->shown[i].names);
	}
	free(image->shown);
	/* Not counted when they were allocated, by open_memstream. */
	for (int i = 0; i < REPORTS; i++) {
		faults->blocks += image->report[i] != NULL;
		free(image->report[i]);
	}
	free(image);
}

/* ---- comparing ---- */

static void compare_inode(const struct shown *s, struct gptqfs *m, uint64_t ino, struct verdict *v)
{
	char names[NAMES_MAX];
	struct stat st;
	uint64_t facts;
	int rc;

	list_names(m, ino, names);
	if (strcmp(names, s->names) != 0)
		verdict_note(v, WRONG, "inode %llu: other names: %s", (unsigned long long)ino, names);
	if (gptqfs_getattr(m, ino, &st) || memcmp(&st, &s->st, sizeof(st)) != 0) {
		verdict_note(v, WRONG, "inode %llu: other attributes", (unsigned long long)ino);
		return;
	}
	rc = hash_facts(m, ino, &facts);
	if (rc)
		verdict_code(v, rc, "facts", "without one");
	else if (facts != s->facts)
		verdict_note(v, WRONG, "inode %llu: other facts", (unsigned long long)ino);
	if (!S_ISDIR(st.st_mode))
		read_file(m, ino, s, v);
}

static void compare_report(const char *expected, struct gptqfs *m, int which, struct verdict *v)
{
	static const char *const names[] = {"check", "check (JSON)", "statistics"};
	struct gptqfs_error err = {""};
	char *text = NULL;
	const int rc = report(m, which, &text, &err);

	if (rc)
		verdict_code(v, rc, names[which], err.text);
	else if (strcmp(text, expected) != 0)
		verdict_note(v, WRONG, "%s: another report:\n%s", names[which], text);
	faults->blocks += text != NULL;
	free(text);
}

void image_compare(const struct image *image, struct gptqfs *m, struct verdict *v)
{
	struct stat st;

	for (uint64_t i = 0; i < image->count; i++)
		compare_inode(&image->shown[i], m, GPTQFS_ROOT + i, v);
	if (gptqfs_getattr(m, GPTQFS_ROOT + image->count, &st) == 0)
		verdict_note(v, WRONG, "more inodes");
	for (int i = 0; i < REPORTS; i++)
		compare_report(image->report[i], m, i, v);
}
