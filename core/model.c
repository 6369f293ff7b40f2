/* SPDX-License-Identifier: MIT */

/*
 * Implements gptqfs.h: opens the checkpoint, lets families turn it into tensors and views plan files from those, and
 * serves the files.
 */

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "file/guard.h"
#include "file/rights.h"
#include "kernel/accel.h"
#include "model.h"
#include "quant/quant.h"
#include "quant/repack.h"
#include "report/report.h"

/* ---- opening ---- */

/* Computed files show the newest shard's mtime, and the permissions common to all shards. */
static void weights_stat(const struct checkpoint *c, struct stat *out)
{
	*out = c->shards[0].stat;
	for (size_t i = 1; i < c->shard_count; i++) {
		const struct stat *st = &c->shards[i].stat;

		rights_meet(out, st);
		if (st->st_mtim.tv_sec > out->st_mtim.tv_sec ||
		    (st->st_mtim.tv_sec == out->st_mtim.tv_sec && st->st_mtim.tv_nsec > out->st_mtim.tv_nsec))
			out->st_mtim = st->st_mtim;
	}
	rights_settle(out);
}

/* README, info, info.json. Planned last, because planning views may add warnings. */
static int plan_texts(const struct gptqfs *m)
{
	const struct report r = {
	    .plan = &m->plan, .refusals = &m->refusals, .sandbox = m->sandbox, .page_cache = m->page_cache};
	const struct plan *p = &m->plan;
	struct text readme = {0}, info = {0}, json = {0};
	int rc;

	report_readme(&r, &readme);
	report_info(&r, false, &info);
	report_info(&r, true, &json);
	rc = tree_add_text(p->tree, GPTQFS_ROOT, "README", &readme, &p->weights);
	if (rc == 0)
		rc = tree_add_text(p->tree, GPTQFS_ROOT, "info", &info, &p->weights);
	if (rc == 0)
		rc = tree_add_text(p->tree, GPTQFS_ROOT, "info.json", &json, &p->weights);
	text_free(&readme);
	text_free(&info);
	text_free(&json);
	return rc;
}

/* All views, each in its directory, and the files that describe them. */
static int plan_root(struct gptqfs *m)
{
	static const struct layout empty;
	const struct plan *p = &m->plan;
	int rc = view_plan_all(p, GPTQFS_ROOT);

	if (rc == 0)
		rc = view_plan_variants(p, &m->variants);
	if (rc == 0)
		rc = plan_texts(m);
	if (rc)
		return rc;
	m->status = tree_add(p->tree, GPTQFS_ROOT, "status", &empty, &p->weights);
	return m->status ? 0 : -ENOMEM;
}

/* Refuses a requested view that this model cannot have. */
static int check_root(const struct gptqfs *m, struct gptqfs_error *err)
{
	const char *reason;

	if (!m->root || view_exists(&m->plan, m->root, &reason))
		return 0;
	return err_set(err, -ENOTSUP, "%s: there is no view %s of this model: %s", m->checkpoint.dir.path,
	    m->root->name, reason);
}

/* A requested view that cannot be planned is reported now, not when it is first looked up. */
static int settle_root(struct gptqfs *m, struct gptqfs_error *err)
{
	struct late *late = m->root ? view_state(&m->plan, m->root)->late : NULL;
	int rc = late_run(late);

	if (rc == -ENOMEM)
		return err_memory(err);
	if (rc)
		return err_set(err, rc, "%s: view %s cannot be planned: %s", m->checkpoint.dir.path, m->root->name,
		    strerror(-rc));
	if (late && late->refusal)
		return err_set(err, -ENOTSUP, "%s: there is no view %s of this model: %s", m->checkpoint.dir.path,
		    m->root->name, late->refusal);
	return 0;
}

