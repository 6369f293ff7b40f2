/* SPDX-License-Identifier: MIT */
#define FUSE_USE_VERSION 314

#include "options.h"

#include <errno.h>
#include <fuse_log.h>
#include <fuse_lowlevel.h>
#include <limits.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "log.h"
#include "serve/loop.h"
#include "mount/mount_helper.h"
#include "spelling.h"

#define READAHEAD_DEFAULT 1024 /* KiB */
#define JOBS_MAX 256
#define TEMPLATES_MAX 4 /* per option */
#define TEMPLATE_SIZE 32

/*
 * An option. The command line is parsed by this table and help is printed from it; tests compare the man page, the
 * completions and README with help.
 */
struct option {
	/* As documented: "-h, --help" or "-o view=NAME". Options of -o may also be written --view=NAME. */
	const char *spelled;
	const char *help;
	const char *format; /* of the value, see fuse_opt.h; NULL for a switch */
	size_t field;       /* of struct options, set to the value or 1 */
	bool by_libfuse;    /* parsed by libfuse */
	const char *values; /* for completions */
};

/* Replaces the format of lora=, which may be repeated: take_other handles it. */
#define ADAPTERS ""

/* Numbers are handled there, too: sscanf would ignore what follows them. The table's index is added to the key. */
enum { KEY_ADAPTER = 1, KEY_NUMBER };

#define OF(name) offsetof(struct options, name)
#define QUOTE(number) #number
#define NUMBER(number) QUOTE(number)

