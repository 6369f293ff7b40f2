/* SPDX-License-Identifier: MIT */

/*
 * A model directory and operations on it. The input is a recipe: every choice takes a byte, or zero after the end. It
 * selects a layout (plain, sub-directories, an entry of the Hugging Face cache), configurations with patterns, modules
 * spread over shards with or without an index, other entries (links, FIFOs, files for readers), and up to 32
 * operations: consecutive reads, facts, listings, trims, reports, and changes of shards.
 */

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/text.h"
#include "file/beneath.h"
#include "folder.h"
#include "fuzz.h"
#include "gptqfs.h"

#define SHARDS 4
#define MODULES 6
#define FILES 64
#define HELD 4
#define OPERATIONS 32
#define STEPS 8 /* consecutive reads */

struct recipe {
	const uint8_t *at, *end;
};

struct shard {
	char name[64];
	struct text header, data;
	int tensors;
};

struct directory {
	char root[64];  /* of everything created */
	char files[96]; /* directory of the model's files */
	bool cached;    /* in the layout of the Hugging Face cache */
	int made_count;
	char made[FILES][160];
	struct shard shards[SHARDS];
	int shard_count;
	int group;
	struct text map; /* members of weight_map */
};

/* ---- choices ---- */

static unsigned take(struct recipe *r, unsigned below)
{
	return r->at < r->end ? *r->at++ % below : 0;
}

static bool chance(struct recipe *r, unsigned of)
{
	return take(r, of) == 1;
}

static const char *pick(struct recipe *r, const char *const *list, unsigned count)
{
	return list[take(r, count)];
}
#define PICK(r, list) pick(r, list, sizeof(list) / sizeof(*(list)))

/* ---- files ---- */

static const char *keep_path(struct directory *d, const char *dir, const char *name)
{
	FUZZ_CHECK(d->made_count < FILES);
	snprintf(d->made[d->made_count], sizeof(d->made[0]), "%s/%s", dir, name);
	return d->made[d->made_count++];
}

static void write_file(const char *path, const struct text *a, const struct text *b)
{
	const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	/* There may be a file in place of a folder. */
	if (fd < 0)
		return;
	FUZZ_CHECK(write(fd, a->data, a->len) == (ssize_t)a->len);
	FUZZ_CHECK(!b || write(fd, b->data, b->len) == (ssize_t)b->len);
	close(fd);
}

/* In a cache entry a file is a link to a blob. */
static void put_file(struct directory *d, const char *name, const struct text *a, const struct text *b)
{
	char blobs[96], hash[16], link[160];
	const char *up = "../../", *slash = strchr(name, '/');

	if (!d->cached) {
		write_file(keep_path(d, d->files, name), a, b);
		return;
	}
	snprintf(blobs, sizeof(blobs), "%s/models--o--n/blobs", d->root);
	snprintf(hash, sizeof(hash), "%d", d->made_count);
	write_file(keep_path(d, blobs, hash), a, b);
	snprintf(link, sizeof(link), "%s%sblobs/%s", slash ? "../" : "", up, hash);
	if (symlink(link, keep_path(d, d->files, name)) < 0)
		d->made_count--;
}

static void put_text(struct directory *d, const char *name, const char *bytes)
{
	const struct text text = {.data = (char *)bytes, .len = strlen(bytes)};

	put_file(d, name, &text, NULL);
}

/* One has the name of a file of the views. */
static const char *const folders[] = {"1_Pooling", "onnx", "model.safetensors"};
#define FOLDERS (sizeof(folders) / sizeof(*folders))

static char root[64];

static void remove_folders(const char *files)
{
	char path[160];

	for (size_t i = 0; i < FOLDERS; i++) {
		snprintf(path, sizeof(path), "%s/%s", files, folders[i]);
		rmdir(path);
	}
}

