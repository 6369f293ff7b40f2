/* SPDX-License-Identifier: MIT */
#define FUSE_USE_VERSION 314

/*
 * gptqfs: options, model, mount, serve, unmount. The server of a mount reads the model, and its helper mounts and
 * unmounts for it (helper.h). Unless that stays in the foreground, a third process, which the caller started, waits
 * until the mount is usable; it also runs a command (command.h).
 */

#include <errno.h>
#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "serve/channel.h"
#include "command.h"
#include "serve/daemon.h"
#include "offline/entries.h"
#include "exit.h"
#include "offline/export.h"
#include "serve/face.h"
#include "serve/helper.h"
#include "licenses.h"
#include "log.h"
#include "offline/look.h"
#include "offline/model.h"
#include "mount/mountpoint.h"
#include "mount/mounts.h"
#include "serve/ops.h"
#include "options.h"
#include "serve/pagecache.h"
#include "progress.h"
#include "sandbox/sandbox.h"
#include "serve/serve.h"
#include "signals.h"
#include "offline/stats.h"
#include "serve/status.h"
#include "offline/target.h"

/* How the process, or a part of it, ends. */
struct outcome {
	int code; /* an exit_code, or the command's status */
	enum {
		CLEAN_UP,    /* free everything */
		AT_ONCE,     /* free nothing: threads still run */
		RUN_COMMAND, /* another process serves the mount; run the command on it */
	} then;
};

static uint64_t bytes_served(const void *ctx)
{
	struct gptqfs_counters counters;

	gptqfs_counters(ctx, &counters);
	return counters.bytes_served;
}

static int write_hashes(const struct options *o, struct gptqfs *model, FILE *out, struct gptqfs_error *err)
{
	struct progress_task task = {.doing = "hashed", .done = bytes_served, .ctx = model};
	struct progress *progress = NULL;
	struct entries entries;
	int rc;

	if (entries_list(&entries, model) == 0) {
		/* Beside weights there are only small files. */
		task.total = entries.bytes;
		progress = progress_start(&task, o->quiet);
	}
	entries_free(&entries);
	rc = gptqfs_hashes(model, out, err);
	progress_stop(progress);
	return rc;
}

static enum exit_code check_model(struct options *o, struct gptqfs *model)
{
	FILE *out = o->quiet ? fopen("/dev/null", "we") : stdout;
	struct gptqfs_error err;
	int rc;

	if (!out) {
		log_line("/dev/null: %s", strerror(errno));
		return EXIT_SERVE;
	}
	rc = o->sha256 ? write_hashes(o, model, out, &err) : gptqfs_check(model, o->json, out, &err);
	if (rc)
		log_line("%s", err.text);
	if (out != stdout)
		fclose(out);
	return rc ? model_exit_code(rc) : EXIT_OK;
}

/* Without -o view=, exports the view that --sha256 hashes. */
static int export(struct options *o, struct gptqfs *model, struct target *target)
{
	const struct export_request request = {
	    .model = model,
	    .view = o->model.view,
	    .target = target,
	    .threads = o->jobs,
	    .verify = o->verify,
	    .quiet = o->quiet,
	};

	return o->writes_tar ? look_tar(model, o->jobs, o->quiet) : export_run(&request);
}

/* Opens the model in a sandbox; before it, the directory of the export, or makes it. */
static enum exit_code open_confined(struct options *o, struct sandbox *sandbox, struct target *target,
    struct gptqfs **model)
{
	enum exit_code code = model_find(o);

	if (code != EXIT_OK)
		return code;
	if (target) {
		if (target_make(target))
			return EXIT_SERVE;
		o->is_export_new = target->made;
	}
	o->model.sandbox = sandbox->text;
	code = sandbox_enter(sandbox, o) ? EXIT_SERVE : model_open(o, model);
	if (code != EXIT_OK && target)
		target_abort(target);
	return code;
}

static int use_model(struct options *o, struct gptqfs *model, struct target *target)
{
	/* A driver's threads inherit what is blocked. */
	if (o->writes_files)
		signals_hold();
	if (o->export_dir || o->cat)
		gptqfs_accel_start(model);
	if (o->check)
		return check_model(o, model);
	if (o->stats)
		return stats_print(o, model);
	if (o->export_dir)
		return export(o, model, target);
	return o->cat ? look_cat(model, o->cat, o->jobs) : look_list(model, o->ls);
}

/* What needs a model and no mount. */
static int read_model(struct options *o)
{
	struct target target = {.path = o->export_dir, .force = o->force};
	struct sandbox sandbox;
	struct gptqfs *model;
	int code;

	if ((o->sha256 || o->export_dir) && !o->view)
		o->model.view = "fp16";
	code = open_confined(o, &sandbox, o->writes_files ? &target : NULL, &model);
	if (code == EXIT_OK) {
		code = use_model(o, model, &target);
		gptqfs_close(model);
	}
	o->model.sandbox = NULL;
	return code;
}