static const struct option table[] = {
    {"-h, --help", "this text", NULL, OF(help), false, NULL},
    {"-V, --version", "version", NULL, OF(version), false, NULL},
    {"--licenses", "print the licences of gptqfs and of everything linked into it", NULL, OF(licenses), false, NULL},
    {"-u, --unmount", "unmount MOUNTPOINT", NULL, OF(unmount), false, NULL},
    {"-q, --quiet", "print only errors", NULL, OF(quiet), false, NULL},
    {"--check", "read and validate everything, print the module table and every warning", NULL, OF(check), false, NULL},
    {"--stats", "print figures about every quantized module: use of codes, scales, error; mount nothing", NULL,
	OF(stats), false, NULL},
    {"--against=DIR", "with --stats: compare with another model, quantized or not", "%s", OF(against), false, NULL},
    {"--all", "with --stats: a line for every module", NULL, OF(all), false, NULL},
    {"--json", "with --check, --stats or --list: as JSON", NULL, OF(json), false, NULL},
    {"--sha256", "with --check: print the SHA-256 of every tensor of view=NAME (fp16) as JSON", NULL, OF(sha256), false,
	NULL},
    {"--blobs", "with --check: compare the blobs of a Hugging Face cache entry with their names", NULL, OF(blobs),
	false, NULL},
    {"--export=DIR", "write the view -o view=NAME (fp16) to DIR, or to standard output as a tar for -", "%s",
	OF(export_dir), false, NULL},
    {"--force", "with --export: also into a DIR that holds files, replacing those of the same name", NULL, OF(force),
	false, NULL},
    {"--verify", "with --export: read everything back and compare it", NULL, OF(verify), false, NULL},
    {"--cat=PATH", "write one file of the tree (fp16/config.json) to standard output; mount nothing", "%s", OF(cat),
	false, NULL},
    {"--ls", "list the root of the tree; mount nothing", NULL, OF(list_root), false, NULL},
    {"--ls=PATH", "list a directory of it", "%s", OF(ls), false, NULL},
    {"-j N", "threads of --export and --cat (one per CPU, at most 12)", "%u", OF(jobs), false, NULL},
    {"--list", "list the mounts: model, view, size, server", NULL, OF(list), false, NULL},
    {"-f", "stay in the foreground", NULL, 0, true, NULL},
    {"-d, -o debug", "debugging output of libfuse (implies -f)", NULL, 0, true, NULL},
    {"-s", "serve with one thread", NULL, 0, true, NULL},
    {"--cpu=LEVEL", "highest CPU level: c, ssse3 or neon, avx2, avx512 (also GPTQFS_CPU)", "%s", OF(cpu), false,
	"c ssse3 neon avx2 avx512"},
    {"-o view=NAME", "show one view as the root", "%s", OF(view), false, NULL},
    {"-o lora=DIR[:SCALE]", "merge an adapter into every view; several are added in the given order", ADAPTERS, 0,
	false, NULL},
    {"-o loras=DIR", "adapters of a directory, one at a time: lora/NAME/VIEW", "%s", OF(loras), false, NULL},
    {"-o lora_tokenizer=WHO", "tokenizer of the views: the adapter's own, if any, or the base's", "%s",
	OF(lora_tokenizer), false, "adapter base"},
    {"-o dtype=NAME", "type of the files of tensors/ and of floats in mlx/: fp16, bf16, fp32 (fp16)", "%s", OF(dtype),
	false, "fp16 bf16 fp32"},
    {"-o shard=SIZE", "most bytes of weights in a file that holds several tensors (5 GB)", "%s", OF(shard), false,
	NULL},
    {"-o cache=SIZE", "budget of the second-level cache (" NUMBER(GPTQFS_CACHE_DEFAULT_MIB) "m); k, m, g", "%s",
	OF(cache), false, NULL},
    {"-o accel=WHAT", "decode by none (CPU only), cuda, auto, or /path/to/plugin.so", "%s", OF(accel), false,
	"none auto cuda"},
    {"-o cuda_mem=SIZE", "device memory an accelerator may use (" NUMBER(GPTQFS_ACCEL_MEMORY_MIB) "m)", "%s",
	OF(cuda_mem), false, NULL},
    {"-o readahead=KiB", "readahead of the mount; needs root (" NUMBER(READAHEAD_DEFAULT) ")", "%u", OF(readahead),
	false, NULL},
    {"-o pagecache=WHAT", "whose page cache: fuse, erofs (faster; needs root and Linux 6.12), or auto (fuse)", "%s",
	OF(pagecache), false, "fuse erofs auto"},
    {"-o direct_io", "bypass the page cache (no shared mmap)", NULL, OF(direct_io), false, NULL},
    {"-o noxattr", "no extended attributes user.gptqfs.*", NULL, OF(noxattr), false, NULL},
    {"-o follow_symlinks", "allow links that lead out of MODEL_DIR", NULL, OF(follow_symlinks), false, NULL},
    {"-o zeros=NAME", "zeros format if no file gives it: v1 (stored minus one) or v2", "%s", OF(model.zeros), false,
	"v1 v2"},
    {"-o gguf_kv=FILE", "a GGUF file whose tokenizer gguf/ takes instead of the model's", "%s", OF(model.gguf_kv),
	false, NULL},
    {"-o gguf_q2", "2-bit weights as Q2_0 in gguf/: half the size, for a new llama.cpp", NULL, OF(gguf_q2), false,
	NULL},
    {"-o sandbox=WHEN", "confine the server: yes, no, or auto as far as the kernel can (auto)", "%s", OF(sandbox),
	false, "auto yes no"},
    {"-o uid=N", "owner shown", "%u", OF(model.uid), false, NULL},
    {"-o gid=N", "group shown", "%u", OF(model.gid), false, NULL},
    {"-o umask=M", "permissions to clear (octal), replacing those of the source", "%o", OF(model.umask), false, NULL},
    {"-o max_read=N", "bytes per request (1048576; 262144 with pagecache=erofs)", "%u", OF(max_read), false, NULL},
    {"-o max_threads=N", "worker threads (10)", NULL, 0, true, NULL},
    {"-o max_idle_threads=N", "worker threads kept when idle, with clone_fd", NULL, 0, true, NULL},
    {"-o reader_threads=N", "worker threads per sequential reader (2, or 1 on fewer than 3 CPUs)", "%u",
	OF(teams.ahead), false, NULL},
    {"-o clone_fd", "a /dev/fuse descriptor per thread, with libfuse's own loop", NULL, 0, true, NULL},
    {"-o allow_other", "let other users read (see /etc/fuse.conf)", NULL, 0, true, NULL},
    {"-o fsname=NAME", "source name in the mount table", NULL, 0, true, NULL},
};

