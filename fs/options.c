/* SPDX-License-Identifier: MIT */
#define FUSE_USE_VERSION 314

#include "options.h"

#include <errno.h>
#include <fuse_lowlevel.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "mount_helper.h"
#include "log.h"
#include "loop.h"

enum { KEY_FSNAME };

/* An option: how it is parsed, and how it is told. Help is printed from this table, and tests hold the man page and the
 * completions against that. */
struct option {
	struct fuse_opt opt; /* templ NULL: libfuse parses it */
	const char *shown;   /* as people write it, or NULL for another spelling of the row above */
	const char *help;
};

#define OPT(name, field, value)                              \
	{                                                    \
		name, offsetof(struct options, field), value \
	}
#define FUSES     \
	{         \
		0 \
	}
#define QUOTE(number) #number
#define NUMBER(number) QUOTE(number)

static const struct option table[] = {
    {OPT("-h", help, 1), "-h, --help", "this text"},
    {OPT("--help", help, 1), NULL, NULL},
    {OPT("-V", version, 1), "-V, --version", "version"},
    {OPT("--version", version, 1), NULL, NULL},
    {OPT("--check", check, 1), "--check", "read and validate everything, print the module table and every warning"},
    {OPT("--json", json, 1), "--json", "with --check: as JSON"},
    {OPT("--sha256", sha256, 1), "--sha256",
	"with --check: print the SHA-256 of every tensor of view=NAME (fp16) as JSON"},
    {FUSES, "-f", "stay in the foreground"},
    {FUSES, "-d, -o debug", "debugging output of libfuse (implies -f)"},
    {FUSES, "-s", "one thread"},
    {OPT("--cpu=%s", cpu, 0), "--cpu=LEVEL", "at most c, ssse3 or neon, avx2, avx512 (also GPTQFS_CPU)"},
    {OPT("cpu=%s", cpu, 0), NULL, NULL},
    {OPT("view=%s", view, 0), "-o view=NAME", "show one view as the root"},
    {OPT("dtype=%s", dtype, 0), "-o dtype=NAME", "type of the files of tensors/: fp16, bf16, fp32 (fp16)"},
    {OPT("cache=%s", cache, 0), "-o cache=SIZE",
	"budget of the second-level cache (" NUMBER(GPTQFS_CACHE_DEFAULT_MIB) "m); k, m, g"},
    {OPT("accel=%s", accel, 0), "-o accel=WHAT",
	"decode on the CPU alone (none), or by cuda, auto, /path/of/plugin.so"},
    {OPT("cuda_mem=%s", cuda_mem, 0), "-o cuda_mem=SIZE",
	"the most an accelerator may hold of its memory (" NUMBER(GPTQFS_ACCEL_MEMORY_MIB) "m); k, m, g"},
    {OPT("readahead=%u", readahead, 0), "-o readahead=KiB",
	"readahead of the mount, if allowed to set it (" NUMBER(READAHEAD_DEFAULT) ")"},
    {OPT("direct_io", direct_io, 1), "-o direct_io", "bypass the page cache (no shared mmap)"},
    {OPT("noxattr", noxattr, 1), "-o noxattr", "no extended attributes user.gptqfs.*"},
    {OPT("follow_symlinks", follow_symlinks, 1), "-o follow_symlinks", "let links lead out of MODEL_DIR"},
    {OPT("uid=%u", model.uid, 0), "-o uid=N", "owner shown"},
    {OPT("gid=%u", model.gid, 0), "-o gid=N", "group shown"},
    {OPT("umask=%o", model.umask, 0), "-o umask=M", "permissions taken away (octal)"},
    {OPT("max_read=%u", max_read, 0), "-o max_read=N", "bytes per request (1048576)"},
    {FUSES, "-o max_threads=N", "threads that serve (10)"},
    {OPT("reader_threads=%u", reader_threads, 0), "-o reader_threads=N",
	"of them serve one reader (2, or 1 on fewer than 3 processors)"},
    {FUSES, "-o clone_fd", "a descriptor of /dev/fuse per thread, and libfuse's own loop"},
    {FUSES, "-o allow_other", "let other users read (see /etc/fuse.conf)"},
    {FUSE_OPT_KEY("fsname=", KEY_FSNAME), "-o fsname=NAME", "name of the source in the table of mounts"},
};

