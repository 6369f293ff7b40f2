/* SPDX-License-Identifier: MIT */

/* Compares a view with the generated checkpoint: headers, index, configuration, and every byte of every tensor. */

#include <errno.h>
#include <sys/mman.h>

#include "random.h"

#define SHARD_BYTES UINT64_C(5000000000) /* most bytes in a shard of a view */

/* ---- reading ---- */

/* Reads bytes into a buffer, optionally in calls of random sizes. */
static bool read_range(const struct image *image, uint64_t at, uint64_t size, bool pieces, unsigned char *to)
{
	while (size) {
		const uint64_t most = size < GPTQFS_READ_MAX ? size : GPTQFS_READ_MAX;
		const size_t n = pieces ? 1 + below(most) : most;
		struct gptqfs_reply reply;
		size_t got = 0;

		if (!CHECK(gptqfs_read(image->m, image->ino, at, n, &reply) == 0))
			return false;
		for (int i = 0; i < reply.count && got + reply.iov[i].iov_len <= n; i++) {
			memcpy(to + got, reply.iov[i].iov_base, reply.iov[i].iov_len);
			got += reply.iov[i].iov_len;
		}
		gptqfs_read_done(image->m, &reply);
		if (!CHECK(got == n && reply.bytes == n))
			return false;
		at += n, to += n, size -= n;
	}
	return true;
}

/* Fills a part of an image, at once or in pieces in any order. */
bool read_part(const struct image *image, uint64_t at, uint64_t size)
{
	uint64_t cuts[10] = {0};
	unsigned order[9], n = 1;
	bool good = true;

	if (chance(40))
		return read_range(image, at, size, false, image->bytes + at);
	while (n < 9 && cuts[n - 1] < size) {
		cuts[n] = cuts[n - 1] + 1 + below((size - cuts[n - 1] + 2) / 2);
		n++;
	}
	if (cuts[n - 1] > size)
		n--;
	cuts[n] = size;
	shuffle(order, n);
	for (unsigned i = 0; good && i < n; i++)
		good = read_range(image, at + cuts[order[i]], cuts[order[i] + 1] - cuts[order[i]], chance(30),
		    image->bytes + at + cuts[order[i]]);
	return good;
}