#define OPTIONS (sizeof(table) / sizeof(*table))

/* ---- spellings ---- */

/* One spelling of an option, split into dashes or "-o ", its name, and whether a value follows. */
struct spelling {
	const char *name;
	size_t length;
	bool by_o;
	bool has_value; /* NAME=VALUE */
	bool separate;  /* -x VALUE */
	unsigned dashes;
};

/* Reads the spelling at `at`. Returns the start of the next one, or NULL after the last. */
static const char *next_spelling(const char *at, struct spelling *s)
{
	const char *end = at + strcspn(at, ",");

	*s = (struct spelling){.by_o = strncmp(at, "-o ", 3) == 0};
	s->dashes = s->by_o ? 0 : (unsigned)strspn(at, "-");
	s->name = at + (s->by_o ? 3 : s->dashes);
	s->length = strcspn(s->name, ",= ");
	s->has_value = s->name[s->length] == '=';
	s->separate = s->name[s->length] == ' ';
	return *end ? end + 2 : NULL;
}

/* Templates by which libfuse parses an option. */
struct templates {
	struct fuse_opt opts[OPTIONS * TEMPLATES_MAX + 1];
	char text[OPTIONS * TEMPLATES_MAX][TEMPLATE_SIZE];
	size_t count;
};

static void add_template(struct templates *t, const struct option *o, const struct spelling *s, const char *dashes)
{
	const bool by_key = o->format && strcmp(o->format, "%s") != 0;

	snprintf(t->text[t->count], TEMPLATE_SIZE, "%s%.*s%s%s", dashes, (int)s->length, s->name,
	    s->has_value  ? "="
	    : s->separate ? " "
			  : "",
	    (s->has_value || s->separate) && !by_key ? o->format : "");
	t->opts[t->count] = (struct fuse_opt){t->text[t->count], o->field, 1};
	if (by_key)
		t->opts[t->count] = (struct fuse_opt)FUSE_OPT_KEY(t->text[t->count],
		    *o->format ? KEY_NUMBER + (int)(o - table) : KEY_ADAPTER);
	t->count++;
}

static void add_templates(struct templates *t, const struct option *o)
{
	struct spelling s;

	for (const char *at = o->spelled; at;) {
		at = next_spelling(at, &s);
		if (s.by_o || s.dashes == 2)
			add_template(t, o, &s, "--");
		if (s.by_o || s.has_value)
			add_template(t, o, &s, "");
		if (s.dashes == 1)
			add_template(t, o, &s, "-");
	}
}

/* ---- options that are not ours ---- */

/* True for the options of the table that libfuse parses. */
static bool is_listed(const char *arg)
{
	struct spelling s;

	for (size_t i = 0; i < OPTIONS; i++)
		for (const char *at = table[i].by_libfuse ? table[i].spelled : NULL; at;) {
			const size_t dashes = strspn(arg, "-"), length = strcspn(arg + dashes, "=");

			at = next_spelling(at, &s);
			if (dashes == s.dashes && length == s.length && strncmp(arg + dashes, s.name, length) == 0)
				return true;
		}
	return false;
}

static void say_nothing(enum fuse_log_level level, const char *fmt, va_list args)
{
	(void)level;
	(void)fmt;
	(void)args;
}

/* True if libfuse or mount(2) has such an option. There is no list of them: only creating a session shows it. */
static bool is_of_libfuse(const char *arg)
{
	static const struct fuse_lowlevel_ops none;
	char *argv[] = {"gptqfs", (char *)arg, NULL, NULL};
	struct fuse_args args = FUSE_ARGS_INIT(2, argv);
	struct fuse_session *session;

	if (arg[0] != '-') {
		argv[1] = "-o";
		argv[2] = (char *)arg;
		args.argc = 3;
	}
	fuse_set_log_func(say_nothing);
	session = fuse_session_new(&args, &none, sizeof(none), NULL);
	fuse_set_log_func(NULL);
	if (session)
		fuse_session_destroy(session);
	fuse_opt_free_args(&args);
	return session != NULL;
}

