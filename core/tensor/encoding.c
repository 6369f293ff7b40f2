/* SPDX-License-Identifier: MIT */
#include "tensor/encoding.h"

void encoded_add_part(struct encoded *e, size_t i, const struct st_tensor *t, struct source_file *f)
{
	uint8_t k = 0;

	e->part[i] = t;
	e->stored_bytes += t->bytes;
	while (k < e->file_count && e->files[k] != f)
		k++;
	e->files[k] = f;
	e->file_count += k == e->file_count;
}

struct inputs encoded_inputs(struct encoded *e)
{
	return (struct inputs){e->files, e->file_count, &e->resident};
}

struct examination {
	const struct encoded *e;
	struct findings *out;
};

static void run_examination(void *ctx)
{
	const struct examination *x = ctx;

	x->e->encoding->examine(x->e, x->out);
}

int encoded_examine(struct encoded *e, struct findings *out)
{
	const struct inputs in = encoded_inputs(e);

	return inputs_guard(&in, run_examination, &(struct examination){e, out});
}