bool image_open(struct image *image, struct gptqfs *m, uint64_t dir, const char *name)
{
	struct gptqfs_reply reply;
	struct stat st;

	if (gptqfs_lookup(m, dir, name, &st))
		return false;
	*image = (struct image){m, st.st_ino, (uint64_t)st.st_size, MAP_FAILED};
	image->bytes =
	    mmap(NULL, image->size + 1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (!CHECK(image->bytes != MAP_FAILED))
		return false;
	if (CHECK(gptqfs_read(m, st.st_ino, image->size + below(3), 9999, &reply) == 0)) {
		CHECK(reply.bytes == 0);
		gptqfs_read_done(m, &reply);
	}
	return true;
}

void image_close(struct image *image)
{
	munmap(image->bytes, image->size + 1);
}

/* ---- comparing ---- */

int dims_of(const struct shown *t)
{
	return t->weight ? t->weight->ndim : t->stored->ndim;
}

const uint64_t *shape_of(const struct shown *t)
{
	return t->weight ? t->weight->shape : t->stored->shape;
}

static uint64_t elements_of(const struct shown *t)
{
	uint64_t n = 1;

	if (t->part_count) {
		n = 0;
		for (unsigned i = 0; i < t->part_count; i++)
			n += elements_of(&t->parts[i]);
		return n;
	}
	if (t->zeros)
		return t->zeros;
	for (int i = 0; i < dims_of(t); i++)
		n *= shape_of(t)[i];
	return n;
}

uint64_t shown_bytes(const struct shown *t, const struct format *view)
{
	return t->other ? t->stored->bytes : elements_of(t) * format_bytes(view);
}

/* Returns the bytes that a view must have for a tensor. */
static unsigned char *expected_bytes(const struct shown *t, const struct format *view)
{
	const unsigned to = format_bytes(view);
	const struct format *f = t->stored && !t->other ? find_format(t->stored->dtype) : NULL;
	const uint64_t n = elements_of(t);
	unsigned char *bytes, *at;

	if (t->other || (f && f == view))
		return t->stored->data;
	bytes = at = take(n * to);
	for (unsigned i = 0; i < t->part_count; i++) {
		memcpy(at, expected_bytes(&t->parts[i], view), elements_of(&t->parts[i]) * to);
		at += elements_of(&t->parts[i]) * to;
	}
	if (t->part_count || t->zeros)
		return bytes;
	for (uint64_t i = 0; i < n; i++) {
		const double x = t->weight ? t->weight->values[i]
		                           : decode(f, load(t->stored->data + i * format_bytes(f), format_bytes(f)));

		store(bytes + i * to, encode(view, x), to);
	}
	return bytes;
}

static bool compare_hole(const struct image *image, uint64_t at, uint64_t size)
{
	unsigned char got[5000];
	bool good = true;

	for (int i = 0; i < 8; i++) {
		const uint64_t n = 1 + below(sizeof(got)), from = i == 0 ? 0 : i == 1 ? size - n : below(size - n + 1);

		good &= read_range(image, at + from, n, false, got);
		for (uint64_t k = 0; k < n; k++)
			good &= got[k] == 0;
	}
	return good;
}

bool compare_bytes(const struct check *k, const struct image *image, const struct shown *t, uint64_t at)
{
	const uint64_t size = shown_bytes(t, k->view);
	const unsigned char *expected;
	uint64_t first = 0;

	if (t->stored && !t->stored->data)
		return compare_hole(image, at, size);
	if (k->c->has_holes && !read_part(image, at, size))
		return false;
	expected = expected_bytes(t, k->view);
	if (size == 0 || memcmp(image->bytes + at, expected, size) == 0)
		return true;
	while (image->bytes[at + first] == expected[first])
		first++;
	printf("  byte %" PRIu64 " of %" PRIu64 ": expected %02x, found %02x\n", first, size, expected[first],
	    image->bytes[at + first]);
	return false;
}

int64_t number(const struct json *value)
{
	int64_t n;

	return json_integer(value, &n) ? n : -1;
}

static bool same_shape(const struct shown *t, const struct json *shape)
{
	if (t->part_count) {
		const struct shown *first = &t->parts[0];
		const uint64_t columns = !first->zeros && dims_of(first) == 2 ? shape_of(first)[1] : 1;
		const bool is_bias = strcmp(t->name + strlen(t->name) - 5, ".bias") == 0;

		return json_count(shape) == (is_bias ? 1 : 2) &&
		       number(json_at(shape, 0)) == (int64_t)(elements_of(t) / columns) &&
		       (is_bias || number(json_at(shape, 1)) == (int64_t)columns);
	}
	if (json_count(shape) != (size_t)dims_of(t))
		return false;
	for (int i = 0; i < dims_of(t); i++)
		if (number(json_at(shape, (size_t)i)) != (int64_t)shape_of(t)[i])
			return false;
	return true;
}

/* Compares an entry of a header with the next tensor. Sets *at to the end of its data. */
bool check_tensor(struct check *k, const struct image *image, const struct json *entry, uint64_t data, uint64_t *at)
{
	const struct json *offsets = json_get(entry, "data_offsets");
	const char *dtype = json_str(json_get(entry, "dtype"));
	const struct shown *t = &k->shown[k->seen];
	const uint64_t begin = *at;
	bool good;

	if (!CHECK(k->seen < k->shown_count))
		return false;
	k->seen++;
	*at = begin + shown_bytes(t, k->view);
	good = CHECK(strcmp(json_key(entry), t->name) == 0);
	good = good && CHECK(dtype && strcmp(dtype, t->other ? t->other : k->view->name) == 0);
	good = good && CHECK(same_shape(t, json_get(entry, "shape")));
	good =
	    good && CHECK(number(json_at(offsets, 0)) == (int64_t)begin && number(json_at(offsets, 1)) == (int64_t)*at);
	good = good && CHECK(data + *at <= image->size);
	good = good && CHECK(compare_bytes(k, image, t, data + begin));
	if (!good)
		printf("  tensor %s, expected %s, view %s\n", json_key(entry), t->name, k->view->name);
	return good;
}

static void check_tensors(struct check *k, const struct image *image, const char *name, const struct json *header,
    uint64_t data)
{
	const struct json *e = json_first(header);
	uint64_t at = 0;
	unsigned count = 0;

	for (; e; e = json_after(e)) {
		const char *file = json_str(json_get(k->map, json_key(e)));

		if (strcmp(json_key(e), "__metadata__") == 0)
			continue;
		if (k->map)
			CHECK(file && strcmp(file, name) == 0);
		if (!check_tensor(k, image, e, data, &at))
			return;
		count++;
	}
	CHECK(count && data + at == image->size);
	CHECK(at <= SHARD_BYTES || count == 1);
	k->data_bytes += at;
}

static bool check_shard(struct check *k, const char *name)
{
	struct image image;
	struct gptqfs_error err;
	struct json *header = NULL;
	struct json_text text;
	uint64_t len;

	if (!image_open(&image, k->m, k->dir, name))
		return false;
	if (CHECK(image.size >= 8) && read_part(&image, 0, k->c->has_holes ? 8 : image.size)) {
		len = load(image.bytes, 8);
		text = (struct json_text){(char *)image.bytes + 8, len};
		if (CHECK(len <= image.size - 8 && (8 + len) % 4096 == 0) &&
		    (!k->c->has_holes || read_part(&image, 8, len)) && CHECK(json_check(text, name, &err) == 0) &&
		    CHECK(json_parse(text, name, &header, &err) == 0))
			check_tensors(k, &image, name, header, 8 + len);
	}
	json_free(header);
	image_close(&image);
	return true;
}

/* Reads a whole small file and parses it. */
struct json *read_json(struct check *k, const char *name)
{
	struct gptqfs_error err;
	struct json *json = NULL;
	struct json_text text;
	struct image image;

	if (!image_open(&image, k->m, k->dir, name))
		return NULL;
	text = (struct json_text){(char *)image.bytes, image.size};
	if (read_part(&image, 0, image.size) && CHECK(json_check(text, name, &err) == 0))
		CHECK(json_parse(text, name, &json, &err) == 0);
	image_close(&image);
	return json;
}

/* True if more than one shard is needed: only then are there numbers and an index. */
static unsigned count_shards(const struct check *k)
{
	uint64_t bytes = 0;
	unsigned shards = 1;

	for (unsigned i = 0; i < k->shown_count; i++) {
		const uint64_t more = shown_bytes(&k->shown[i], k->view);

		shards += bytes && bytes + more > SHARD_BYTES;
		bytes = bytes && bytes + more > SHARD_BYTES ? more : bytes + more;
	}
	return shards;
}

static void check_weights(struct check *k)
{
	const unsigned shards = count_shards(k);
	struct json *index = read_json(k, "model.safetensors.index.json");
	char name[64];

	k->map = json_get(index, "weight_map");
	if (CHECK((shards > 1) == (index != NULL)) && !index)
		CHECK(check_shard(k, "model.safetensors"));
	for (unsigned i = 1; index && i <= shards; i++) {
		snprintf(name, sizeof(name), "model-%05u-of-%05u.safetensors", i, shards);
		CHECK(check_shard(k, name));
	}
	CHECK(k->seen == k->shown_count);
	if (index) {
		CHECK(json_count(k->map) == k->shown_count);
		CHECK(number(json_get(json_get(index, "metadata"), "total_size")) == (int64_t)k->data_bytes);
	}
	json_free(index);
}

/* Nothing in a view may say "quantized", and its type must be the view's. */
static void check_config(struct check *k)
{
	static const char *const hidden[] = {"quantize_config.json", "quant_config.json", "quantization_config.json",
	    "adapter_model.safetensors", "x.safetensors", "layers", "1"};
	const char *type = k->view == &F16 ? "float16" : k->view == &BF16 ? "bfloat16" : "float32";
	struct json *config = read_json(k, "config.json");
	struct stat st;

	for (size_t i = 0; i < COUNT(hidden); i++)
		CHECK(gptqfs_lookup(k->m, k->dir, hidden[i], &st) == -ENOENT);
	CHECK(gptqfs_lookup(k->m, k->dir, "tokenizer.json", &st) == 0 && st.st_size == 2);
	if (!CHECK(k->c->has_config == (config != NULL)) || !config)
		return;
	CHECK(!json_get(config, "quantization_config"));
	CHECK(!json_get(json_get(config, "text_config"), "quantization_config"));
	CHECK(json_str(json_get(config, "torch_dtype")) && !strcmp(json_str(json_get(config, "torch_dtype")), type));
	json_free(config);
}

/* A directory below another, or 0. */
uint64_t find_directory(struct gptqfs *m, uint64_t parent, const char *name)
{
	struct stat st;

	return CHECK(gptqfs_lookup(m, parent, name, &st) == 0 && S_ISDIR(st.st_mode)) ? st.st_ino : 0;
}

void check_view(const struct checkpoint *c, struct gptqfs *m, const struct format *view, bool fused, bool is_root)
{
	const char *name = view == &F16 ? "fp16" : view == &BF16 ? "bf16" : "fp32";
	struct check k = {.c = c,
	    .shown = fused ? c->fused : c->shown,
	    .shown_count = fused ? c->fused_count : c->shown_count,
	    .m = m,
	    .view = view,
	    .dir = GPTQFS_ROOT};

	if (!is_root && fused)
		k.dir = find_directory(m, k.dir, "fused");
	if (!is_root && k.dir)
		k.dir = find_directory(m, k.dir, name);
	if (!k.dir)
		return;
	check_weights(&k);
	check_config(&k);
}