/* Two permanent directories, whose contents are recreated for each input. */
static void remove_root(void)
{
	static const char *const dirs[] = {"/models--o--n/refs/main", "/models--o--n/refs", "/models--o--n/snapshots/h",
	    "/models--o--n/snapshots", "/models--o--n/blobs", "/models--o--n", "/plain", ""};
	char path[160];

	for (size_t i = 0; i < sizeof(dirs) / sizeof(*dirs); i++) {
		snprintf(path, sizeof(path), "%s%s", root, dirs[i]);
		if (i)
			rmdir(path);
		else
			unlink(path);
	}
}

static void make_root(void)
{
	static const char *const dirs[] = {"/plain", "/models--o--n", "/models--o--n/blobs", "/models--o--n/snapshots",
	    "/models--o--n/snapshots/h", "/models--o--n/refs"};
	const struct text h = {.data = (char *)"h", .len = 1};
	char path[160];

	if (root[0])
		return;
	make_folder(root);
	for (size_t i = 0; i < sizeof(dirs) / sizeof(*dirs); i++) {
		snprintf(path, sizeof(path), "%s%s", root, dirs[i]);
		FUZZ_CHECK(mkdir(path, 0755) == 0);
	}
	snprintf(path, sizeof(path), "%s/models--o--n/refs/main", root);
	write_file(path, &h, NULL);
	atexit(remove_root);
}

/* ---- weights ---- */

static void add_data(struct text *data, size_t len, unsigned how)
{
	static const uint8_t zeros[4096];
	uint8_t bytes[4096];

	for (size_t i = 0; i < sizeof(bytes) && i < len; i++)
		bytes[i] = (uint8_t)((i * 37 + how * 101) ^ (i >> 3));
	for (size_t n; len; len -= n) {
		n = len < sizeof(bytes) ? len : sizeof(bytes);
		text_put(data, how % 4 ? (const char *)bytes : (const char *)zeros, n);
	}
}

static void add_tensor(struct directory *d, struct recipe *r, const char *name, const char *dtype,
    const unsigned *shape)
{
	struct shard *s = &d->shards[take(r, (unsigned)d->shard_count)];
	const size_t size = dtype[0] == 'B' || dtype[1] == '1' ? 2 : 4, begin = s->data.len;
	const unsigned odd = take(r, 64);
	const size_t elements = (size_t)shape[0] * (shape[1] ? shape[1] : 1);

	/* Sometimes a part of a module is missing, or has another type or length. */
	if (odd == 63)
		return;
	text_printf(&s->header, "%s", s->tensors++ ? "," : "");
	text_json_string(&s->header, name);
	text_printf(&s->header, ":{\"dtype\":\"%s\",\"shape\":[%u", odd == 62 ? "F32" : dtype, shape[0]);
	if (shape[1])
		text_printf(&s->header, ",%u", shape[1]);
	add_data(&s->data, elements * size, odd);
	text_printf(&s->header, "],\"data_offsets\":[%zu,%zu]}", begin, s->data.len);
	if (odd == 61)
		return;
	text_printf(&d->map, "%s", d->map.len ? "," : "");
	text_json_string(&d->map, name);
	text_printf(&d->map, ":\"%s\"", odd == 60 ? d->shards[0].name : s->name);
}

/* Groups of inputs: ascending, in any order, or one beyond the last. */
static void add_g_idx(struct directory *d, struct recipe *r, const char *name, unsigned k, unsigned groups)
{
	struct shard *s = &d->shards[0];
	const unsigned how = take(r, 8);
	const size_t begin = s->data.len;

	text_printf(&s->header, "%s", s->tensors++ ? "," : "");
	text_json_string(&s->header, name);
	for (unsigned i = 0; i < k; i++) {
		const uint32_t group = how == 7 ? groups : how == 6 ? 0 : how & 1 ? i * 7 % groups : i * groups / k;

		text_put(&s->data, (const char *)&group, 4);
	}
	text_printf(&s->header, ":{\"dtype\":\"I32\",\"shape\":[%u],\"data_offsets\":[%zu,%zu]}", k, begin,
	    s->data.len);
	text_printf(&d->map, "%s", d->map.len ? "," : "");
	text_json_string(&d->map, name);
	text_printf(&d->map, ":\"%s\"", s->name);
}

