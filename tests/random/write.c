/* SPDX-License-Identifier: MIT */

/* Writes a checkpoint to disk: shards, index, configurations, and files that must not be taken for weights. */

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "random.h"

_Noreturn void write_failed(const char *what)
{
	printf("%s: %s\n", what, strerror(errno));
	exit(1);
}

/* Opens dir/name for writing, and makes its directories. */
int create(const struct checkpoint *c, const char *name)
{
	char path[512];
	size_t at = strlen(c->dir) + 1;
	int fd;

	snprintf(path, sizeof(path), "%s/%s", c->dir, name);
	for (char *slash = path + at; (slash = strchr(slash, '/')); slash++) {
		*slash = 0;
		if (mkdir(path, 0777) < 0 && errno != EEXIST)
			write_failed(path);
		*slash = '/';
	}
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	if (fd < 0)
		write_failed(path);
	return fd;
}

void write_at(int fd, const void *data, uint64_t bytes, uint64_t at)
{
	if (bytes && pwrite(fd, data, bytes, (off_t)at) != (ssize_t)bytes)
		write_failed("pwrite");
}

static void write_text(const struct checkpoint *c, const char *name, const char *text)
{
	int fd = create(c, name);

	write_at(fd, text, strlen(text), 0);
	close(fd);
}

void memo_open(struct memo *memo)
{
	memo->out = open_memstream(&memo->text, &memo->len);
	if (!memo->out)
		write_failed("open_memstream");
}

char *memo_close(struct memo *memo)
{
	char *text;

	fclose(memo->out);
	text = take(memo->len + 1);
	memcpy(text, memo->text, memo->len);
	free(memo->text);
	return text;
}

void put_string(FILE *out, const char *s)
{
	putc('"', out);
	for (; *s; s++)
		fprintf(out, *s == '"' || *s == '\\' ? "\\%c" : "%c", *s);
	putc('"', out);
}

static void put_entry(FILE *out, const struct stored *s, uint64_t begin)
{
	put_string(out, s->name);
	fprintf(out, ":{\"dtype\":\"%s\",\"shape\":[", s->dtype);
	for (int i = 0; i < s->ndim; i++)
		fprintf(out, "%s%" PRIu64, i ? "," : "", s->shape[i]);
	fprintf(out, "],\"data_offsets\":[%" PRIu64 ",%" PRIu64 "]}", begin, begin + s->bytes);
}

/* The header may list tensors in another order than their data, and end at any byte. */
static char *shard_header(const struct checkpoint *c, unsigned shard, const uint64_t *begin)
{
	unsigned order[TENSORS_MAX];
	const char *between = "";
	struct memo memo;

	memo_open(&memo);
	putc('{', memo.out);
	if (chance(60)) {
		fprintf(memo.out, "\"__metadata__\":{\"format\":\"pt\",\"gptq_bits\":\"4\"}");
		between = ",";
	}
	shuffle(order, c->stored_count);
	for (unsigned i = 0; i < c->stored_count; i++)
		if (c->stored[order[i]].shard == shard) {
			fputs(between, memo.out);
			put_entry(memo.out, &c->stored[order[i]], begin[order[i]]);
			between = ",";
		}
	fprintf(memo.out, "}%*s", (int)below(17), "");
	return memo_close(&memo);
}

static void write_shard(const struct checkpoint *c, unsigned shard)
{
	unsigned order[TENSORS_MAX];
	uint64_t begin[TENSORS_MAX], at = 0;
	unsigned char length[8];
	char *header;
	int fd = create(c, c->files[shard]);

	shuffle(order, c->stored_count);
	for (unsigned i = 0; i < c->stored_count; i++)
		if (c->stored[order[i]].shard == shard) {
			begin[order[i]] = at;
			at += c->stored[order[i]].bytes;
		}
	header = shard_header(c, shard, begin);
	store(length, strlen(header), 8);
	write_at(fd, length, 8, 0);
	write_at(fd, header, strlen(header), 8);
	for (unsigned i = 0; i < c->stored_count; i++)
		if (c->stored[i].shard == shard && c->stored[i].data)
			write_at(fd, c->stored[i].data, c->stored[i].bytes, 8 + strlen(header) + begin[i]);
	if (ftruncate(fd, (off_t)(8 + strlen(header) + at)) < 0)
		write_failed("ftruncate");
	close(fd);
}

static void write_index(const struct checkpoint *c)
{
	unsigned order[TENSORS_MAX];
	const char *between = "";
	struct memo memo;

	memo_open(&memo);
	fprintf(memo.out, "{\"metadata\":{\"total_size\":12345},\"weight_map\":{");
	shuffle(order, c->stored_count);
	for (unsigned i = 0; i < c->stored_count; i++) {
		const struct stored *s = &c->stored[order[i]];

		if (s->stray)
			continue;
		fputs(between, memo.out);
		put_string(memo.out, s->name);
		putc(':', memo.out);
		put_string(memo.out, c->files[s->shard]);
		between = ",";
	}
	fprintf(memo.out, "}}");
	write_text(c, c->index, memo_close(&memo));
}

/* Files beside the weights that must not be taken for weights. */
static void write_decoys(const struct checkpoint *c)
{
	if (chance(10))
		write_text(c, "adapter_model.safetensors", "no weights of this model");
	if (chance(10))
		write_text(c, ".hidden.safetensors", "");
	if (strcmp(c->files[0], "model.safetensors") == 0 && chance(20)) {
		write_text(c, "model.safetensors.index.json", "{\"weight_map\": {\"a\": \"gone.safetensors\"}}");
		write_text(c, "pytorch_model.safetensors", "left over");
	}
}

void add_config(struct checkpoint *c, const char *name, const char *text)
{
	c->configs[c->config_count].name = name;
	c->configs[c->config_count++].text = text;
}

void write_checkpoint(struct checkpoint *c)
{
	for (unsigned i = 0; i < c->config_count; i++)
		write_text(c, c->configs[i].name, c->configs[i].text);
	/* A file that no index lists is not a shard, and would pass unchanged. */
	for (unsigned i = 0; i < c->file_count; i++)
		if (!c->index || is_listed(c, i))
			write_shard(c, i);
	if (c->index)
		write_index(c);
	write_decoys(c);
	write_text(c, "tokenizer.json", "{}");
}