/* ---- the server ---- */

static struct outcome run(struct serving *s)
{
	int ends[2], rc;

	if (pipe2(ends, O_CLOEXEC) < 0) {
		log_line("cannot make a pipe: %s", strerror(errno));
		return (struct outcome){EXIT_SERVE, CLEAN_UP};
	}
	s->events = ends[0];
	s->server->event = ends[1];
	if (s->behind)
		s->server_behind.event = ends[1];
	rc = serve(s);
	if (rc == 1)
		return (struct outcome){EXIT_OK, AT_ONCE};
	if (rc == -ECONNREFUSED)
		log_line("%s: the kernel refused the FUSE session", s->mountpoint);
	else if (rc < 0)
		log_line("serving failed: %s", strerror(-rc));
	close(ends[0]);
	close(ends[1]);
	/* After a failure, what is behind a face may still be served. */
	return (struct outcome){rc == -ECONNREFUSED ? EXIT_MOUNT
				: rc < 0            ? EXIT_SERVE
						    : EXIT_OK,
	    rc < 0 && s->behind ? AT_ONCE : CLEAN_UP};
}

/* The helper has mounted it. Returns 0, or -1: the helper then says why, and kills this. */
static int receive_session(int channel, struct fuse_session *session)
{
	struct message m;
	char path[32];
	int fd = -1;

	if (channel_receive(channel, &m, &fd) != 1 || fd < 0)
		return -1;
	snprintf(path, sizeof(path), "/dev/fd/%d", fd);
	return fuse_session_mount(session, path);
}

/* libfuse wants it from the process that mounts and from the one that serves. */
static int add_max_read(struct options *o)
{
	char text[64];

	snprintf(text, sizeof(text), "-omax_read=%u", o->max_read);
	return o->max_read ? fuse_opt_add_arg(&o->fuse, text) : 0;
}

/* Returns 0, or -errno: the helper then says why, and may start another server. */
static int make_image(const struct options *o, struct server *server, int channel)
{
	const struct gptqfs_image_options options = {
	    .tell = o->noxattr ? NULL : status_tell_constants, .ctx = server, .closed = !o->allow_other};
	struct gptqfs_error err;
	const int rc = gptqfs_image_open(server->model, &options, &server->image, &err);

	if (rc)
		channel_send(channel, MESSAGE_REFUSED, 0, err.text);
	return rc;
}

/* Of a size of their own, unless one was given. This process alone has these options. */
static int prepare_requests(struct options *o, struct server *server)
{
	if (server->max_read)
		return 0;
	server->max_read = o->max_read = PAGECACHE_REQUEST;
	return add_max_read(o);
}

/* With a face, the image has a server and a session of its own. Returns 0, or -errno: as make_image. */
static int make_behind(const struct options *o, struct server *server, struct serving *s)
{
	struct server *behind = &s->server_behind;
	char requests[64], debug[] = "-d", *words[] = {(char *)"gptqfs", requests, debug, NULL};
	struct fuse_args args = FUSE_ARGS_INIT(o->debug ? 3 : 2, words);
	int rc;

	*behind = *server;
	behind->max_read = o->max_read ? o->max_read : PAGECACHE_REQUEST;
	server->image = NULL;
	snprintf(requests, sizeof(requests), "-omax_read=%u", behind->max_read);
	s->behind = fuse_session_new(&args, &pagecache_ops, sizeof(pagecache_ops), behind);
	fuse_opt_free_args(&args);
	rc = s->behind ? face_new(server->model, &server->face) : -ENOMEM;
	if (rc)
		channel_send(s->channel, MESSAGE_REFUSED, 0, strerror(-rc));
	return rc;
}

/* What EROFS needs. Returns 0, or -1 after a message here or by the helper. */
static int prepare_image(struct options *o, struct server *server, struct serving *s)
{
	if ((!o->face && prepare_requests(o, server)) || make_image(o, server, s->channel))
		return -1;
	return o->face ? make_behind(o, server, s) : 0;
}

static void end_serving(struct serving *s)
{
	if (s->session)
		fuse_session_destroy(s->session);
	if (s->behind)
		fuse_session_destroy(s->behind);
	gptqfs_image_close(s->server->image);
	gptqfs_image_close(s->server_behind.image);
	face_free(s->server->face);
}

static struct outcome serve_model(struct options *o, struct gptqfs *model, struct serving *s)
{
	struct server server = {.model = model,
	    .direct_io = o->direct_io,
	    .noxattr = o->noxattr,
	    .image_name = pagecache_name(o, gptqfs_source(model)),
	    .max_read = o->max_read,
	    .sandbox = s->sandbox.text};
	struct outcome end = {EXIT_MOUNT, CLEAN_UP};

