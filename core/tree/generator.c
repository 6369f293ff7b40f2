/* SPDX-License-Identifier: MIT */
#include "tree/generator.h"

#include <errno.h>
#include <string.h>

#include "file/guard.h"

/* Rows that could only be cut into larger parts are computed whole. */
#define STEP_MAX 4096

int generator_fill(const struct generator *g, void *dst, uint64_t row0, uint64_t nrows)
{
	return g->ops->fill(g, dst, &(struct rect){row0, nrows, 0, g->row_bytes});
}

uint32_t generator_tile_rows(uint64_t row_bytes)
{
	uint32_t rows = 16;

	while (rows > 1 && rows * row_bytes > GENERATOR_TILE_MAX)
		rows /= 2;
	return rows;
}

uint32_t generator_step(uint64_t bytes)
{
	return bytes > STEP_MAX ? 0 : (uint32_t)bytes;
}

/* ---- inputs ---- */

int inputs_check(const struct inputs *in)
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < in->count; i++)
		rc = source_file_check(in->files[i]);
	return rc;
}

/* Checks before, so that nothing is computed from a changed file, and after, so that no such result is used. */
int inputs_guard(const struct inputs *in, void (*fn)(void *ctx), void *ctx)
{
	int rc = inputs_check(in), failed;

	if (rc)
		return rc;
	failed = source_guard(fn, ctx);
	/* After a failure the file has most likely shrunk, and the check says so; else the disk failed. */
	rc = inputs_check(in);
	return rc || !failed ? rc : source_file_fail(in->files[0], "cannot be read (I/O error)");
}

void inputs_add_span(const struct inputs *in, const unsigned char *at, uint64_t bytes, struct spans *out)
{
	for (size_t i = 0; i < in->count; i++) {
		const struct source_file *f = in->files[i];

		if ((uintptr_t)at - (uintptr_t)f->map < (uintptr_t)f->stat.st_size) {
			spans_add(out, f, at, bytes);
			return;
		}
	}
}

/* ---- texts ---- */

static int fill_text(const struct generator *g, void *dst, const struct rect *r)
{
	const struct text_rows *rows = (const struct text_rows *)g;
	struct text text = {0};
	int rc = 0;

	(void)r;
	rows->write(rows->subject, &text);
	if (text.failed)
		rc = -ENOMEM;
	else if (text.len != g->row_bytes)
		rc = -EIO;
	else
		memcpy(dst, text.data, text.len);
	text_free(&text);
	return rc;
}

struct text_rows text_rows_make(text_fn *write, const void *subject, uint64_t bytes)
{
	static const struct generator_ops ops = {.fill = fill_text};

	return (struct text_rows){
	    .g = {.ops = &ops, .rows = 1, .row_bytes = bytes, .tile_rows = 1},
	    .write = write,
	    .subject = subject,
	};
}
