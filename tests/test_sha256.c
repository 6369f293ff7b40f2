/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "sha256.h"
#include "test.h"

/* Hashes `repeat` copies of a text, in pieces of `piece` bytes. */
static const char *hash(const char *text, size_t repeat, size_t piece)
{
	static char hex[2 * SHA256_BYTES + 1];
	const size_t len = strlen(text), all = len * repeat;
	unsigned char out[SHA256_BYTES];
	struct sha256 s;
	char *data = malloc(all + 1);

	if (!data)
		abort();
	for (size_t i = 0; i < repeat; i++)
		memcpy(data + i * len, text, len);
	sha256_init(&s);
	for (size_t at = 0; at < all; at += piece)
		sha256_update(&s, data + at, all - at < piece ? all - at : piece);
	sha256_final(&s, out);
	free(data);
	sha256_hex(out, sizeof(out), hex);
	return hex;
}

/* The examples of the standard. */
static void test_examples(void)
{
	CHECK(strcmp(hash("", 1, 1), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855") == 0);
	CHECK(strcmp(hash("abc", 1, 64), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad") == 0);
	CHECK(strcmp(hash("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 1, 64),
		  "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1") == 0);
	CHECK(strcmp(hash("a", 1000000, 1000000), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0") ==
	      0);
}

/* How the bytes come makes no difference. */
static void test_pieces(void)
{
	char whole[2 * SHA256_BYTES + 1];

	for (size_t len = 50; len < 140; len++) {
		strcpy(whole, hash("x", len, len));
		for (size_t piece = 1; piece < 70; piece += 9)
			CHECK(strcmp(hash("x", len, piece), whole) == 0);
	}
}

/* The instructions of the processor, if it has them, against plain C. */
static void test_plain(void)
{
	unsigned char data[1000], out[2][SHA256_BYTES];
	struct sha256 s[2];
	unsigned seed = 1;

	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (unsigned char)rand_r(&seed);
	for (size_t len = 0; len < sizeof(data) - 8; len += 7) {
		sha256_init(&s[0]);
		sha256_init_plain(&s[1]);
		for (int i = 0; i < 2; i++) {
			sha256_update(&s[i], data + len % 8, len / 3);
			sha256_update(&s[i], data + len % 8 + len / 3, len - len / 3);
			sha256_final(&s[i], out[i]);
		}
		CHECK(memcmp(out[0], out[1], SHA256_BYTES) == 0);
	}
}

int main(void)
{
	test_plain();
	test_examples();
	test_pieces();
	return test_done();
}