static int plan_tree(struct gptqfs *m, struct gptqfs_error *err)
{
	struct plan *p = &m->plan;
	int rc;

	weights_stat(&m->checkpoint, &p->weights);
	rc = tree_init(&m->tree, &m->checkpoint.arena, &m->checkpoint.dir.stat);
	if (rc == 0)
		rc = m->root ? m->root->plan(p, m->root, GPTQFS_ROOT) : plan_root(m);
	if (rc == 0)
		rc = tree_seal(&m->tree);
	return rc == -ENOMEM ? err_memory(err)
	       : rc          ? err_set(err, rc, "%s: %s", m->checkpoint.dir.path, strerror(-rc))
	                     : settle_root(m, err);
}

static int choose_cpu(const char *name, enum cpu_level *level, struct gptqfs_error *err)
{
	int rc;

	*level = cpu_detect();
	if (!name)
		return 0;
	rc = cpu_parse(name, level);
	if (rc == -ENOTSUP)
		return err_set(err, -EINVAL, "cpu level %.40s: this machine lacks it; the highest it has is %s", name,
		    cpu_name(cpu_detect()));
	if (rc)
		return err_set(err, -EINVAL, "cpu level %.40s: unknown; expected c, ssse3, neon, avx2 or avx512", name);
	return 0;
}

static int choose_view(const char *name, const struct view **view, struct gptqfs_error *err)
{
	char known[256] = "";
	size_t len = 0;

	if (name && view_variant(name))
		name = strchr(view_variant(name), '/') + 1;
	*view = name ? view_find(name) : NULL;
	if (!name || *view)
		return 0;
	for (size_t i = 0; view_at(i) && len < sizeof(known); i++)
		len += (size_t)snprintf(known + len, sizeof(known) - len, "%s%s", i ? ", " : "", view_at(i)->name);
	return err_set(err, -EINVAL, "view=%.80s: no such view; expected one of %s", name, known);
}

static int choose_dtype(const char *name, enum dtype *dtype, struct gptqfs_error *err)
{
	*dtype = DTYPE_F16;
	while (name && *dtype < DTYPE_VIEWS && strcmp(name, dtype_view_name(*dtype)) != 0)
		++*dtype;
	return *dtype < DTYPE_VIEWS
	           ? 0
	           : err_set(err, -EINVAL, "dtype=%.80s: no such type; expected fp16, bf16 or fp32", name);
}

static unsigned ahead_depth(unsigned wanted)
{
	if (wanted == GPTQFS_AHEAD_NONE)
		return 0;
	return wanted < 1 ? 1 : wanted < GPTQFS_AHEAD_MAX ? wanted : GPTQFS_AHEAD_MAX;
}

/* Makes the other lists of tensors that views show. */
static int join_lists(struct gptqfs *m, struct gptqfs_error *err)
{
	struct arena *arena = &m->checkpoint.arena;
	const struct repack_ops *repack;
	const char *reason;

	if (repack_find(arena, &m->tensors, &repack, &reason))
		return err_memory(err);
	/* Packed weights cannot carry a sum. */
	if (m->merged)
		repack = NULL;
	if (join_fused(arena, &m->tensors, &m->fused, &m->refusals) ||
	    (repack && repack_join(arena, &m->fused, &m->packed, &m->refusals)))
		return err_memory(err);
	m->plan = (struct plan){
	    .gguf_q2 = m->gguf_q2,
	    .shard_bytes = m->shard_bytes,
	    .gguf_kv = m->kv.keys ? &m->kv : NULL,
	    .c = &m->checkpoint,
	    .tensors = &m->tensors,
	    .fused = &m->fused,
	    .packed = repack ? &m->packed : NULL,
	    .repack = repack,
	    .unpacked = repack ? NULL : reason,
	    .lora = m->merged,
	    .variants = &m->variants,
	    .kernels = &m->kernels,
	    .tree = &m->tree,
	    .dtype = m->dtype,
	};
	return views_consider(&m->plan) ? err_memory(err) : 0;
}

