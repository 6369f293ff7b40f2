/* SPDX-License-Identifier: MIT */
#include "offline/tar.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK 512
/* Archives end at a multiple of it; some programs want that. */
#define RECORD (20 * BLOCK)
#define SIZE_MAX_OCTAL 077777777777u /* in 11 octal digits */

struct ustar {
	char name[100], mode[8], uid[8], gid[8], size[12], mtime[12], checksum[8], type, link[100], magic[6],
	    version[2];
	char user[32], group[32], major[8], minor[8], prefix[155], unused[12];
};

_Static_assert(sizeof(struct ustar) == BLOCK, "a header is one block");

static size_t padding(uint64_t bytes)
{
	return (size_t)(-bytes % BLOCK);
}

/* Octal digits that fill the field, and NUL. */
static void put_octal(char *field, size_t size, uint64_t n)
{
	field[--size] = 0;
	while (size) {
		field[--size] = (char)('0' + (n & 7));
		n >>= 3;
	}
}

#define OCTAL(field, n) put_octal(field, sizeof(field), n)

static void put_header(char *block, const char *name, const struct entry *e, char type, uint64_t size)
{
	struct ustar *h = (struct ustar *)block;
	unsigned sum = 0;

	memset(h, 0, sizeof(*h));
	/* Not terminated if it fills the field. */
	memcpy(h->name, name, strnlen(name, sizeof(h->name)));
	OCTAL(h->mode, (e->mode & 0777) | (type == '5' ? 0700 : 0));
	OCTAL(h->uid, 0);
	OCTAL(h->gid, 0);
	OCTAL(h->size, size > SIZE_MAX_OCTAL ? 0 : size);
	OCTAL(h->mtime, e->mtime.tv_sec > 0 ? (uint64_t)e->mtime.tv_sec : 0);
	h->type = type;
	memcpy(h->magic, "ustar", sizeof(h->magic));
	memcpy(h->version, "00", sizeof(h->version));
	/* As if the sum were blanks. */
	memset(h->checksum, ' ', sizeof(h->checksum));
	for (size_t i = 0; i < BLOCK; i++)
		sum += (unsigned char)block[i];
	put_octal(h->checksum, sizeof(h->checksum) - 1, sum);
}

/* Returns the bytes of "LENGTH key=value\n", whose length counts its own digits. */
static size_t record_bytes(const char *key, const char *value)
{
	const size_t rest = strlen(key) + strlen(value) + 3;
	size_t digits = 1, total;

	for (;;) {
		char text[24];

		total = digits + rest;
		if ((size_t)snprintf(text, sizeof(text), "%zu", total) == digits)
			return total;
		digits++;
	}
}

static size_t put_record(char *at, const char *key, const char *value)
{
	const size_t bytes = record_bytes(key, value);

	/* The NUL falls on what follows, or on the padding: see make_headers. */
	return (size_t)snprintf(at, bytes + 1, "%zu %s=%s\n", bytes, key, value);
}

/* Writes the headers of an entry: extended ones, where a ustar header is too small, and its own. */
static char *make_headers(const struct entry *e, const char *name, size_t *bytes)
{
	const bool directory = entry_is_directory(e), large = e->bytes > SIZE_MAX_OCTAL;
	const bool is_long = strlen(name) > sizeof(((struct ustar *)0)->name);
	char size[24], *text, *at;
	size_t records = 0;

	snprintf(size, sizeof(size), "%" PRIu64, e->bytes);
	records += is_long ? record_bytes("path", name) : 0;
	records += large ? record_bytes("size", size) : 0;
	*bytes = records ? BLOCK + records + padding(records) + BLOCK : BLOCK;
	text = calloc(1, *bytes + 1);
	if (!text)
		return NULL;
	at = text;
	if (records) {
		put_header(text, "././@PaxHeader", e, 'x', records);
		at += BLOCK;
		at += is_long ? put_record(at, "path", name) : 0;
		at += large ? put_record(at, "size", size) : 0;
		at += padding(records);
	}
	put_header(at, name, e, directory ? '5' : '0', e->bytes);
	return text;
}

static int begin_entry(struct tar *t, struct portion *out)
{
	const struct entry *e = &t->entries->list[t->next];
	char *path = entries_path(t->entries, t->next), *name = path;

	if (path && entry_is_directory(e) && asprintf(&name, "%s/", path) < 0)
		name = NULL;
	if (path && name)
		out->text = make_headers(e, name, &out->text_bytes);
	if (name != path)
		free(name);
	free(path);
	return out->text ? 0 : -ENOMEM;
}

/* Finds the next entry. Returns false after the last one. */
static bool find_entry(struct tar *t)
{
	for (;; t->turn++) {
		for (t->next++; t->next < t->entries->count; t->next++)
			if (t->entries->list[t->next].turn == t->turn)
				return true;
		if (t->turn == TURN_CONFIG)
			return false;
		t->next = 0;
	}
}

int tar_next(void *ctx, struct portion *out)
{
	struct tar *t = ctx;
	const struct entry *e;
	uint64_t left;

	if (t->ended)
		return 0;
	if (!t->inside && !find_entry(t)) {
		out->zeros = 2 * BLOCK;
		out->zeros += (size_t)(RECORD - 1 - (t->written + out->zeros + RECORD - 1) % RECORD);
		t->ended = true;
		return 1;
	}
	if (!t->inside && begin_entry(t, out))
		return -ENOMEM;
	e = &t->entries->list[t->next];
	left = e->bytes - t->at;
	out->ino = e->ino;
	out->at = t->at;
	out->bytes = left < GPTQFS_READ_MAX ? (size_t)left : GPTQFS_READ_MAX;
	t->at += out->bytes;
	t->inside = t->at < e->bytes;
	if (!t->inside) {
		out->zeros = padding(e->bytes);
		t->at = 0;
	}
	t->written += out->text_bytes + out->bytes + out->zeros;
	return 1;
}