/* Returns the option with the most similar name, or NULL. */
static const struct option *find_nearest(const char *name, size_t length)
{
	const struct option *nearest = NULL;
	unsigned best = length < 4 ? 2 : 3;
	struct spelling s;

	for (size_t i = 0; i < OPTIONS; i++)
		for (const char *at = table[i].spelled; at;) {
			unsigned distance;

			at = next_spelling(at, &s);
			distance = spelling_distance(name, length, s.name, s.length);
			if (s.length > 1 && distance < best) {
				best = distance;
				nearest = &table[i];
			}
		}
	return nearest;
}

static int refuse_option(const char *arg)
{
	const size_t dashes = strspn(arg, "-");
	const struct option *nearest = find_nearest(arg + dashes, strcspn(arg + dashes, "="));

	log_line("unknown option %s%s%s%s%s", dashes ? "" : "-o ", arg, nearest ? "; did you mean " : "",
	    nearest ? nearest->spelled : "", nearest ? "?" : "; gptqfs --help lists them");
	return -1;
}

/* ---- parsing ---- */

static int take_argument(struct options *o, const char *arg)
{
	char **slot = !o->source && !o->unmount ? &o->source : &o->mountpoint;

	if (*slot) {
		log_line("unexpected argument: %s (expected MODEL_DIR MOUNTPOINT; see gptqfs --help)", arg);
		return -1;
	}
	*slot = strdup(arg);
	if (!*slot)
		log_line("out of memory");
	return *slot ? 0 : -1;
}

/* "lora=VALUE" or "--lora=VALUE". */
static int take_lora(struct options *o, const char *arg)
{
	char **grown = realloc(o->lora, (o->model.lora_count + 1) * sizeof(*grown));

	if (grown) {
		o->lora = grown;
		grown[o->model.lora_count] = strdup(strchr(arg, '=') + 1);
	}
	if (!grown || !grown[o->model.lora_count]) {
		log_line("out of memory");
		return -1;
	}
	o->model.lora_count++;
	return 0;
}

/* "readahead=VALUE", "--readahead=VALUE" or "-jVALUE". The largest number stands for an option that is not given. */
static int take_number(struct options *o, const struct option *option, const char *arg)
{
	const bool octal = strcmp(option->format, "%o") == 0;
	const char *equals = strchr(arg, '='), *value = equals ? equals + 1 : arg + 2;
	unsigned long n;
	char *end;

	errno = 0;
	n = strtoul(value, &end, octal ? 8 : 10);
	if (strspn(value, "0123456789") == 0 || *end || errno || n >= UINT_MAX) {
		log_line("%s: expected %s", arg, octal ? "an octal number" : "a number");
		return -1;
	}
	*(unsigned *)((char *)o + option->field) = (unsigned)n;
	return 0;
}

/* The last one counts, as it does for libfuse. */
static int note_fsname(struct options *o, const char *name)
{
	free(o->fsname);
	o->fsname = strdup(name);
	if (!o->fsname)
		log_line("out of memory");
	return o->fsname ? 0 : -1;
}

/* Handles arguments that match no template. As for fuse_opt_parse, 1 keeps the argument for libfuse, 0 drops it. */
static int take_other(void *data, const char *arg, int key, struct fuse_args *outargs)
{
	struct options *o = data;

	(void)outargs;
	if (key == KEY_ADAPTER)
		return take_lora(o, arg);
	if (key >= KEY_NUMBER)
		return take_number(o, &table[key - KEY_NUMBER], arg);
	if (key == FUSE_OPT_KEY_NONOPT)
		return take_argument(o, arg);
	o->asks_rw |= strcmp(arg, "rw") == 0;
	o->asks_by_fuse |= strcmp(arg, "dev") == 0 || strcmp(arg, "suid") == 0;
	if (strncmp(arg, "fsname=", 7) == 0 && note_fsname(o, arg + 7))
		return -1;
	o->allow_other |= strcmp(arg, "allow_other") == 0;
	o->noexec |= strcmp(arg, "noexec") == 0;
	if (mount_helper_ignores(arg))
		return 0;
	return is_listed(arg) || is_of_libfuse(arg) ? 1 : refuse_option(arg);
}