/* The adapter of "lora/NAME/VIEW" becomes part of the model. */
static int choose_variant(struct gptqfs *m, const char *view, struct gptqfs_error *err)
{
	const char *name = view ? view_variant(view) : NULL;
	const struct variant *v;
	size_t len;

	if (!name)
		return 0;
	len = strcspn(name, "/");
	v = variants_find(&m->variants, name, len);
	if (!v)
		return err_set(err, -EINVAL,
		    "view=%.80s: there is no adapter %.*s; give its directory's parent with loras=", view, (int)len,
		    name);
	if (v->refusal)
		return err_set(err, -EBADMSG, "%s", v->refusal);
	m->tensors = v->tensors;
	m->merged = &v->lora;
	return 0;
}

static int merge_adapters(struct gptqfs *m, const struct gptqfs_options *options, struct gptqfs_error *err)
{
	const struct lora_options lora = {
	    options->lora, options->lora_count, options->lora_base_tokenizer, options->loras};
	int rc = 0;

	if (lora.count) {
		m->merged = &m->lora;
		return lora_open(&m->lora, &m->checkpoint, &lora, &m->tensors, err);
	}
	if (options->loras)
		rc = variants_open(&m->variants, &m->checkpoint, &lora, &m->tensors, err);
	return rc ? rc : choose_variant(m, options->view, err);
}

/* Checks that the options are compatible. */
static int check_adapters(const struct gptqfs *m, const struct gptqfs_options *options, struct gptqfs_error *err)
{
	const bool variant = options->view && view_variant(options->view);

	if (options->lora_count && options->loras)
		return err_set(err, -EINVAL,
		    "lora= merges into every view, loras= leaves them as they are: give one of them");
	if ((options->lora_count || variant) && m->root == view_find("packed"))
		return err_set(err, -EINVAL,
		    "view=packed: packed weights cannot carry an adapter; choose another view");
	return 0;
}

static int open_all(struct gptqfs *m, const char *dir, const struct gptqfs_options *options, struct gptqfs_error *err)
{
	const struct checkpoint_options checkpoint = {
	    options->follow_symlinks, options->zeros, {options->log, options->log_ctx}, options->unquantized};
	enum cpu_level level;
	const struct accel_options accel = {
	    options->accel, options->accel_plugin, options->accel_memory, options->log, options->log_ctx};
	int rc = choose_cpu(options->cpu, &level, err);

	if (rc == 0)
		rc = accel_new(&accel, &m->accel, err);
	if (rc == 0)
		rc = choose_view(options->view, &m->root, err);
	if (rc == 0)
		rc = check_adapters(m, options, err);
	if (rc == 0)
		rc = choose_dtype(options->dtype, &m->dtype, err);
	if (rc)
		return rc;
	source_guard_install();
	kernels_init(&m->kernels, level);
	m->kernels.accel = m->accel;
	m->reader.cache = cache_new(options->cache_bytes);
	m->reader.buffers = buffers_new();
	m->reader.pager = pager_new(NULL);
	m->ahead = ahead_new(&m->reader, ahead_depth(options->ahead));
	if (!m->reader.cache || !m->reader.buffers || !m->reader.pager || !m->ahead)
		return err_memory(err);
	rc = checkpoint_open(&m->checkpoint, dir, &checkpoint, err);
	if (rc == 0)
		rc = quant_open(&m->checkpoint, &m->tensors, err);
	if (rc == 0)
		rc = merge_adapters(m, options, err);
	if (rc == 0 && options->gguf_kv)
		rc = gguf_kv_read(options->gguf_kv, &m->checkpoint.arena, &m->kv, err);
	if (rc == 0)
		rc = join_lists(m, err);
	if (rc == 0)
		rc = check_root(m, err);
	return rc ? rc : plan_tree(m, err);
}

