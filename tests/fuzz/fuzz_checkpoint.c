/* SPDX-License-Identifier: MIT */

/*
 * A whole small checkpoint: it is opened, every byte of every view is read, and everything is reported. The input is
 * two lengths (two bytes each, little-endian), the header of model.safetensors, quantize_config.json, and the data of
 * model.safetensors up to the end.
 */

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fuzz.h"
#include "gptqfs.h"

#define READ_LIMIT ((uint64_t)8 << 20) /* of one file; headers can promise more than is worth computing */

static char directory[64];

static void remove_directory(void)
{
	static const char *const names[] = {"model.safetensors", "quantize_config.json", "config.json"};
	char path[128];

	for (int i = 0; i < 3; i++) {
		snprintf(path, sizeof(path), "%s/%s", directory, names[i]);
		unlink(path);
	}
	rmdir(directory);
}

static void make_directory(void)
{
	if (directory[0])
		return;
	strcpy(directory, access("/dev/shm", W_OK) == 0 ? "/dev/shm/gptqfs-fuzz-XXXXXX" : "/tmp/gptqfs-fuzz-XXXXXX");
	FUZZ_CHECK(mkdtemp(directory) != NULL);
	atexit(remove_directory);
}

static void put_file(const char *name, const void *head, size_t head_len, const void *body, size_t body_len)
{
	char path[128];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	f = fopen(path, "wb");
	FUZZ_CHECK(f && fwrite(head, 1, head_len, f) == head_len && fwrite(body, 1, body_len, f) == body_len);
	fclose(f);
}

static void read_file(struct gptqfs *m, uint64_t ino, uint64_t size)
{
	/* An odd step, so that reads begin and end inside of rows. */
	for (uint64_t at = 0; at < size && at < READ_LIMIT; at += 100003) {
		struct gptqfs_reply reply;
		uint64_t sum = 0;

		FUZZ_CHECK(gptqfs_read(m, ino, at, 100003, &reply) == 0);
		for (int i = 0; i < reply.count; i++)
			sum += reply.iov[i].iov_len;
		FUZZ_CHECK(sum == reply.bytes && sum == (size - at < 100003 ? size - at : 100003));
		gptqfs_read_done(m, &reply);
	}
}

static void read_tree(struct gptqfs *m, uint64_t dir)
{
	struct gptqfs_dirent entry;
	struct stat st;

	for (uint64_t i = 2; gptqfs_readdir(m, dir, i, &entry) == 0; i++) {
		FUZZ_CHECK(gptqfs_lookup(m, dir, entry.name, &st) == 0 && st.st_ino == entry.ino);
		if (S_ISDIR(st.st_mode))
			read_tree(m, entry.ino);
		else
			read_file(m, entry.ino, (uint64_t)st.st_size);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const types[] = {NULL, "bf16", "fp32"};
	const struct gptqfs_options options = {
	    .uid = (uid_t)-1, .gid = (gid_t)-1, .cache_bytes = 1 << 16, .dtype = types[size % 3]};
	struct gptqfs_error err;
	struct gptqfs *m;
	size_t header, config;
	char *length_and_header;
	FILE *null;

	if (size < 4)
		return 0;
	header = data[0] | (size_t)data[1] << 8;
	config = data[2] | (size_t)data[3] << 8;
	data += 4;
	size -= 4;
	header = header < size ? header : size;
	config = config < size - header ? config : size - header;
	make_directory();
	length_and_header = calloc(1, 8 + header);
	FUZZ_CHECK(length_and_header != NULL);
	length_and_header[0] = (char)header;
	length_and_header[1] = (char)(header >> 8);
	memcpy(length_and_header + 8, data, header);
	put_file("model.safetensors", length_and_header, 8 + header, data + header + config, size - header - config);
	put_file("quantize_config.json", data + header, config, "", 0);
	put_file("config.json", data + header, config, "", 0);
	free(length_and_header);
	if (gptqfs_open(directory, &options, &m, &err) == 0) {
		read_tree(m, GPTQFS_ROOT);
		null = fopen("/dev/null", "w");
		FUZZ_CHECK(null && gptqfs_check(m, true, null, &err) == 0 && gptqfs_check(m, false, null, &err) == 0);
		fclose(null);
		gptqfs_close(m);
	}
	return 0;
}