static const char *const kinds[] = {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "mlp.gate_proj",
    "mlp.up_proj", "mlp.down_proj", "block_sparse_moe.experts.0.w1", "mlp.experts.1.gate_proj", "attn.c_attn", "../x",
    "a\nb\x1b[2J", "\xe2\x80\xae.."};
#define KINDS ((unsigned)(sizeof(kinds) / sizeof(*kinds)))

static void add_module(struct directory *d, struct recipe *r, unsigned number)
{
	static const unsigned widths[] = {4, 4, 8, 2, 3, 5, 6, 7};
	const unsigned bits = widths[take(r, 8)], k = 32 * (1 + take(r, 4)), n = 8 * (1 + take(r, 6));
	const unsigned flags = take(r, 32), kind = take(r, 16) < 13 ? number / 2 : take(r, KINDS);
	const unsigned groups = chance(r, 16) ? 1 + take(r, 4) : d->group < 0 ? 1 : (k - 1) / (unsigned)d->group + 1;
	const char *scales = flags & 1 ? "BF16" : "F16";
	char module[128], name[160];

	snprintf(module, sizeof(module), "model.layers.%u.%s", number % 2, kinds[kind]);
	snprintf(name, sizeof(name), "%s.qweight", module);
	add_tensor(d, r, name, "I32", (unsigned[]){k * bits / 32, n});
	snprintf(name, sizeof(name), "%s.scales", module);
	add_tensor(d, r, name, scales, (unsigned[]){groups, n});
	snprintf(name, sizeof(name), "%s.qzeros", module);
	if (!(flags & 2))
		add_tensor(d, r, name, "I32", (unsigned[]){groups, (n * bits + 31) / 32});
	snprintf(name, sizeof(name), "%s.g_idx", module);
	if (flags & 4)
		add_g_idx(d, r, name, k, groups);
	snprintf(name, sizeof(name), "%s.bias", module);
	if (flags & 8)
		add_tensor(d, r, name, "F16", (unsigned[]){n, 0});
	snprintf(name, sizeof(name), "%s.weight", module);
	if (flags == 16)
		add_tensor(d, r, name, "F16", (unsigned[]){n, k});
}

static void add_float(struct directory *d, struct recipe *r, unsigned number)
{
	static const char *const names[] = {"model.norm.weight", "lm_head.weight", "model.embed_tokens.weight",
	    "model.layers.0.mlp.gate.weight", "model.layers.0.mlp.down_proj.weight", "x", "__meta\\u0064ata__",
	    "model.layers.1.self_attn.k_proj.weight"};
	static const char *const types[] = {"F16", "BF16", "F32", "I32"};

	const char *name = names[(number * 2 + take(r, 16) / 15) % 8];

	add_tensor(d, r, name, PICK(r, types), (unsigned[]){1 + take(r, 64), take(r, 64)});
}

static void name_shards(struct directory *d, struct recipe *r)
{
	const bool one = d->shard_count == 1 && !chance(r, 4);

	for (int i = 0; i < d->shard_count; i++) {
		struct shard *s = &d->shards[i];

		if (one)
			strcpy(s->name, "model.safetensors");
		else
			snprintf(s->name, sizeof(s->name), "%smodel-%05d-of-%05d.safetensors",
			    chance(r, 32) ? "onnx/" : "", i + 1, d->shard_count);
		text_printf(&s->header, "{");
	}
}

static void put_shards(struct directory *d, struct recipe *r)
{
	struct text index = {0};

	for (int i = 0; i < d->shard_count; i++) {
		struct shard *s = &d->shards[i];
		struct text whole = {0};
		uint64_t len;

		text_printf(&s->header, "}");
		len = s->header.len;
		text_put(&whole, (const char *)&len, 8);
		text_put(&whole, s->header.data, s->header.len);
		if (!chance(r, 64))
			put_file(d, s->name, &whole, &s->data);
		text_free(&whole);
	}
	if (take(r, 4) == 3)
		return;
	text_printf(&index, "{\"metadata\":{\"total_size\":1},\"weight_map\":{");
	text_put(&index, d->map.data ? d->map.data : "", d->map.len);
	text_printf(&index, "}}");
	if (d->shard_count > 1 || chance(r, 8))
		put_file(d, "model.safetensors.index.json", &index, NULL);
	text_free(&index);
}

