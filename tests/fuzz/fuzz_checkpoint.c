/* SPDX-License-Identifier: MIT */

/*
 * A small checkpoint: opens it, reads every byte of every view, and writes all reports. The input is two lengths (two
 * bytes each, little-endian), the header of model.safetensors, quantize_config.json, and the data of model.safetensors.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "folder.h"
#include "read_all.h"

static char directory[64];

static void remove_directory(void)
{
	static const char *const names[] = {
	    "model.safetensors", "quantize_config.json", "config.json", "tokenizer.json"};
	char path[128];

	for (int i = 0; i < 4; i++) {
		snprintf(path, sizeof(path), "%s/%s", directory, names[i]);
		unlink(path);
	}
	rmdir(directory);
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

/* For GGUF files: of three tokens, as many as the seeds have rows in their embeddings. */
static void make_directory(void)
{
	static const char tokenizer[] =
	    "{\"added_tokens\":[{\"id\":0,\"content\":\"<s>\",\"special\":true}],\"pre_tokenizer\":{\"type\":\"ByteLevel\","
	    "\"add_prefix_space\":false,\"use_regex\":true},\"model\":{\"type\":\"BPE\",\"vocab\":{\"<s>\":0,\"a\":1,\"b\":2},"
	    "\"merges\":[]}}";

	if (directory[0])
		return;
	make_folder(directory);
	atexit(remove_directory);
	put_file("tokenizer.json", tokenizer, sizeof(tokenizer) - 1, "", 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const types[] = {NULL, "bf16", "fp32"};
	/* Most runs show one view, which is several times as fast as all of them. */
	static const char *const views[] = {
	    NULL, "fp16", "tensors", "fused/fp16", NULL, "packed", "gguf", "mlx", NULL, "bf16", "tensors"};
	const struct gptqfs_options options = {.uid = (uid_t)-1,
	    .gid = (gid_t)-1,
	    .cache_bytes = 1 << 16,
	    .ahead = size % 2,
	    .gguf_q2 = size % 2,
	    .unquantized = size % 5 == 0,
	    .shard_bytes = size % 7 ? 0 : 4096,
	    .dtype = types[size % 3],
	    .view = views[size % 11]};
	struct gptqfs_error err;
	struct gptqfs *m;
	size_t header, config;
	char *length_and_header;

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
		read_all(m, size % 2);
		if (size % 16 == 1)
			compute_all(m);
		gptqfs_close(m);
	}
	return 0;
}
