/* SPDX-License-Identifier: MIT */

/*
 * The SHA-256 of every tensor, so that a copy can be verified without a mount. Hashes the bytes as served: finds the
 * files of weights by name, parses their headers, and reads through gptqfs_read as a mount does.
 */

#include <errno.h>
#include <nettle/sha2.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/crew.h"
#include "base/err.h"
#include "checkpoint/safetensors.h"
#include "file/listing.h"
#include "view/gguf/infos.h"

/* A tensor, or a whole file. */
struct hashed {
	const char *name;
	const char *dtype;     /* NULL for a file */
	const uint64_t *shape; /* [ndim] */
	uint8_t ndim;
	uint64_t ino, begin, bytes; /* in the file */
	unsigned char hash[SHA256_DIGEST_SIZE];
};

struct hashes {
	struct gptqfs *m;
	struct gptqfs_error *err;
	struct arena arena;
	struct hashed *list;
	size_t count, room;
	atomic_size_t next; /* to be hashed */
	atomic_int failed;  /* 0, or the error of the first failure */
};

/* ---- finding the tensors ---- */

static int read_all(struct hashes *h, uint64_t ino, uint64_t offset, char *dst, size_t len)
{
	struct gptqfs_reply reply;

	while (len) {
		int rc = gptqfs_read(h->m, ino, offset, len < GPTQFS_READ_MAX ? len : GPTQFS_READ_MAX, &reply);
		const size_t bytes = rc ? 0 : reply.bytes;

		for (int i = 0; rc == 0 && i < reply.count; i++) {
			memcpy(dst, reply.iov[i].iov_base, reply.iov[i].iov_len);
			dst += reply.iov[i].iov_len;
		}
		if (rc == 0)
			gptqfs_read_done(h->m, &reply);
		if (!bytes)
			return rc ? rc : -EIO;
		offset += bytes;
		len -= bytes;
	}
	return 0;
}

static int hashes_reserve(struct hashes *h, size_t more)
{
	const size_t room = (h->count + more) * 2;
	struct hashed *list;

	if (h->room - h->count >= more)
		return 0;
	list = reallocarray(h->list, room, sizeof(*list));
	if (!list)
		return err_memory(h->err);
	h->list = list;
	h->room = room;
	return 0;
}

static int hashes_add_tensors(struct hashes *h, uint64_t ino, const struct safetensors *file)
{
	int rc = hashes_reserve(h, file->count);

	for (size_t i = 0; rc == 0 && i < file->count; i++) {
		const struct st_tensor *t = &file->tensors[i];

		h->list[h->count++] =
		    (struct hashed){t->name, dtype_name(t->dtype), t->shape, t->ndim, ino, t->begin, t->bytes, {0}};
	}
	return rc;
}

static int hashes_add_safetensors(struct hashes *h, const struct stat *st, const char *name)
{
	struct safetensors_input in = {.name = name, .file_size = (uint64_t)st->st_size};
	struct safetensors file = {0};
	unsigned char prefix[8];
	char *header = NULL;
	uint64_t len = 0;
	int rc = in.file_size < sizeof(prefix) ? -EBADMSG : read_all(h, st->st_ino, 0, (char *)prefix, sizeof(prefix));

	for (int i = 7; rc == 0 && i >= 0; i--)
		len = len << 8 | prefix[i];
	/* A file of the model that the view passes through may hold anything. */
	if (rc == 0 && (len > SAFETENSORS_HEADER_MAX || len > in.file_size - sizeof(prefix)))
		rc = -EBADMSG;
	if (rc == -EBADMSG)
		return err_set(h->err, rc, "%s: not a safetensors file, despite its name; remove it from the model",
		    name);
	if (rc == 0 && !(header = malloc(len)))
		rc = -ENOMEM;
	if (rc == 0)
		rc = read_all(h, st->st_ino, sizeof(prefix), header, len);
	if (rc) {
		rc = err_set(h->err, rc, "%s: the header cannot be read: %s", name, strerror(-rc));
	} else {
		in.header = header;
		in.len = len;
		rc = safetensors_parse(&in, &h->arena, &file, h->err);
	}
	free(header);
	if (rc == 0)
		rc = hashes_add_tensors(h, st->st_ino, &file);
	safetensors_free(&file);
	return rc;
}

#define GGUF_HEADER ((size_t)1 << 20) /* read at first; that of a large vocabulary has 8 MB */
#define GGUF_HEADER_MAX ((size_t)64 << 20)

/* Reads as much of a file as its header needs, which only parsing shows. Returns -EINVAL if that cannot be found. */
static int read_infos(struct hashes *h, const struct stat *st, struct gguf_infos *out)
{
	const size_t size = (size_t)st->st_size, most = size < GGUF_HEADER_MAX ? size : GGUF_HEADER_MAX;
	int rc = -EINVAL;

	for (size_t len = most < GGUF_HEADER ? most : GGUF_HEADER; rc == -EINVAL; len *= 2) {
		char *header;

		len = len < most ? len : most;
		header = malloc(len + 1);
		rc = header ? read_all(h, st->st_ino, 0, header, len) : -ENOMEM;
		if (rc == 0)
			rc = gguf_infos_parse((const unsigned char *)header, len, &h->arena, out);
		free(header);
		if (len == most)
			break;
	}
	return rc;
}

/*
 * The file comes first: only one thread can hash it, while others hash its tensors. A file that the checkpoint brings
 * may have other types of tensors, and is then only hashed as a whole.
 */