	s->server = &server;
	status_start(&server);
	if (o->erofs && prepare_image(o, &server, s))
		goto out;
	s->session = fuse_session_new(&o->fuse, o->erofs && !o->face ? &pagecache_ops : &ops, sizeof(ops), &server);
	if (!s->session) {
		end.code = EXIT_USAGE;
		goto out;
	}
	if (channel_send(s->channel, MESSAGE_OPENED, 0, gptqfs_source(model)) == 0 &&
	    (!s->behind || receive_session(s->channel, s->behind) == 0) && receive_session(s->channel, s->session) == 0)
		end = run(s);
out:
	if (end.then == CLEAN_UP)
		end_serving(s);
	return end;
}

/* The server is in a session of its own: signals of the terminal are for the helper. */
static struct outcome open_and_serve(struct options *o, struct serving *s)
{
	struct gptqfs *model = NULL;
	struct outcome end = {EXIT_OK, CLEAN_UP};

	/* A helper that starts a second one has another. */
	prctl(PR_SET_NAME, "gptqfs");
	setsid();
	/* Until it is mounted, signals may end it. */
	signals_release();
	end.code = model_find(o);
	o->model.sandbox = s->sandbox.text;
	if (end.code == EXIT_OK && sandbox_enter(&s->sandbox, o))
		end.code = EXIT_SERVE;
	if (end.code == EXIT_OK)
		end.code = model_open(o, &model);
	signals_hold();
	if (end.code == EXIT_OK && !o->fake)
		end = serve_model(o, model, s);
	if (end.then != AT_ONCE)
		gptqfs_close(model);
	return end;
}

/* ---- the processes ---- */

/* Forks the server, of which this process becomes the helper. */
static struct outcome split(struct helper *helper)
{
	struct options *o = helper->options;
	const int status = helper->status;
	struct serving serving = {.options = o, .mountpoint = helper->path, .background = status >= 0};
	int ends[2], rc;

	helper->again = false;
	rc = channel_open(ends);
	if (rc == 0 && (helper->server = fork()) < 0)
		rc = -errno;
	if (rc) {
		log_line("cannot start the server: %s", strerror(-rc));
		if (status >= 0)
			daemon_report(status, EXIT_SERVE);
		return (struct outcome){EXIT_SERVE, CLEAN_UP};
	}
	if (helper->server == 0) {
		close(ends[0]);
		if (status >= 0)
			close(status);
		if (helper->command >= 0)
			close(helper->command);
		serving.channel = ends[1];
		return open_and_serve(o, &serving);
	}
	close(ends[1]);
	helper->channel = ends[0];
	rc = helper_run(helper);
	close(helper->channel);
	return (struct outcome){rc, CLEAN_UP};
}

/* `status` is for daemon_report, or -1. */
static struct outcome split_until_served(struct options *o, const char *path, struct command *command, int status)
{
	struct helper helper = {.options = o, .path = path, .status = status, .command = -1};
	struct outcome end;

	if (command->argv)
		helper.command = command_serve(command);
	do
		end = split(&helper);
	while (helper.again);
	return end;
}

/* Goes to the background, unless -f was given, mounts and serves. */
static struct outcome mount_model(struct options *o, const char *path, struct command *command)
{
	struct daemon d = {.side = DAEMON_CHILD};
	int rc;

	if (o->foreground && !command->argv)
		return split_until_served(o, path, command, -1);
	rc = daemon_start(&d);
	if (rc) {
		log_line("cannot fork: %s", strerror(-rc));
		return (struct outcome){EXIT_SERVE, CLEAN_UP};
	}
	if (d.side == DAEMON_CHILD)
		return split_until_served(o, path, command, d.status);
	return (struct outcome){d.code, d.code == EXIT_OK && command->argv ? RUN_COMMAND : CLEAN_UP};
}

/* The launcher, whose helper and server are other processes. */
static int run_command(struct command *command, const char *path)
{
	dev_t dev;
	int rc = mountpoint_device(path, &dev), code;

	if (rc) {
		log_line("%s: the mount is gone: %s", path, strerror(-rc));
		return EXIT_SERVE;
	}
	code = command_run(command);
	rc = mountpoint_detach(path, dev);
	if (rc && rc != -ENOENT)
		log_line("%s cannot be detached: %s", path, strerror(-rc));
	command_over(command);
	return code;
}

static enum exit_code check_mountpoint(const struct options *o, char **path)
{
	const int rc = mountpoint_check(o->mountpoint, path);

