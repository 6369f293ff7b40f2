/* SPDX-License-Identifier: MIT */
#include "view/npy.h"

#include <stdlib.h>
#include <string.h>

#include "../test.h"

/* The header has this dict, and all that is around it. */
static bool writes(struct npy npy, const char *dict)
{
	const size_t before = 3, len = strlen(dict);
	struct text out = {0};
	const unsigned char *header;
	bool good;

	text_put(&out, "abc", before);
	npy_write(&npy, &out);
	header = (unsigned char *)out.data + before;
	out.len -= before;
	good = out.len % 64 == 0 && out.len >= 10 + len + 1 && memcmp(header, "\x93NUMPY\1\0", 8) == 0 &&
	       (size_t)(header[8] | header[9] << 8) == out.len - 10 && memcmp(header + 10, dict, len) == 0 &&
	       header[out.len - 1] == '\n';
	for (size_t i = 10 + len; good && i < out.len - 1; i++)
		good = header[i] == ' ';
	if (!good)
		printf("  %.*s", (int)out.len, (const char *)header);
	text_free(&out);
	return good;
}

#define SHAPE(...)          \
	(const uint64_t[])  \
	{                   \
		__VA_ARGS__ \
	}

static void test_headers(void)
{
	CHECK(writes((struct npy){DTYPE_F16, SHAPE(4096, 11008), 2, false},
	    "{'descr': '<f2', 'fortran_order': False, 'shape': (4096, 11008), }"));
	CHECK(writes((struct npy){DTYPE_F32, SHAPE(4096, 11008), 2, true},
	    "{'descr': '<f4', 'fortran_order': True, 'shape': (11008, 4096), }"));
	CHECK(writes((struct npy){DTYPE_I64, SHAPE(7), 1, false},
	    "{'descr': '<i8', 'fortran_order': False, 'shape': (7,), }"));
	CHECK(writes((struct npy){DTYPE_BOOL, SHAPE(0), 0, false},
	    "{'descr': '|b1', 'fortran_order': False, 'shape': (), }"));
	CHECK(writes((struct npy){DTYPE_U8, SHAPE(0, 18446744073709551615ull, 3), 3, false},
	    "{'descr': '|u1', 'fortran_order': False, 'shape': (0, 18446744073709551615, 3), }"));
}

/* However long the dict is. */
static void test_padding(void)
{
	uint64_t shape[16];
	char dict[1024];

	for (int ndim = 2; ndim <= 16; ndim++) {
		size_t len = (size_t)sprintf(dict, "{'descr': '<c8', 'fortran_order': False, 'shape': (");

		for (int i = 0; i < ndim; i++) {
			shape[i] = 12345678 >> ndim;
			len += (size_t)sprintf(dict + len, "%s%llu", i ? ", " : "", (unsigned long long)shape[i]);
		}
		strcpy(dict + len, "), }");
		CHECK(writes((struct npy){DTYPE_C64, shape, ndim, false}, dict));
	}
}

static void test_types(void)
{
	for (enum dtype d = 0; d < DTYPE_COUNT; d++) {
		const char *descr = npy_descr(d);

		/* numpy has no bf16 and no floats of 8 bits or less. */
		if (d == DTYPE_BF16 || (*dtype_name(d) == 'F' && dtype_bits(d) <= 8))
			CHECK(!descr);
		else
			CHECK(descr && (size_t)(descr[2] - '0') == dtype_bytes(d));
	}
}

int main(void)
{
	test_headers();
	test_padding();
	test_types();
	return test_done();
}