static int parse_own_words(struct options *o)
{
	struct templates t = {.count = 0};

	for (size_t i = 0; i < OPTIONS; i++)
		if (!table[i].by_libfuse)
			add_templates(&t, &table[i]);
	t.opts[t.count] = (struct fuse_opt)FUSE_OPT_END;
	return fuse_opt_parse(&o->fuse, o, t.opts, take_other) == -1 ? -EINVAL : 0;
}

/* Parses a size: "64m" is 64 MiB. */
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

/* Parses the value of an option, if given. */
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

/* What is done instead of mounting: the word, how it is used, and what it has. */
struct mode {
	const char *word, *usage;
	bool chosen, has_source, has_mountpoint;
};

/* An option that goes only with a mode. */
struct addition {
	const char *word, *mode;
	bool given, allowed;
};

static int check_additions(const struct options *o)
{
	const struct addition additions[] = {
	    {"--json", "--check", o->json, o->check || o->list || o->stats},
	    {"--sha256", "--check", o->sha256, o->check},
	    {"--blobs", "--check", o->blobs, o->check},
	    {"--against", "--stats", o->against, o->stats},
	    {"--all", "--stats", o->all, o->stats},
	    {"--force", "--export=DIR", o->force, o->export_dir},
	    {"--verify", "--export=DIR", o->verify, o->export_dir},
	    {"-j", "--export=DIR", o->jobs, o->export_dir || o->cat},
	};

	for (size_t i = 0; i < sizeof(additions) / sizeof(*additions); i++)
		if (additions[i].given && !additions[i].allowed) {
			log_line("%s goes with %s; usage: gptqfs %s %s MODEL_DIR", additions[i].word, additions[i].mode,
			    additions[i].mode, additions[i].word);
			return -EINVAL;
		}
	return 0;
}

/* Sets *out to the mode of the command line, whose word is NULL for a mount. Returns 0, or -EINVAL after a message. */
static int find_mode(const struct options *o, struct mode *out)
{
	const struct mode modes[] = {
	    {"-u", "-u MOUNTPOINT", o->unmount, false, true},
	    {"--list", "--list [--json]", o->list, false, false},
	    {"--check", "--check [--json] MODEL_DIR", o->check, true, false},
	    {"--stats", "--stats [--against=DIR] [--json] MODEL_DIR", o->stats, true, false},
	    {"--export", "--export=DIR [-o view=NAME] MODEL_DIR", o->export_dir, true, false},
	    {"--cat", "--cat=PATH MODEL_DIR", o->cat, true, false},
	    {"--ls", "--ls[=PATH] MODEL_DIR", o->ls, true, false},
	};

	*out = (struct mode){NULL, "[options] MODEL_DIR MOUNTPOINT", true, true, true};
	for (size_t i = 0; i < sizeof(modes) / sizeof(*modes); i++) {
		if (modes[i].chosen && out->word) {
			log_line("%s and %s exclude each other; usage: gptqfs %s", out->word, modes[i].word,
			    out->usage);
			return -EINVAL;
		}
		if (modes[i].chosen)
			*out = modes[i];
	}
	return 0;
}

/* Checks for missing or surplus arguments. */
static int check_arguments(const struct options *o)
{
	struct mode mode;

	if (find_mode(o, &mode))
		return -EINVAL;
	if (o->unmount && (!o->mountpoint || o->command))
		log_line("-u takes a mountpoint and nothing else; usage: gptqfs -u MOUNTPOINT");
	else if (o->unmount)
		return 0;
	else if (check_additions(o))
		return -EINVAL;
	else if (!o->source && mode.has_source)
		log_line("no model given; usage: gptqfs %s (see gptqfs --help)", mode.usage);
	else if (o->source && !mode.has_source)
		log_line("unexpected argument: %s; usage: gptqfs %s", o->source, mode.usage);
	else if (mode.has_mountpoint && !o->mountpoint && !o->command)
		log_line("no mountpoint given; usage: gptqfs %s (see gptqfs --help)", mode.usage);
	else if (o->command && !*o->command)
		log_line("no command after --; usage: gptqfs [options] MODEL_DIR [MOUNTPOINT] -- COMMAND ARG...");
	else if (!mode.has_mountpoint && o->mountpoint)
		log_line("%s mounts nothing; usage: gptqfs %s", mode.word, mode.usage);
	else
		return 0;
	return -EINVAL;
}