#define OPTIONS (sizeof(table) / sizeof(*table))

static int take_argument(void *data, const char *arg, int key, struct fuse_args *outargs)
{
	struct options *o = data;
	char **slot = !o->source ? &o->source : &o->mountpoint;

	(void)outargs;
	if (key == FUSE_OPT_KEY_OPT && mount_helper_ignores(arg))
		return 0;
	if (key == KEY_FSNAME)
		o->has_fsname = 1;
	if (key != FUSE_OPT_KEY_NONOPT)
		return 1;
	if (*slot) {
		log_line("unexpected argument: %s (expected MODEL_DIR MOUNTPOINT; see gptqfs --help)", arg);
		return -1;
	}
	*slot = strdup(arg);
	if (!*slot)
		log_line("out of memory");
	return *slot ? 0 : -1;
}

/* "64m" is 64 MiB. */
static int parse_size(const char *text, size_t *out)
{
	char *end;
	unsigned long long n;
	unsigned shift = 0;

	errno = 0;
	n = strtoull(text, &end, 10);
	if (end == text || errno || *text == '-')
		return -EINVAL;
	if (*end)
		shift = *end == 'k' || *end == 'K'   ? 10
		        : *end == 'm' || *end == 'M' ? 20
		        : *end == 'g' || *end == 'G' ? 30
		                                     : 99;
	if (shift == 99 || (*end && end[1]) || n > (1ull << 50) >> shift)
		return -EINVAL;
	*out = (size_t)n << shift;
	return 0;
}

/* The size an option gave, if it was given. */
static int read_size(const char *option, const char *text, size_t *out)
{
	int rc = text ? parse_size(text, out) : 0;

	if (rc)
		log_line("%s=%s: expected a size such as 64m or 1g", option, text);
	return rc;
}

static int parse_fuse_words(struct options *o)
{
	struct fuse_cmdline_opts words;
	int rc = fuse_parse_cmdline(&o->fuse, &words);

	if (rc)
		return -EINVAL;
	free(words.mountpoint);
	o->foreground = words.foreground;
	o->debug = words.debug;
	o->single = words.singlethread;
	o->clone_fd = words.clone_fd;
	o->max_threads = words.max_threads;
	o->max_idle_threads = words.max_idle_threads;
	return 0;
}

static int check_arguments(const struct options *o)
{
	if (o->help || o->version)
		return 0;
	if (!o->source)
		log_line("no model given; usage: gptqfs [options] MODEL_DIR MOUNTPOINT (see gptqfs --help)");
	else if (!o->check && !o->mountpoint)
		log_line("no mountpoint given; usage: gptqfs [options] MODEL_DIR MOUNTPOINT (see gptqfs --help)");
	else if (o->command && !*o->command)
		log_line("no command after --; usage: gptqfs [options] MODEL_DIR MOUNTPOINT -- COMMAND ARG...");
	else if (o->check && o->mountpoint)
		log_line("--check mounts nothing; usage: gptqfs --check [--json] MODEL_DIR");
	else if ((o->json || o->sha256) && !o->check)
		log_line("%s goes with --check", o->json ? "--json" : "--sha256");
	else if (o->max_read && (o->max_read < 4096 || o->max_read > GPTQFS_READ_MAX))
		log_line("max_read=%u: expected 4096 to %zu", o->max_read, GPTQFS_READ_MAX);
	else if (o->reader_threads < 1 || o->reader_threads > GPTQFS_AHEAD_MAX)
		log_line("reader_threads=%u: expected 1 to %d", o->reader_threads, GPTQFS_AHEAD_MAX);
	else if (o->readahead > 1u << 20)
		log_line("readahead=%u: expected at most 1048576 (KiB)", o->readahead);
	else
		return 0;
	return -EINVAL;
}

