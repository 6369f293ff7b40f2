/* SPDX-License-Identifier: MIT */

/* The untrusted input of the GGUF view. The first byte selects what the rest is: the protobuf of a tokenizer.model, a
 * tokenizer.json, a tokenizer_config.json beside one, or a GGUF file, its keys and its tensors. */

#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "view/gguf/infos.h"
#include "view/gguf/kv.h"
#include "view/gguf/vocab.h"

enum { TOKENS = 300 };

static void fuzz_file(const uint8_t *data, size_t size)
{
	struct arena arena = {0};
	struct gguf_infos infos;
	struct gguf_kv kv;

	if (gguf_infos_parse(data, size, &arena, &infos) == 0)
		for (uint64_t i = 0; i < infos.count; i++) {
			const struct gguf_info *t = &infos.list[i];

			FUZZ_CHECK(strlen(t->name) < 64 && t->ndim <= GGUF_DIMENSIONS && t->type.name);
			FUZZ_CHECK(t->begin >= 24 && t->begin + t->bytes >= t->begin);
		}

	if (gguf_kv_parse(data, size, &arena, &kv) == 0) {
		FUZZ_CHECK(kv.len <= size && kv.tokens < kv.len && kv.count > 0);
		FUZZ_CHECK(memcmp(kv.keys + 8, "tokenizer.", 10) == 0);
		gguf_kv_has(&kv, "<s>");
	}
	arena_free(&arena);
}

/* Reads a tokenizer.json, or a tokenizer_config.json if `config`. */
static int read_json(struct gguf_vocab *v, const char *bytes, size_t size, bool config, struct gptqfs_error *err)
{
	char *copy = malloc(size + 1);

	if (!copy)
		return -1;
	memcpy(copy, bytes, size);
	return config ? vocab_read_config(copy, size, &v->arena, &v->config, err)
	              : vocab_read_json(copy, size, &v->json, err);
}

static void fuzz_vocab(const char *bytes, size_t size, int kind)
{
	static const char plain[] = "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[],"
				    "\"byte_fallback\":true}}";
	static const struct gguf_arch arch = {.class = "X", .name = "x"};
	const struct gguf_hparams h = {.arch = &arch, .vocabulary = TOKENS};
	struct gguf_keys keys = {.prefix = "x"};
	struct gptqfs_error err;
	struct gguf_vocab v;
	int rc = vocab_begin(&v, TOKENS, &err);

	if (rc == 0 && (kind == 1 || kind == 2))
		rc = read_json(&v, bytes, size, kind == 2, &err);
	if (rc == 0 && kind == 2)
		rc = read_json(&v, plain, sizeof(plain) - 1, false, &err);
	if (rc == 0 && vocab_assemble(&v, kind == 0 ? bytes : NULL, size, &err) == 0) {
		gguf_vocab_put(&v, &h, &keys);
		FUZZ_CHECK(keys.count >= 5);
		for (uint32_t i = 0; i < v.count; i++)
			FUZZ_CHECK(gguf_vocab_has(&v, v.tokens[i].text));
	}
	text_free(&keys.out);
	gguf_vocab_free(&v);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size && data[0] % 4 == 3)
		fuzz_file(data + 1, size - 1);
	else if (size)
		fuzz_vocab((const char *)data + 1, size - 1, data[0] % 4);
	return 0;
}
