/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "fuzz.h"
#include "checkpoint/index.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena arena = {0};
	struct index index;
	struct gptqfs_error err;

	if (index_parse((struct json_text){(const char *)data, size}, "fuzz", &arena, &index, &err) == 0)
		for (size_t i = 0; i < index.count; i++) {
			const char *shard = index.shards[index.entries[i].shard];

			FUZZ_CHECK(index_find(&index, index.entries[i].tensor) == (int64_t)index.entries[i].shard);
			FUZZ_CHECK(shard[0] && shard[0] != '/' && strcmp(shard, "..") && strncmp(shard, "../", 3) &&
				   !strstr(shard, "/../"));
		}
	arena_free(&arena);
	return 0;
}