	if (rc)
		return rc == -EINVAL ? EXIT_USAGE : EXIT_MOUNT;
	if (o->command && mountpoint_is_descriptor(*path)) {
		log_line("%s: a command needs a mountpoint with a path", o->mountpoint);
		return EXIT_USAGE;
	}
	if (o->asks_rw && !o->asks_by_fuse)
		log_hint("-o rw is ignored: the mount is read-only");
	return EXIT_OK;
}

/* Blocks signals. Makes a directory for the mount if *path is NULL: it will be removed. */
static enum exit_code prepare(struct options *o, struct command *command, char **path)
{
	if (o->command)
		getrlimit(RLIMIT_NOFILE, &command->files);
	if (o->command && command_prepare(command)) {
		log_line("cannot make a pipe: %s", strerror(errno));
		return EXIT_SERVE;
	}
	signals_hold();
	if (add_max_read(o)) {
		log_line("out of memory");
		return EXIT_SERVE;
	}
	if (!*path && !(*path = command_make_mountpoint())) {
		log_line("cannot make a mountpoint for the command: %s", strerror(errno));
		return EXIT_MOUNT;
	}
	return EXIT_OK;
}

static struct outcome mount_and_serve(struct options *o)
{
	const bool own = !o->mountpoint;
	struct command command = {.argv = o->command};
	char *path = NULL;
	struct outcome end = {EXIT_OK, CLEAN_UP};

	if (o->asks_by_fuse && !own) {
		end.code = model_find_source(&o->source);
		if (end.code == EXIT_OK && mountpoint_shows(o->mountpoint, o->source)) {
			log_hint("%s: mounted already", o->mountpoint);
			return end;
		}
	}
	if (end.code == EXIT_OK && !own)
		end.code = check_mountpoint(o, &path);
	if (end.code == EXIT_OK)
		end.code = prepare(o, &command, &path);
	if (end.code == EXIT_OK && pagecache_choose(o, path))
		end.code = EXIT_MOUNT;
	if (end.code == EXIT_OK)
		end = mount_model(o, path, &command);
	if (end.then == RUN_COMMAND && own && command_tell_mountpoint(&command, path)) {
		log_line("out of memory");
		end = (struct outcome){EXIT_SERVE, AT_ONCE};
	}
	if (end.then == RUN_COMMAND)
		end = (struct outcome){run_command(&command, path), AT_ONCE};
	/* The helper does it too, in case the launcher was killed. */
	if (own && path)
		rmdir(path);
	if (end.then == CLEAN_UP)
		free(path);
	return end;
}

static enum exit_code print_about(const struct options *o)
{
	if (o->help)
		options_help(stdout);
	else if (o->version)
		options_version(stdout);
	if (o->licenses && !o->help)
		fputs(licenses, stdout);
	if (fflush(stdout) == 0 && !ferror(stdout))
		return EXIT_OK;
	log_line("standard output: %s", strerror(errno));
	return EXIT_SERVE;
}

static struct outcome obey(struct options *o)
{
	if (o->help || o->version || o->licenses)
		return (struct outcome){print_about(o), CLEAN_UP};
	if (o->list)
		return (struct outcome){mounts_list(o->json), CLEAN_UP};
	if (o->unmount)
		return (struct outcome){mountpoint_unmount(o->mountpoint) ? EXIT_MOUNT : EXIT_OK, CLEAN_UP};
	if (o->check || o->stats || o->export_dir || o->cat || o->ls)
		return (struct outcome){read_model(o), CLEAN_UP};
	return mount_and_serve(o);
}

/* True for `gptqfs report MODEL_DIR`, which is a command of the Python package; a directory of that name is a model. */
static bool wants_report(int argc, char **argv)
{
	return argc > 1 && strcmp(argv[1], "report") == 0 && access("report", F_OK) < 0;
}

int main(int argc, char **argv)
{
	struct options o;
	struct outcome end = {EXIT_USAGE, CLEAN_UP};
	int rc;

	/* If the caller ignores it, so would this process, and the status of children would be lost. */
	signal(SIGCHLD, SIG_DFL);
	/* A command inherits them; its helper closes them later. */
	if (!options_find_command(argc, argv))
		daemon_close_inherited(argc, argv);
	rc = daemon_guard_descriptors();
	if (rc) {
		log_line("/dev/null: %s", strerror(-rc));
		return EXIT_SERVE;
	}
	if (wants_report(argc, argv)) {
		log_line("report: no such directory; the page about a model is made by the Python package: "
			 "pip install 'gptqfs[report]'");
		return EXIT_USAGE;
	}
	if (options_parse(&o, argc, argv) == 0) {
		log_install(o.debug, o.quiet);
		end = obey(&o);
	}
	if (end.then == AT_ONCE)
		_exit(end.code);
	options_free(&o);
	return end.code;
}