static int hashes_add_gguf(struct hashes *h, const struct stat *st, const char *name)
{
	struct gguf_infos infos;
	int rc = read_infos(h, st, &infos);

	if (rc == -EINVAL)
		infos.count = 0;
	else if (rc)
		return err_set(h->err, rc, "%s: the header cannot be read: %s", name, strerror(-rc));
	rc = hashes_reserve(h, infos.count + 1);
	if (rc)
		return rc;
	h->list[h->count++] = (struct hashed){.name = name, .ino = st->st_ino, .bytes = (uint64_t)st->st_size};
	for (uint64_t i = 0; i < infos.count; i++) {
		const struct gguf_info *t = &infos.list[i];

		h->list[h->count++] =
		    (struct hashed){t->name, t->type.name, t->shape, t->ndim, st->st_ino, t->begin, t->bytes, {0}};
	}
	return 0;
}

static int hashes_add_directory(struct hashes *h, uint64_t dir)
{
	struct gptqfs_dirent entry;
	struct stat st;
	int rc = 0;

	for (uint64_t i = 2; rc == 0 && gptqfs_readdir(h->m, dir, i, &entry) == 0; i++) {
		if (gptqfs_getattr(h->m, entry.ino, &st) || !S_ISREG(st.st_mode))
			continue;
		if (ends_with(entry.name, ".safetensors"))
			rc = hashes_add_safetensors(h, &st, entry.name);
		else if (ends_with(entry.name, ".gguf"))
			rc = hashes_add_gguf(h, &st, entry.name);
	}
	return rc;
}

/* By inode number, not by recursion: names in a file can nest arbitrarily deep. */
static int hash_files(struct hashes *h)
{
	struct stat st;
	int rc = 0;

	for (uint64_t ino = GPTQFS_ROOT; rc == 0 && gptqfs_getattr(h->m, ino, &st) == 0; ino++)
		if (S_ISDIR(st.st_mode))
			rc = hashes_add_directory(h, ino);
	return rc;
}

/* ---- hashing them ---- */

static int hash_tensor(struct hashes *h, struct hashed *t)
{
	uint64_t at = t->begin, end = t->begin + t->bytes;
	struct gptqfs_reply reply;
	struct sha256_ctx sha;

	sha256_init(&sha);
	while (at < end && !atomic_load(&h->failed)) {
		const uint64_t left = end - at;
		const int rc =
		    gptqfs_read(h->m, t->ino, at, left < GPTQFS_READ_MAX ? (size_t)left : GPTQFS_READ_MAX, &reply);

		if (rc)
			return rc;
		if (!reply.bytes)
			return -EIO;
		for (int i = 0; i < reply.count; i++)
			sha256_update(&sha, reply.iov[i].iov_len, reply.iov[i].iov_base);
		at += reply.bytes;
		gptqfs_read_done(h->m, &reply);
	}
	sha256_digest(&sha, sizeof(t->hash), t->hash);
	gptqfs_release(h->m, t->ino, t->begin, t->bytes);
	return 0;
}

/* Takes one tensor at a time in file order, so that the source is read from front to back. */
static void *hash_some(void *arg)
{
	struct hashes *h = arg;
	size_t i;
	int rc;

	while ((i = atomic_fetch_add(&h->next, 1)) < h->count && !atomic_load(&h->failed)) {
		rc = hash_tensor(h, &h->list[i]);
		if (rc && atomic_compare_exchange_strong(&h->failed, &(int){0}, rc))
			err_set(h->err, rc, "%.200s cannot be read: %s", h->list[i].name, strerror(-rc));
	}
	return NULL;
}

/* ---- telling them ---- */

static int hashes_by_name(const void *a, const void *b)
{
	const struct hashed *x = a, *y = b;

	return strcmp(x->name, y->name);
}

static void hashes_put_hash(const struct hashed *h, struct text *out)
{
	text_json_ascii(out, h->name);
	text_string(out, ": {\n");
	if (h->dtype) {
		text_printf(out, "\"dtype\": \"%s\",\n\"shape\": [", h->dtype);
		for (int i = 0; i < h->ndim; i++)
			text_printf(out, "%s\n%llu", i ? "," : "", (unsigned long long)h->shape[i]);
		text_printf(out, "%s],\n", h->ndim ? "\n" : "");
	} else {
		text_printf(out, "\"bytes\": %llu,\n", (unsigned long long)h->bytes);
	}
	text_string(out, "\"sha256\": \"");
	text_hex(out, h->hash, sizeof(h->hash));
	text_printf(out, "\"\n}");
}

static int write_hashes(struct hashes *h, FILE *out)
{
	struct text text = {0};

	qsort(h->list, h->count, sizeof(*h->list), hashes_by_name);
	text_printf(&text, "{");
	for (size_t i = 0; i < h->count; i++) {
		text_printf(&text, "%s\n", i ? "," : "");
		hashes_put_hash(&h->list[i], &text);
	}
	text_printf(&text, "\n}\n");
	return err_write(h->err, &text, out, "the hashes");
}

int gptqfs_hashes(struct gptqfs *m, FILE *out, struct gptqfs_error *err)
{
	struct hashes h = {.m = m, .err = err};
	int rc = hash_files(&h);

	if (rc == 0) {
		crew_run(hash_some, &h);
		rc = atomic_load(&h.failed);
	}
	if (rc == 0)
		rc = write_hashes(&h, out);
	free(h.list);
	arena_free(&h.arena);
	return rc;
}