int gptqfs_open(const char *dir, const struct gptqfs_options *options, struct gptqfs **out, struct gptqfs_error *err)
{
	struct gptqfs *m;
	int rc;

	*out = NULL;
	if (options->size && options->size != sizeof(*options))
		return err_set(err, -EINVAL,
		    "options of %zu bytes, expected %zu; compile the caller with the gptqfs.h of %s", options->size,
		    sizeof(*options), GPTQFS_VERSION);
	m = calloc(1, sizeof(*m));
	if (!m)
		return err_memory(err);
	m->checkpoint = (struct checkpoint){.dir = {.fd = -1, .blobs = -1}, .config = {.fd = -1}};
	m->uid = options->uid;
	m->gid = options->gid;
	m->umask = options->umask;
	m->blobs = options->blobs;
	m->gguf_q2 = options->gguf_q2;
	m->shard_bytes = options->shard_bytes;
	m->sandbox = options->sandbox;
	m->page_cache = options->page_cache;
	rc = open_all(m, dir, options, err);
	/* Even if that was reported as something else: an absent optional string, or a model that looks bad. */
	if (m->checkpoint.arena.failed)
		rc = err_memory(err);
	if (rc == -ENOMEM && m->checkpoint.arena.exceeded)
		rc = err_set(err, -EBADMSG,
		    "%zu tensors in shards that are far smaller on disk than what it takes to list them: no model is like "
		    "that; fetch it again (%s)",
		    m->checkpoint.tensor_count, m->checkpoint.dir.path);
	if (rc) {
		gptqfs_close(m);
		return rc;
	}
	*out = m;
	return 0;
}

void gptqfs_close(struct gptqfs *m)
{
	if (!m)
		return;
	ahead_free(m->ahead);
	pager_free(m->reader.pager);
	cache_free(m->reader.cache);
	buffers_free(m->reader.buffers);
	tree_free(&m->tree);
	accel_free(m->accel);
	lora_close(&m->lora);
	variants_close(&m->variants);
	checkpoint_close(&m->checkpoint);
	free(m);
}

const char *gptqfs_source(const struct gptqfs *m)
{
	return m->checkpoint.dir.path;
}

const char *gptqfs_view_name(size_t index)
{
	return view_at(index) ? view_at(index)->name : NULL;
}

/* ---- the tree ---- */

/* Options override the attributes of the source. */
static mode_t shown_mode(const struct gptqfs *m, const struct node *n)
{
	const mode_t all = n->layout ? 0444 : 0555;

	if (m->umask != (mode_t)-1)
		return (n->mode & S_IFMT) | (all & ~m->umask);
	return m->uid == (uid_t)-1 ? n->mode : n->mode | (all & 0700);
}

int gptqfs_getattr(const struct gptqfs *m, uint64_t ino, struct stat *out)
{
	const struct node *n = find_node(m, ino);
	int rc = n ? 0 : -ENOENT;

	if (rc == 0 && n->layout)
		rc = settle_node(n);
	if (rc)
		return rc;
	*out = (struct stat){
	    .st_ino = ino,
	    .st_mode = shown_mode(m, n),
	    .st_nlink = 1,
	    .st_uid = m->uid == (uid_t)-1 ? n->uid : m->uid,
	    .st_gid = m->gid == (gid_t)-1 ? n->gid : m->gid,
	    .st_mtim = n->mtime,
	    .st_ctim = n->mtime,
	    .st_atim = n->mtime,
	    .st_blksize = GPTQFS_READ_MAX,
	};
	if (n->layout) {
		out->st_size = (off_t)n->layout->size;
		out->st_blocks = (blkcnt_t)((n->layout->size + 511) / 512);
		if (n->layout->block)
			out->st_blksize = n->layout->block;
		return 0;
	}
	/* The usual links of a directory: ".", its name in the parent, and ".." of each sub-directory. */
	out->st_nlink = 2 + n->directories;
	return 0;
}

int gptqfs_lookup(const struct gptqfs *m, uint64_t parent, const char *name, struct stat *out)
{
	const struct node *n = find_node(m, parent);
	uint32_t ino;
	int rc;

	if (!n)
		return -ENOENT;
	if (strcmp(name, ".") == 0)
		return gptqfs_getattr(m, parent, out);
	if (n->layout)
		return -ENOTDIR;
	if (strcmp(name, "..") == 0)
		return gptqfs_getattr(m, n->parent, out);
	rc = settle_node(n);
	if (rc)
		return rc;
	ino = tree_lookup(&m->tree, (uint32_t)parent, name);
	return ino ? gptqfs_getattr(m, ino, out) : -ENOENT;
}

