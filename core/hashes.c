/* SPDX-License-Identifier: MIT */

/*
 * The SHA-256 of every tensor, so that a copy can be verified without a mount. Hashes the bytes as served: finds the
 * safetensors files by name, parses their headers, and reads through gptqfs_read as a mount does.
 */

#include <errno.h>
#include <nettle/sha2.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "checkpoint/safetensors.h"

#define THREADS_MAX 64

struct hashed {
	struct st_tensor t; /* begin is an offset in the file */
	uint64_t ino;
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

static int hashes_add_tensors(struct hashes *h, uint64_t ino, const struct safetensors *file)
{
	if (h->room - h->count < file->count) {
		const size_t room = (h->count + file->count) * 2;
		struct hashed *list = realloc(h->list, room * sizeof(*list));

		if (!list)
			return err_memory(h->err);
		h->list = list;
		h->room = room;
	}
	for (size_t i = 0; i < file->count; i++)
		h->list[h->count++] = (struct hashed){.t = file->tensors[i], .ino = ino};
	return 0;
}

static int hashes_add_file(struct hashes *h, const struct stat *st, const char *name)
{
	struct safetensors_input in = {.name = name, .file_size = (uint64_t)st->st_size};
	struct safetensors file = {0};
	unsigned char prefix[8];
	char *header = NULL;
	uint64_t len = 0;
	int rc = read_all(h, st->st_ino, 0, (char *)prefix, sizeof(prefix));

	for (int i = 7; i >= 0; i--)
		len = len << 8 | prefix[i];
	if (rc == 0 && len > SAFETENSORS_HEADER_MAX)
		rc = -EIO;
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

static bool hashes_is_weights(const char *name)
{
	static const char suffix[] = ".safetensors";
	const size_t len = strlen(name), tail = sizeof(suffix) - 1;

	return len > tail && strcmp(name + len - tail, suffix) == 0;
}

static int hashes_add_directory(struct hashes *h, uint64_t dir)
{
	struct gptqfs_dirent entry;
	struct stat st;
	int rc = 0;

	for (uint64_t i = 2; rc == 0 && gptqfs_readdir(h->m, dir, i, &entry) == 0; i++)
		if (gptqfs_getattr(h->m, entry.ino, &st) == 0 && S_ISREG(st.st_mode) && hashes_is_weights(entry.name))
			rc = hashes_add_file(h, &st, entry.name);
	return rc;
}

/* By inode number, not by recursion: names in a file can nest arbitrarily deep. */
static int add_all(struct hashes *h)
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
	uint64_t at = t->t.begin, end = t->t.begin + t->t.bytes;
	struct gptqfs_reply reply;
	struct sha256_ctx sha;

	sha256_init(&sha);
	while (at < end && !atomic_load(&h->failed)) {
		const uint64_t left = end - at;
		const int rc =
		    gptqfs_read(h->m, t->ino, at, left < GPTQFS_READ_MAX ? (size_t)left : GPTQFS_READ_MAX, &reply);

		if (rc)
			return rc;
		for (int i = 0; i < reply.count; i++)
			sha256_update(&sha, reply.iov[i].iov_len, reply.iov[i].iov_base);
		at += reply.bytes;
		gptqfs_read_done(h->m, &reply);
	}
	sha256_digest(&sha, sizeof(t->hash), t->hash);
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
			err_set(h->err, rc, "tensor %.200s cannot be read: %s", h->list[i].t.name, strerror(-rc));
	}
	return NULL;
}

/* Uses all CPUs. This thread hashes too, so the work gets done even if no other can be started. */
static int hash_all(struct hashes *h)
{
	pthread_t threads[THREADS_MAX];
	cpu_set_t cpus;
	int wanted = sched_getaffinity(0, sizeof(cpus), &cpus) == 0 ? CPU_COUNT(&cpus) : 1, started = 0;

	if (wanted > THREADS_MAX)
		wanted = THREADS_MAX;
	while (started < wanted - 1 && pthread_create(&threads[started], NULL, hash_some, h) == 0)
		started++;
	hash_some(h);
	while (started)
		pthread_join(threads[--started], NULL);
	return atomic_load(&h->failed);
}

/* ---- telling them ---- */

static int hashes_by_name(const void *a, const void *b)
{
	const struct hashed *x = a, *y = b;

	return strcmp(x->t.name, y->t.name);
}

static void hashes_put_hash(const struct hashed *h, struct text *out)
{
	text_json_ascii(out, h->t.name);
	text_printf(out, ": {\n\"dtype\": \"%s\",\n\"shape\": [", dtype_name(h->t.dtype));
	for (int i = 0; i < h->t.ndim; i++)
		text_printf(out, "%s\n%llu", i ? "," : "", (unsigned long long)h->t.shape[i]);
	text_printf(out, "%s],\n\"sha256\": \"", h->t.ndim ? "\n" : "");
	text_hex(out, h->hash, sizeof(h->hash));
	text_printf(out, "\"\n}");
}

static int write_all(struct hashes *h, FILE *out)
{
	struct text text = {0};
	int rc = 0;

	qsort(h->list, h->count, sizeof(*h->list), hashes_by_name);
	text_printf(&text, "{");
	for (size_t i = 0; i < h->count; i++) {
		text_printf(&text, "%s\n", i ? "," : "");
		hashes_put_hash(&h->list[i], &text);
	}
	text_printf(&text, "\n}\n");
	if (text.failed)
		rc = err_memory(h->err);
	else if (fwrite(text.data, 1, text.len, out) != text.len || fflush(out))
		rc = err_set(h->err, -EIO, "the hashes cannot be written: %s", strerror(errno));
	text_free(&text);
	return rc;
}

int gptqfs_hashes(struct gptqfs *m, FILE *out, struct gptqfs_error *err)
{
	struct hashes h = {.m = m, .err = err};
	int rc = add_all(&h);

	if (rc == 0)
		rc = hash_all(&h);
	if (rc == 0)
		rc = write_all(&h, out);
	free(h.list);
	arena_free(&h.arena);
	return rc;
}