static int check_values(const struct options *o)
{
	if (o->max_read && (o->max_read < 4096 || o->max_read > GPTQFS_READ_MAX))
		log_line("max_read=%u: expected 4096 to %zu", o->max_read, GPTQFS_READ_MAX);
	else if (o->teams.ahead < 1 || o->teams.ahead > GPTQFS_AHEAD_MAX)
		log_line("reader_threads=%u: expected 1 to %d", o->teams.ahead, GPTQFS_AHEAD_MAX);
	else if (o->lora_tokenizer && strcmp(o->lora_tokenizer, "base") != 0 &&
		 strcmp(o->lora_tokenizer, "adapter") != 0)
		log_line("lora_tokenizer=%s: expected adapter or base", o->lora_tokenizer);
	else if (o->sandbox && strcmp(o->sandbox, "auto") != 0 && strcmp(o->sandbox, "yes") != 0 &&
		 strcmp(o->sandbox, "no") != 0)
		log_line("sandbox=%s: expected auto, yes or no", o->sandbox);
	else if (o->pagecache && strcmp(o->pagecache, "fuse") != 0 && strcmp(o->pagecache, "erofs") != 0 &&
		 strcmp(o->pagecache, "auto") != 0)
		log_line("pagecache=%s: expected fuse, erofs or auto", o->pagecache);
	else if (o->writes_tar && (o->force || o->verify))
		log_line("%s goes with a directory, not with --export=-", o->force ? "--force" : "--verify");
	else if (o->writes_tar && isatty(STDOUT_FILENO))
		log_line("--export=- writes a tar archive, which is not for a terminal; redirect it");
	else if (o->jobs > JOBS_MAX)
		log_line("-j %u: expected at most %d", o->jobs, JOBS_MAX);
	else if (o->readahead > 1u << 20)
		log_line("readahead=%u: expected at most 1048576 (KiB)", o->readahead);
	else
		return 0;
	return -EINVAL;
}

