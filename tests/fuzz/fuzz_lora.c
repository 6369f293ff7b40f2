/* SPDX-License-Identifier: MIT */

/*
 * An adapter for a model that is always the same: it is opened, and if it can be merged, every byte of every view is
 * read. The input is two lengths (two bytes each, little-endian), the header of adapter_model.safetensors,
 * adapter_config.json, and the data of the former up to the end. With an odd length it is adapters.safetensors.
 */

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "folder.h"
#include "read_all.h"

/* Matrices in FP8 and fp32, a bias, a stack of experts, an embedding that is tied to the head. */
static const char header[] =
    "{\"model.layers.0.q_proj.weight\":{\"dtype\":\"F8_E4M3\",\"shape\":[6,5],\"data_offsets\":[0,30]},"
    "\"model.layers.0.q_proj.weight_scale_inv\":{\"dtype\":\"F32\",\"shape\":[1,1],\"data_offsets\":[30,34]},"
    "\"model.layers.0.q_proj.bias\":{\"dtype\":\"F32\",\"shape\":[6],\"data_offsets\":[34,58]},"
    "\"model.layers.0.mlp.experts.gate_up_proj\":{\"dtype\":\"F32\",\"shape\":[2,6,5],\"data_offsets\":[58,298]},"
    "\"model.layers.0.mlp.experts.down_proj\":{\"dtype\":\"F32\",\"shape\":[2,5,3],\"data_offsets\":[298,418]},"
    "\"model.embed_tokens.weight\":{\"dtype\":\"F16\",\"shape\":[7,5],\"data_offsets\":[418,488]},"
    "\"model.norm.weight\":{\"dtype\":\"F32\",\"shape\":[5],\"data_offsets\":[488,508]}}";
static const char config[] = "{\"tie_word_embeddings\":true,\"vocab_size\":7}";

#define DATA_BYTES 508

static char directory[64];

static const char *const files[] = {"/model/model.safetensors", "/model/config.json", "/adapter/adapter_config.json",
    "/adapter/adapter_model.safetensors", "/adapter/adapters.safetensors", "/adapter", "/model", ""};

static const char *path_of(const char *name)
{
	static char path[128];

	snprintf(path, sizeof(path), "%s%s", directory, name);
	return path;
}

static void remove_directory(void)
{
	for (size_t i = 0; i < sizeof(files) / sizeof(*files); i++)
		remove(path_of(files[i]));
}

/* Writes a file of two parts, and before them the length of the first if `counted`. */
static void put_file(const char *name, bool counted, const void *head, size_t head_len, const void *body,
    size_t body_len)
{
	const uint64_t length = head_len;
	FILE *f = fopen(path_of(name), "wb");

	FUZZ_CHECK(f && (!counted || fwrite(&length, sizeof(length), 1, f) == 1));
	FUZZ_CHECK(fwrite(head, 1, head_len, f) == head_len && fwrite(body, 1, body_len, f) == body_len);
	fclose(f);
}

static void make_directory(void)
{
	static const char zeros[DATA_BYTES] = {0};

	if (directory[0])
		return;
	make_folder(directory);
	atexit(remove_directory);
	FUZZ_CHECK(mkdir(path_of("/model"), 0755) == 0 && mkdir(path_of("/adapter"), 0755) == 0);
	put_file("/model/model.safetensors", true, header, sizeof(header) - 1, zeros, sizeof(zeros));
	put_file("/model/config.json", false, config, sizeof(config) - 1, "", 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char model[128], adapter[128];
	const char *adapters[2] = {adapter, adapter};
	static const char *const views[] = {NULL, "fp16", "tensors", "fp32", "fused/bf16"};
	const struct gptqfs_options options = {.uid = (uid_t)-1,
	    .gid = (gid_t)-1,
	    .cache_bytes = 1 << 16,
	    .view = views[size % 11 % 5],
	    .lora = adapters,
	    .lora_count = size % 7 == 0 ? 0
	                  : size % 3    ? 1
	                                : 2,
	    .loras = size % 7 == 0 ? directory : NULL,
	    .lora_base_tokenizer = size % 2};
	size_t header_len, config_len;
	struct gptqfs_error err;
	struct gptqfs *m;

	if (size < 4)
		return 0;
	header_len = data[0] | (size_t)data[1] << 8;
	config_len = data[2] | (size_t)data[3] << 8;
	data += 4;
	size -= 4;
	header_len = header_len < size ? header_len : size;
	config_len = config_len < size - header_len ? config_len : size - header_len;
	make_directory();
	snprintf(model, sizeof(model), "%s/model", directory);
	snprintf(adapter, sizeof(adapter), "%s/adapter:%d", directory, size % 5 ? 1 : -3);
	put_file("/adapter/adapter_config.json", false, data + header_len, config_len, "", 0);
	put_file(size % 2 ? "/adapter/adapters.safetensors" : "/adapter/adapter_model.safetensors", true, data,
	    header_len, data + header_len + config_len, size - header_len - config_len);
	if (gptqfs_open(model, &options, &m, &err) == 0) {
		read_all(m, size % 2);
		gptqfs_close(m);
	}
	return 0;
}