int gptqfs_readdir(const struct gptqfs *m, uint64_t ino, uint64_t index, struct gptqfs_dirent *out)
{
	const struct node *n = find_node(m, ino);
	int rc;

	if (!n)
		return -ENOENT;
	if (n->layout)
		return -ENOTDIR;
	if (index < 2) {
		*out = index ? (struct gptqfs_dirent){"..", n->parent} : (struct gptqfs_dirent){".", ino};
		return 0;
	}
	rc = settle_node(n);
	if (rc)
		return rc;
	if (index - 2 >= n->child_count)
		return -ENOENT;
	out->ino = n->children[index - 2];
	out->name = m->tree.nodes[out->ino].name;
	return 0;
}

bool gptqfs_is_status(const struct gptqfs *m, uint64_t ino)
{
	return m->status && ino == m->status;
}

bool gptqfs_is_late(const struct gptqfs *m, uint64_t ino)
{
	const struct node *n = find_node(m, ino);

	return n && n->late && !atomic_load(&n->late->done);
}

void gptqfs_statfs(const struct gptqfs *m, struct statvfs *out)
{
	const uint64_t block = 4096;

	*out = (struct statvfs){
	    .f_bsize = GPTQFS_READ_MAX,
	    .f_frsize = block,
	    .f_blocks = (m->tree.bytes + block - 1) / block,
	    .f_files = m->tree.count - 1,
	    .f_namemax = 255,
	    .f_flag = ST_RDONLY | ST_NOSUID,
	};
}

/* ---- reading ---- */

bool gptqfs_note_read(struct gptqfs *m, uint64_t ino, uint64_t offset, size_t size)
{
	const struct node *n = find_node(m, ino);
	const struct range range = {n ? n->layout : NULL, offset, size};

	return ahead_note(m->ahead, &range);
}

int gptqfs_read(struct gptqfs *m, uint64_t ino, uint64_t offset, size_t size, struct gptqfs_reply *reply)
{
	const struct node *n = find_node(m, ino);
	struct range range;
	uint64_t left;
	int rc;

	if (!n)
		return -ENOENT;
	if (!n->layout)
		return -EISDIR;
	rc = settle_node(n);
	if (rc)
		return rc;
	left = offset < n->layout->size ? n->layout->size - offset : 0;
	range = (struct range){n->layout, offset, size < GPTQFS_READ_MAX ? size : GPTQFS_READ_MAX};
	if (range.size > left)
		range.size = (size_t)left;
	atomic_fetch_add_explicit(&m->count.reads, 1, memory_order_relaxed);
	rc = ahead_read(m->ahead, &range, reply);
	atomic_fetch_add_explicit(rc ? &m->count.errors : &m->count.served, rc ? 1 : range.size, memory_order_relaxed);
	return rc;
}

bool gptqfs_read_done(struct gptqfs *m, struct gptqfs_reply *reply)
{
	const struct range range = reader_done(&m->reader, reply);

	ahead_continue(m->ahead, &range);
	return pager_has_work(m->reader.pager);
}

bool gptqfs_work(struct gptqfs *m)
{
	pager_work(m->reader.pager);
	return pager_has_work(m->reader.pager);
}

void gptqfs_release(struct gptqfs *m, uint64_t ino, uint64_t offset, uint64_t size)
{
	const struct node *n = find_node(m, ino);

	if (n && n->layout)
		ahead_release(m->ahead, n->layout, offset, offset + size);
}

bool gptqfs_trim(struct gptqfs *m)
{
	bool held = ahead_trim(m->ahead);

	held |= cache_trim(m->reader.cache);
	return buffers_trim(m->reader.buffers) || held;
}

/* ---- the accelerator ---- */

void gptqfs_accel_start(struct gptqfs *m)
{
	if (m->accel)
		accel_start(m->accel, &m->kernels);
}

void gptqfs_accel(struct gptqfs *m, struct gptqfs_accel *out)
{
	accel_tell(m->accel, out);
}