int options_find_command(int argc, char **argv)
{
	bool options = true;
	int arguments = 0;

	for (int i = 1; i < argc; i++) {
		const bool end = strcmp(argv[i], "--") == 0;

		if (end && (arguments == 1 || arguments == 2))
			return i + 1;
		if (options && (strcmp(argv[i], "-o") == 0 || strcmp(argv[i], "-j") == 0))
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
	size_t shard = 0;

	*o = (struct options){
	    .model = GPTQFS_OPTIONS,
	    .readahead = READAHEAD_DEFAULT,
	    .teams = loop_teams(),
	    .command = command ? argv + command : NULL,
	    .fuse = FUSE_ARGS_INIT(command ? command - 1 : argc, argv),
	};
	o->asks_by_fuse = helper;
	if (helper && mount_helper_arguments(&o->fuse.argc, argv, &o->fake))
		return -EINVAL;
	if (parse_own_words(o) || parse_fuse_words(o))
		return -EINVAL;
	if (o->list_root && !o->ls && !(o->ls = strdup(""))) {
		log_line("out of memory");
		return -EINVAL;
	}
	o->writes_tar = o->export_dir && strcmp(o->export_dir, "-") == 0;
	o->writes_files = o->export_dir && !o->writes_tar;
	o->model.view = o->view;
	o->model.lora = (const char *const *)o->lora;
	o->model.loras = o->loras;
	o->model.lora_base_tokenizer = o->lora_tokenizer && strcmp(o->lora_tokenizer, "base") == 0;
	o->model.dtype = o->dtype;
	o->model.cpu = o->cpu ? o->cpu : getenv("GPTQFS_CPU");
	o->model.accel = o->accel;
	o->model.accel_plugin = secure_getenv("GPTQFS_CUDA_PLUGIN");
	o->model.follow_symlinks = o->follow_symlinks;
	o->model.blobs = o->blobs;
	o->model.gguf_q2 = o->gguf_q2;
	o->model.ahead = loop_threads(&o->teams);
	if (o->model.umask != (mode_t)-1)
		o->model.umask &= 0777;
	if (read_size("cache", o->cache, &o->model.cache_bytes) || read_size("shard", o->shard, &shard) ||
	    read_size("cuda_mem", o->cuda_mem, &o->model.accel_memory))
		return -EINVAL;
	if (o->shard && !shard) {
		log_line("shard=%s: expected a size such as 500m or 5g", o->shard);
		return -EINVAL;
	}
	o->model.shard_bytes = shard;
	if (o->help || o->version || o->licenses)
		return 0;
	return check_arguments(o) ? -EINVAL : check_values(o);
}

void options_free(struct options *o)
{
	free(o->source);
	free(o->mountpoint);
	free(o->fsname);
	for (size_t i = 0; i < o->model.lora_count; i++)
		free(o->lora[i]);
	free(o->lora);
	free(o->view);
	free(o->against);
	free(o->export_dir);
	free(o->cat);
	free(o->ls);
	free(o->loras);
	free(o->lora_tokenizer);
	free(o->dtype);
	free(o->cpu);
	free(o->cache);
	free(o->shard);
	free(o->accel);
	free(o->cuda_mem);
	free(o->sandbox);
	free(o->pagecache);
	free((char *)o->model.zeros);
	free((char *)o->model.gguf_kv);
	fuse_opt_free_args(&o->fuse);
}

/* For the completions: a line for each option with known values. */
static void help_values(FILE *out)
{
	struct spelling s;

	fprintf(out, "view:");
	for (size_t i = 0; gptqfs_view_name(i); i++)
		fprintf(out, " %s", gptqfs_view_name(i));
	putc('\n', out);
	for (size_t i = 0; i < OPTIONS; i++)
		if (table[i].values) {
			next_spelling(table[i].spelled, &s);
			fprintf(out, "%.*s: %s\n", (int)s.length, s.name, table[i].values);
		}
}

void options_help(FILE *out)
{
	fprintf(out,
	    "usage: gptqfs [options] MODEL_DIR MOUNTPOINT     show a quantized model as ordinary model files\n"
	    "       gptqfs [options] MODEL_DIR [MOUNTPOINT] -- COMMAND ARG...\n"
	    "                                                 mount, run the command, unmount; returns its status; without\n"
	    "                                                 MOUNTPOINT, {} in an argument becomes a temporary one\n"
	    "       gptqfs --check [--json|--sha256] MODEL_DIR\n"
	    "                                                 read and validate everything, mount nothing\n"
	    "       gptqfs --stats [--against=DIR] [--all|--json] MODEL_DIR\n"
	    "                                                 figures about its modules, mount nothing\n"
	    "       gptqfs --export=DIR [-o view=NAME] MODEL_DIR\n"
	    "                                                 write a view to a directory, mount nothing\n"
	    "       gptqfs --cat=PATH | --ls[=PATH] MODEL_DIR  one file, or a list of them; mount nothing\n"
	    "       gptqfs --list [--json]                    list the mounts\n"
	    "       gptqfs -u MOUNTPOINT                      unmount\n"
	    "\n"
	    "MODEL_DIR is a directory with quantized safetensors, an entry of the Hugging Face cache (models--org--name), or\n"
	    "the name of a model in that cache (org/name).\n"
	    "\n");
	for (size_t i = 0; i < OPTIONS; i++)
		fprintf(out, "    %-22s %s\n", table[i].spelled, table[i].help);
	fprintf(out, "    %-22s %s\n\n", "-o ...", "any other mount option");
	help_values(out);
	fprintf(out,
	    "\n"
	    "exit: 0 mounted; 1 usage; 2 no readable weights; 3 weights damaged, incomplete or in an unsupported format;\n"
	    "      4 the mount failed; 5 failed while serving or exporting; 128 + signal: an export or statistics were\n"
	    "      interrupted; with a command, its status\n");
}

void options_version(FILE *out)
{
	fprintf(out, "gptqfs %s, libfuse %s\n", GPTQFS_VERSION, fuse_pkgversion());
}
