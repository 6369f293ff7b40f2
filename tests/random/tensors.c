/* SPDX-License-Identifier: MIT */

/* Compares tensors/ with the generated checkpoint. */

#include "view/escape.h"
#include "view/npy.h"
#include "random.h"

/* Opens NAME<suffix> of a tensor. */
static bool open_file_of(const struct check *k, const struct shown *t, const char *suffix, struct image *image)
{
	const size_t len = strlen(t->name), tail = strlen(".weight");
	const bool weight = len > tail && strcmp(t->name + len - tail, ".weight") == 0;
	struct text path = {0};
	struct stat st = {.st_ino = k->dir};
	char *part, *slash;
	bool good;

	escape_path(t->name, weight ? len - tail : len, &path);
	text_put(&path, suffix, strlen(suffix) + 1);
	if (path.failed)
		abort();
	for (part = path.data; (slash = strchr(part, '/')); part = slash + 1) {
		*slash = 0;
		if (gptqfs_lookup(k->m, st.st_ino, part, &st))
			break;
	}
	good = !slash && image_open(image, k->m, st.st_ino, part);
	text_free(&path);
	return good;
}

/* NAME.npy or NAME.t.npy: the header and the bytes. */
static void check_array(const struct check *k, const struct shown *t, bool transposed)
{
	const struct check as = {.c = k->c, .view = k->view == &BF16 ? &F32 : k->view};
	const char *dtype = t->other ? t->other : as.view->name;
	const int ndim = dims_of(t);
	const struct npy npy = {dtype_parse(dtype, strlen(dtype)), shape_of(t), ndim, transposed};
	struct text header = {0};
	struct image image;
	bool good;

	if (!open_file_of(k, t, transposed ? ".t.npy" : ".npy", &image)) {
		CHECK(!npy_descr(npy.dtype) || (transposed && ndim != 2));
		return;
	}
	npy_write(&npy, &header);
	good = CHECK(npy_descr(npy.dtype) && (!transposed || ndim == 2)) &&
	       CHECK(image.size == header.len + shown_bytes(t, as.view)) &&
	       read_part(&image, 0, k->c->has_holes ? header.len : image.size) &&
	       CHECK(memcmp(image.bytes, header.data, header.len) == 0) &&
	       CHECK(compare_bytes(&as, &image, t, header.len));
	if (!good)
		printf("  tensor %s, array of %s\n", t->name, dtype);
	text_free(&header);
	image_close(&image);
}

/* NAME.safetensors: the tensor comes first. */
static void check_own_file(struct check *k, const struct shown *t)
{
	struct gptqfs_error err;
	struct json *header = NULL;
	struct json_text text;
	struct image image;
	uint64_t len, at = 0;

	if (!CHECK(open_file_of(k, t, ".safetensors", &image)))
		return;
	if (CHECK(image.size >= 8) && read_part(&image, 0, k->c->has_holes ? 8 : image.size)) {
		len = load(image.bytes, 8);
		text = (struct json_text){(char *)image.bytes + 8, len};
		if (CHECK(len <= image.size - 8 && (8 + len) % 4096 == 0) &&
		    (!k->c->has_holes || read_part(&image, 8, len)) &&
		    CHECK(json_parse(text, t->name, &header, &err) == 0) && CHECK(json_count(header) <= 3))
			check_tensor(k, &image, json_after(json_first(header)), 8 + len, &at);
		CHECK(json_count(header) == 3 || 8 + len + at == image.size);
	}
	json_free(header);
	image_close(&image);
}

void check_tensors_view(const struct checkpoint *c, struct gptqfs *m, const struct format *type, bool is_root)
{
	struct check k = {.c = c, .m = m, .view = type, .dir = GPTQFS_ROOT};

	if (!is_root)
		k.dir = find_directory(m, k.dir, "tensors");
	if (!k.dir)
		return;
	k.shown = c->shown;
	k.shown_count = c->shown_count;
	for (unsigned i = 0; i < c->shown_count; i++) {
		k.seen = i;
		check_own_file(&k, &c->shown[i]);
		check_array(&k, &c->shown[i], false);
		check_array(&k, &c->shown[i], true);
	}
	/* Joined tensors are beside their parts. */
	k.shown = c->fused;
	k.shown_count = c->fused_count;
	for (unsigned i = 0; i < c->fused_count; i++) {
		k.seen = i;
		if (c->fused[i].part_count)
			check_own_file(&k, &c->fused[i]);
	}
}