/* ---- configurations ---- */

static void write_patterns(struct text *out, struct recipe *r)
{
	static const char *const signs[] = {"+:", "-:", "", "+:", "^", "-:.*"};
	static const char *const parts[] = {"layers", "\\\\.", ".*", "0", "[0-3]", "(q|k|v)_proj", "(.{1,9}){1,9}",
	    "mlp", "(?:x|y)", "$", "(?!.*q)", "\\\\d+", "(a*)*b", "\\\\1", "[", "{"};
	static const char *const values[] = {"{}", "{\"bits\":8}", "{\"bits\":4,\"group_size\":32}", "{\"sym\":false}",
	    "{\"bits\":3.5}", "null", "{\"group_size\":-1,\"desc_act\":true}", "{\"bits\":16}"};
	const unsigned count = take(r, 6);

	text_printf(out, "\"dynamic\":{");
	for (unsigned i = 0; i < count; i++) {
		text_printf(out, "%s\"%s", i ? "," : "", PICK(r, signs));
		for (unsigned n = take(r, 6); n--;)
			text_printf(out, "%s", PICK(r, parts));
		text_printf(out, "\":%s", PICK(r, values));
	}
	text_printf(out, "}");
}

static void write_quant(struct text *out, struct recipe *r, int group)
{
	static const char *const bits[] = {"4", "4", "8", "2", "3", "\"4\"", "4.0", "99"};
	static const char *const sizes[] = {"0", "4294967296", "null", "64"};
	static const char *const labels[] = {"\"quant_method\":\"gptq\"", "\"checkpoint_format\":\"gptq_v2\"",
	    "\"quant_method\":\"auto-round\",\"packing_format\":\"auto_round:auto_gptq\"",
	    "\"quant_method\":\"intel/auto-round\",\"backend\":\"auto_round:exllamav2\"", "\"meta\":{}",
	    "\"format\":\"gptq_p\"", "\"meta\":{\"quantizer\":[\"gptqmodel:2.0.0\"]}", "\"is_marlin_format\":true"};
	static const char *const flags[] = {"true", "false", "null"};

	text_printf(out, "{\"bits\":%s,\"group_size\":", PICK(r, bits));
	if (chance(r, 16))
		text_printf(out, "%s", PICK(r, sizes));
	else
		text_printf(out, "%d", group);
	text_printf(out, ",\"sym\":%s,\"desc_act\":%s,%s,", PICK(r, flags), PICK(r, flags), PICK(r, labels));
	write_patterns(out, r);
	text_printf(out, "}");
}

static void put_configs(struct directory *d, struct recipe *r)
{
	static const char *const files[] = {"quantize_config.json", "quant_config.json", "quantization_config.json"};
	static const char *const classes[] = {"LlamaForCausalLM", "MixtralForCausalLM", "Phi3ForCausalLM",
	    "Qwen2ForCausalLM", "GPT2LMHeadModel", "T\\u001b\\u009b"};
	static const char *const types[] = {"llama", "mixtral", "phi3", "qwen2", "gpt2", "bert"};
	const unsigned where = take(r, 8);
	struct text quant = {0}, config = {0};

	write_quant(&quant, r, d->group);
	if (where != 5)
		put_file(d, PICK(r, files), &quant, NULL);
	text_printf(&config, "{\"architectures\":[\"%s\"],\"model_type\":\"%s\"", PICK(r, classes), PICK(r, types));
	text_printf(&config, ",\"num_hidden_layers\":%u", take(r, 4));
	if (where & 1) {
		text_printf(&config,
		    where & 2 ? ",\"text_config\":{\"quantization_config\":" : ",\"quantization_config\":");
		text_put(&config, quant.data, quant.len);
		text_printf(&config, where & 2 ? "}" : "");
	}
	text_printf(&config, "}");
	if (where != 6)
		put_file(d, "config.json", &config, NULL);
	text_free(&quant);
	text_free(&config);
}

