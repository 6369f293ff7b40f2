/* SPDX-License-Identifier: MIT */
#include "fuzz.h"
#include "checkpoint/safetensors.h"

/* The first two bytes are the size of the data after the header; the rest is the header. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct safetensors_input in = {.name = "fuzz"};
	struct arena arena = {0};
	struct safetensors st = {0};
	struct gptqfs_error err;
	uint64_t end = 0;

	if (size < 2)
		return 0;
	in.header = (const char *)data + 2;
	in.len = size - 2;
	in.file_size = 8 + in.len + (uint64_t)data[0] * 256 + data[1];
	if (safetensors_parse(&in, &arena, &st, &err) == 0) {
		for (size_t i = 0; i < st.count; i++) {
			FUZZ_CHECK(st.tensors[i].begin >= 8 + in.len);
			FUZZ_CHECK(st.tensors[i].begin + st.tensors[i].bytes <= in.file_size);
			end += st.tensors[i].bytes;
		}
		FUZZ_CHECK(end == in.file_size - 8 - in.len);
		/* A parsed header can be written, and read again. */
		struct text out = {0};
		struct arena again = {0};
		struct safetensors copy;

		safetensors_write(st.tensors, st.count, &out);
		in = (struct safetensors_input){"copy", out.data + 8, out.len - 8, out.len + end};
		FUZZ_CHECK(safetensors_parse(&in, &again, &copy, &err) == 0 && copy.count == st.count);
		safetensors_free(&copy);
		text_free(&out);
		arena_free(&again);
	}
	safetensors_free(&st);
	arena_free(&arena);
	return 0;
}
