/* SPDX-License-Identifier: MIT */

/* A path must decode to its name unless it was cut, and all its parts must be safe; see core/view/escape.h. */

#include "fuzz.h"
#include "../unescape.h"

static void check_part(const char *part, size_t len)
{
	FUZZ_CHECK(len > 0 && len <= ESCAPE_PART_MAX + 33);
	for (size_t i = 0; i < len; i++)
		FUZZ_CHECK((unsigned char)part[i] > 0x1f && part[i] != 0x7f && part[i] != '.');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct text path = {0}, name = {0};
	char *terminated = malloc(size + 1);
	size_t parts = 0;
	bool cut;

	if (!terminated)
		return 0;
	memcpy(terminated, data, size);
	terminated[size] = 0;
	/* NUL never occurs in a name as such. */
	size = strlen(terminated);
	escape_path(terminated, size, &path);
	for (size_t at = 0, n; at <= path.len; at += n + 1, parts++) {
		const char *slash = memchr(path.data + at, '/', path.len - at);

		n = slash ? (size_t)(slash - path.data) - at : path.len - at;
		check_part(path.data + at, n);
	}
	FUZZ_CHECK(parts <= ESCAPE_DEPTH_MAX);
	FUZZ_CHECK(unescape_path(path.data, path.len, &name, &cut));
	FUZZ_CHECK(cut || (name.len == size && (!size || memcmp(name.data, terminated, size) == 0)));
	text_free(&path);
	text_free(&name);
	free(terminated);
	return 0;
}