/* ---- what else lies about ---- */

static void put_link(struct directory *d, const char *target, const char *name)
{
	if (symlink(target, keep_path(d, d->files, name)) < 0)
		d->made_count--;
}

static void put_others(struct directory *d, struct recipe *r)
{
	const unsigned what = take(r, 255);

	put_text(d, "tokenizer.json", "{}");
	if (what & 1)
		put_text(d, "1_Pooling/config.json", "{\"pooling\":1}");
	if (what & 2)
		put_text(d, "model.safetensors/x.md", "x");
	if (what & 4)
		put_text(d, "generation_config.json", "{");
	if (what & 8)
		put_text(d, "onnx/a\nb\x1b[0m.txt", "");
	if (what & 16)
		put_link(d, "config.json", "inside.json");
	if ((what & 0xe0) == 0x20)
		put_link(d, "/etc/hostname", "outside.txt");
	if ((what & 0xe0) == 0x40 && mkfifo(keep_path(d, d->files, "fifo.json"), 0600) < 0)
		d->made_count--;
	if ((what & 0xe0) == 0x60)
		put_link(d, "nowhere", "nothing.txt");
	if ((what & 0xe0) == 0x80)
		put_link(d, ".", "loop");
	if ((what & 0xe0) == 0xa0)
		put_text(d, "adapter_model.safetensors", "");
}

static void make_directory(struct directory *d, struct recipe *r)
{
	static const int groups[] = {32, 64, -1, 128, 16, 24};
	char path[160];
	unsigned count;

	make_root();
	strcpy(d->root, root);
	d->cached = chance(r, 4);
	snprintf(d->files, sizeof(d->files), "%s/%s", root, d->cached ? "models--o--n/snapshots/h" : "plain");
	d->shard_count = 1 + (int)take(r, SHARDS);
	name_shards(d, r);
	for (size_t i = 0; i < FOLDERS; i++) {
		snprintf(path, sizeof(path), "%s/%s", d->files, folders[i]);
		if (i < 2 || d->shard_count > 1)
			mkdir(path, 0755);
	}
	d->group = groups[take(r, 6)];
	count = 1 + take(r, MODULES);
	for (unsigned i = 0; i < count; i++)
		add_module(d, r, i);
	count = take(r, 5);
	for (unsigned i = 0; i < count; i++)
		add_float(d, r, i);
	put_configs(d, r);
	put_shards(d, r);
	put_others(d, r);
}

/* What stands in for openat2 must open the same files. */
static void open_beneath(const struct directory *d)
{
	static const char *const names[] = {"config.json", "inside.json", "outside.txt", "loop/./loop/config.json",
	    "loop/..", "loop/../config.json", "../plain/config.json", "/etc/hostname", "1_Pooling//config.json",
	    "model.safetensors/", "fifo.json", "nothing.txt", "config.json/x", ""};
	const int dir = open(d->files, O_PATH | O_DIRECTORY | O_CLOEXEC);

	FUZZ_CHECK(dir >= 0);
	for (size_t i = 0; i < 2 * sizeof(names) / sizeof(*names); i++) {
		const struct open_how how = {.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK,
		    .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | (i % 2 ? RESOLVE_NO_SYMLINKS : 0)};
		const int fd = (int)syscall(SYS_openat2, dir, names[i / 2], &how, sizeof(how));
		const int other = beneath_open(dir, names[i / 2], &how);
		struct stat st, other_st;

		FUZZ_CHECK((fd < 0) == (other < 0));
		if (fd < 0)
			continue;
		FUZZ_CHECK(fstat(fd, &st) == 0 && fstat(other, &other_st) == 0 && st.st_ino == other_st.st_ino);
		close(fd);
		close(other);
	}
	close(dir);
}

static void remove_directory(struct directory *d)
{
	for (int i = 0; i < d->made_count; i++)
		unlink(d->made[i]);
	remove_folders(d->files);
	for (int i = 0; i < SHARDS; i++) {
		text_free(&d->shards[i].header);
		text_free(&d->shards[i].data);
	}
	text_free(&d->map);
}