static int parse_own_words(struct options *o)
{
	struct fuse_opt own[OPTIONS + 1];
	size_t count = 0;

	for (size_t i = 0; i < OPTIONS; i++)
		if (table[i].opt.templ)
			own[count++] = table[i].opt;
	own[count] = (struct fuse_opt)FUSE_OPT_END;
	return fuse_opt_parse(&o->fuse, o, own, take_argument) == -1 ? -EINVAL : 0;
}

int options_find_command(int argc, char **argv)
{
	bool options = true;
	int arguments = 0;

	for (int i = 1; i < argc; i++) {
		const bool end = strcmp(argv[i], "--") == 0;

		if (end && arguments == 2)
			return i + 1;
		if (options && strcmp(argv[i], "-o") == 0)
			i++;
		else if (end && options)
			options = false;
		else if (!options || argv[i][0] != '-')
			arguments++;
	}
	return 0;
}

int options_parse(struct options *o, int argc, char **argv)
{
	const bool helper = mount_helper_is(argv[0]);
	const int command = helper ? 0 : options_find_command(argc, argv);

	*o = (struct options){
	    .model = {.cache_bytes = GPTQFS_CACHE_DEFAULT,
		.accel_memory = GPTQFS_ACCEL_MEMORY,
		.uid = (uid_t)-1,
		.gid = (gid_t)-1},
	    .readahead = READAHEAD_DEFAULT,
	    .reader_threads = loop_team(),
	    .command = command ? argv + command : NULL,
	    .fuse = FUSE_ARGS_INIT(command ? command - 1 : argc, argv),
	};
	if (helper && mount_helper_arguments(&o->fuse.argc, argv, &o->fake))
		return -EINVAL;
	if (parse_own_words(o) || parse_fuse_words(o))
		return -EINVAL;
	o->model.view = o->view;
	o->model.dtype = o->dtype;
	o->model.cpu = o->cpu ? o->cpu : getenv("GPTQFS_CPU");
	o->model.accel = o->accel;
	o->model.accel_plugin = secure_getenv("GPTQFS_CUDA_PLUGIN");
	o->model.follow_symlinks = o->follow_symlinks;
	o->model.ahead = o->reader_threads;
	o->model.umask &= 0777;
	if (read_size("cache", o->cache, &o->model.cache_bytes) ||
	    read_size("cuda_mem", o->cuda_mem, &o->model.accel_memory))
		return -EINVAL;
	return check_arguments(o);
}

void options_free(struct options *o)
{
	free(o->source);
	free(o->mountpoint);
	free(o->view);
	free(o->dtype);
	free(o->cpu);
	free(o->cache);
	free(o->accel);
	free(o->cuda_mem);
	fuse_opt_free_args(&o->fuse);
}

void options_help(FILE *out)
{
	fprintf(out,
	    "usage: gptqfs [options] MODEL_DIR MOUNTPOINT     show a GPTQ model as ordinary model files\n"
	    "       gptqfs [options] MODEL_DIR MOUNTPOINT -- COMMAND ARG...\n"
	    "                                                 mount, run the command, unmount; its status is returned\n"
	    "       gptqfs --check [--json|--sha256] MODEL_DIR\n"
	    "                                                 read and validate everything, mount nothing\n"
	    "       fusermount3 -u MOUNTPOINT                 unmount\n"
	    "\n"
	    "MODEL_DIR is a directory with GPTQ safetensors, or an entry of the Hugging Face cache (models--org--name).\n"
	    "\n");
	for (size_t i = 0; i < OPTIONS; i++)
		if (table[i].shown)
			fprintf(out, "    %-22s %s\n", table[i].shown, table[i].help);
	fprintf(out, "    %-22s %s\n\nviews:", "-o ...", "any other mount option");
	for (size_t i = 0; gptqfs_view_name(i); i++)
		fprintf(out, " %s", gptqfs_view_name(i));
	fprintf(out,
	    "\n\n"
	    "exit: 0 mounted; 1 usage; 2 nothing readable as weights; 3 weights damaged, incomplete or of another format;\n"
	    "      4 the mount failed; 5 failed while serving\n");
}

void options_version(FILE *out)
{
	fprintf(out, "gptqfs %s, libfuse %s\n", GPTQFS_VERSION, fuse_pkgversion());
}
