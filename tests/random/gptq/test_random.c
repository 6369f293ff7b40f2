/* SPDX-License-Identifier: MIT */

/*
 * Random GPTQ checkpoints.
 *
 * The packer is independent of the decoder: it places bits one by one as the description of the format says, multiplies
 * in double precision, where the products are exact, and rounds with integers. It is deliberately slow; a bug would
 * have to be made twice, in two different ways, to go unnoticed.
 */

#include <errno.h>
#include <sys/stat.h>

#include "gptq.h"

static void check_mount(const struct checkpoint *c, struct gptqfs *m)
{
	struct stat st;

	if (c->has_holes)
		return;
	if (gptq_of(c)->shifted) {
		CHECK(gptqfs_lookup(m, GPTQFS_ROOT, "packed", &st) == -ENOENT);
		return;
	}
	check_packed(c, m, find_directory(m, GPTQFS_ROOT, "packed"));
	if (chance(25))
		check_packed_again(c, m, find_directory(m, GPTQFS_ROOT, "packed"));
}

static void print_case(const struct checkpoint *c)
{
	const struct gptq *g = gptq_of(c);
	static const char *const orders[] = {"absent", "trivial", "act-order", "arbitrary"};

	printf("  %s\n", g->quant_text ? g->quant_text : "no configuration");
	for (unsigned i = 0; i < g->module_count; i++) {
		const struct module *m = &g->modules[i];

		printf("  %s: %u bits%s in words of %u, in %" PRIu64 ", out %" PRIu64 ", groups %" PRIu64 " of %" PRId64
		       ", g_idx %s, zeros %s, scales %s\n",
		    m->name, m->bits, m->planar ? " planar" : "", m->word_bits, m->in, m->out, m->groups, m->group_size,
		    orders[m->order],
		    !m->has_zeros        ? "absent"
		    : g->v2 || m->planar ? "v2"
					 : "v1",
		    m->scale_format->name);
	}
}

int main(void)
{
	static const struct program program = {draw_gptq, check_mount, print_case, 3000};

	return run_cases(&program);
}