/* ---- operations ---- */

struct play {
	struct gptqfs *m;
	struct directory *d;
	uint64_t inodes;
	bool changed;  /* a source changed, so reads may fail */
	bool reported; /* once is enough: it takes as long as a dozen of other operations */
	struct gptqfs_reply held[HELD];
	bool holds[HELD];
};

static bool read_at(struct play *p, uint64_t ino, uint64_t offset, size_t size, struct gptqfs_reply *reply)
{
	struct stat st;
	uint64_t left, sum = 0;
	int rc;

	FUZZ_CHECK(gptqfs_getattr(p->m, ino, &st) == 0);
	rc = gptqfs_read(p->m, ino, offset, size, reply);
	if (S_ISDIR(st.st_mode))
		FUZZ_CHECK(rc == -EISDIR);
	else
		FUZZ_CHECK(rc == 0 || (p->changed && rc == -EIO));
	if (rc)
		return false;
	left = offset < (uint64_t)st.st_size ? (uint64_t)st.st_size - offset : 0;
	for (int i = 0; i < reply->count; i++)
		sum += reply->iov[i].iov_len;
	FUZZ_CHECK(sum == reply->bytes && sum == (left < size ? left : size));
	return true;
}

static uint8_t byte_of(const struct gptqfs_reply *reply, size_t at)
{
	int i = 0;

	while (at >= reply->iov[i].iov_len)
		at -= reply->iov[i++].iov_len;
	return ((const uint8_t *)reply->iov[i].iov_base)[at];
}

/* A piece of a read must be the same when read alone. */
static void read_twice(struct play *p, struct recipe *r, uint64_t ino, uint64_t at, size_t size)
{
	struct gptqfs_reply whole, part;
	const size_t skip = take(r, 256);

	if (!read_at(p, ino, at, size, &whole))
		return;
	if (skip < whole.bytes && read_at(p, ino, at + skip, 4096, &part)) {
		for (size_t i = 0; i < part.bytes && skip + i < whole.bytes; i += 1 + i / 16)
			FUZZ_CHECK(byte_of(&part, i) == byte_of(&whole, skip + i));
		gptqfs_read_done(p->m, &part);
	}
	gptqfs_read_done(p->m, &whole);
}

static void read_on(struct play *p, uint64_t ino, uint64_t at, size_t size)
{
	struct gptqfs_reply reply;

	for (int i = 0; i < STEPS && read_at(p, ino, at, size, &reply); i++) {
		at += reply.bytes;
		gptqfs_read_done(p->m, &reply);
		if (!reply.bytes)
			break;
	}
}

/* Replies still in use while others are made. */
static void hold(struct play *p, unsigned slot, uint64_t ino, uint64_t at, size_t size)
{
	if (p->holds[slot])
		gptqfs_read_done(p->m, &p->held[slot]);
	p->holds[slot] = read_at(p, ino, at, size, &p->held[slot]);
}

static void take_fact(void *ctx, const char *key, const char *value)
{
	*(size_t *)ctx += strlen(key) + strlen(value);
	for (; *key; key++)
		FUZZ_CHECK(*key == '_' || (*key >= 'a' && *key <= 'z') || (*key >= '0' && *key <= '9'));
}

static void tell_facts(struct play *p, uint64_t ino)
{
	size_t len = 0;

	FUZZ_CHECK(gptqfs_facts(p->m, ino, take_fact, &len) == 0);
}

/* Names must ascend, and each must lead where the listing says. */
static void list(struct play *p, uint64_t ino)
{
	const char *before = "";
	struct gptqfs_dirent entry;
	struct stat st;
	uint64_t i = 0;
	int rc;

	while ((rc = gptqfs_readdir(p->m, ino, i, &entry)) == 0) {
		FUZZ_CHECK(entry.ino >= GPTQFS_ROOT && entry.ino < p->inodes);
		if (i++ < 2)
			continue;
		FUZZ_CHECK(strcmp(before, entry.name) < 0 && !strchr(entry.name, '/'));
		FUZZ_CHECK(gptqfs_lookup(p->m, ino, entry.name, &st) == 0 && st.st_ino == entry.ino);
		before = entry.name;
	}
	FUZZ_CHECK(gptqfs_getattr(p->m, ino, &st) == 0);
	FUZZ_CHECK(rc == (S_ISDIR(st.st_mode) ? -ENOENT : -ENOTDIR));
}

static void report(struct play *p, bool json)
{
	struct gptqfs_error err;
	FILE *null = fopen("/dev/null", "w");
	int rc;

	p->reported = true;
	FUZZ_CHECK(null != NULL);
	rc = gptqfs_check(p->m, json, null, &err);
	FUZZ_CHECK(rc == 0 || p->changed);
	fclose(null);
}

static void change(struct play *p, struct recipe *r)
{
	const struct shard *s = &p->d->shards[take(r, (unsigned)p->d->shard_count)];
	char path[192];

	snprintf(path, sizeof(path), "%s/%s", p->d->files, s->name);
	p->changed = true;
	FUZZ_CHECK(truncate(path, take(r, 255) * 64) == 0 || errno == ENOENT);
}

static void operate(struct play *p, struct recipe *r)
{
	const unsigned what = take(r, 16);
	const uint64_t ino = GPTQFS_ROOT + (take(r, 256) * 256 + take(r, 256)) % (p->inodes - 1);
	const uint64_t at = (uint64_t)take(r, 256) * take(r, 256) * 17;
	const size_t size = 1 + (size_t)take(r, 256) * 211;

	if (what < 5)
		read_twice(p, r, ino, at, size);
	else if (what < 8)
		read_on(p, ino, at, size);
	else if (what < 10)
		hold(p, take(r, HELD), ino, at, size);
	else if (what == 10)
		tell_facts(p, ino);
	else if (what == 11)
		list(p, ino);
	else if (what == 12)
		gptqfs_trim(p->m);
	else if (what == 13)
		gptqfs_work(p->m);
	else if (what == 14 && !p->reported)
		report(p, size & 1);
	else if (what == 15 && take(r, 4) == 3)
		change(p, r);
}

static void play(struct gptqfs *m, struct directory *d, struct recipe *r)
{
	struct play p = {.m = m, .d = d, .inodes = GPTQFS_ROOT};
	struct stat st;

	while (gptqfs_getattr(m, p.inodes, &st) == 0)
		p.inodes++;
	for (uint64_t ino = GPTQFS_ROOT; ino < p.inodes; ino++) {
		list(&p, ino);
		if ((r->end - r->at + (ptrdiff_t)ino) % 4 == 0)
			tell_facts(&p, ino);
	}
	for (int i = 0; i < OPERATIONS && r->at < r->end; i++)
		operate(&p, r);
	for (int i = 0; i < HELD; i++)
		if (p.holds[i])
			gptqfs_read_done(m, &p.held[i]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const types[] = {NULL, "bf16", "fp32"};
	static const char *const views[] = {NULL, NULL, NULL, "fp16", "packed", "fused/bf16", "tensors"};
	struct recipe r = {data, data + size};
	struct directory d = {0};
	struct gptqfs_options options = {.uid = (uid_t)-1, .gid = (gid_t)-1};
	struct gptqfs_error err = {""};
	struct gptqfs *m;
	char path[128];
	int rc;

	options.dtype = PICK(&r, types);
	options.view = PICK(&r, views);
	options.cache_bytes = (size_t)take(&r, 3) << 15;
	options.ahead = take(&r, 5);
	options.follow_symlinks = chance(&r, 8);
	options.blobs = chance(&r, 4);
	make_directory(&d, &r);
	if (size % 8 == 0)
		open_beneath(&d);
	snprintf(path, sizeof(path), "%s%s", d.cached ? root : d.files, d.cached ? "/models--o--n" : "");
	rc = gptqfs_open(path, &options, &m, &err);
	if (rc)
		FUZZ_CHECK(m == NULL && err.text[0] && !strchr(err.text, '\n'));
	else
		play(m, &d, &r);
	gptqfs_close(m);
	remove_directory(&d);
	return 0;
}
