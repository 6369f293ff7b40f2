/* SPDX-License-Identifier: MIT */
#define FUSE_USE_VERSION 314

/* gptqfs: options, model, mount, serve, unmount. */

#include <errno.h>
#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "command.h"
#include "daemon.h"
#include "log.h"
#include "mountpoint.h"
#include "ops.h"
#include "options.h"
#include "serve.h"
#include "status.h"

enum {
	EXIT_OK = 0,
	EXIT_USAGE = 1,
	EXIT_NO_WEIGHTS = 2,
	EXIT_BAD_WEIGHTS = 3,
	EXIT_MOUNT = 4,
	EXIT_SERVE = 5,
	LEAVE_AT_ONCE = 256, /* added: without cleaning up, as threads still run or another process has the session */
	RUN_COMMAND = 512,   /* the mount is usable, and another process serves it */
};

static int exit_code_of_open(int rc)
{
	switch (rc) {
	case -EINVAL:
		return EXIT_USAGE;
	case -ENOENT:
	case -ENOTDIR:
	case -EACCES:
		return EXIT_NO_WEIGHTS;
	case -EBADMSG:
	case -ENOTSUP:
		return EXIT_BAD_WEIGHTS;
	default:
		return EXIT_SERVE;
	}
}

static void log_model(void *ctx, const char *line)
{
	(void)ctx;
	log_line("%s", line);
}

static int open_model(struct options *o, struct gptqfs **model)
{
	struct gptqfs_error err;
	int rc;

	o->model.log = log_model;
	rc = gptqfs_open(o->source, &o->model, model, &err);
	if (rc)
		log_line("%s", err.text);
	return rc ? exit_code_of_open(rc) : EXIT_OK;
}

static int check(struct options *o)
{
	struct gptqfs *model;
	struct gptqfs_error err;
	int code;

	if (o->sha256 && !o->view)
		o->model.view = "fp16";
	code = open_model(o, &model);
	if (code == EXIT_OK) {
		int rc = o->sha256 ? gptqfs_hashes(model, stdout, &err) : gptqfs_check(model, o->json, stdout, &err);

		if (rc)
			log_line("%s", err.text);
		if (rc)
			code = exit_code_of_open(rc);
	}
	gptqfs_close(model);
	return code;
}

/* What every mount has. It comes last, so that it wins. */
static int add_mount_options(struct options *o, const char *source)
{
	char *words = NULL, *name = NULL, text[64];
	int rc = -1;

	if (asprintf(&name, "fsname=%s", source) >= 0 &&
	    fuse_opt_add_opt(&words, "ro,nosuid,nodev,default_permissions,subtype=gptqfs") == 0 &&
	    (o->has_fsname || fuse_opt_add_opt_escaped(&words, name) == 0))
		rc = 0;
	snprintf(text, sizeof(text), "max_read=%u", o->max_read);
	if (rc == 0 && o->max_read)
		rc = fuse_opt_add_opt(&words, text);
	if (rc == 0 && (fuse_opt_add_arg(&o->fuse, "-o") || fuse_opt_add_arg(&o->fuse, words)))
		rc = -1;
	free(words);
	free(name);
	return rc;
}

static int run(struct serving *s)
{
	int ends[2], rc;

	if (pipe2(ends, O_CLOEXEC) < 0)
		return EXIT_SERVE;
	s->events = ends[0];
	s->event = s->server->event = ends[1];
	rc = serve(s);
	if (s->status >= 0) {
		/* The mount never became usable; the parent still waits to be told. */
		log_line("%s: the kernel refused the FUSE session", s->mountpoint);
		fuse_session_unmount(s->session);
		daemon_ready(s->status, EXIT_MOUNT, true);
		return EXIT_MOUNT;
	}
	if (rc < 0)
		log_line("serving failed: %s", strerror(-rc));
	close(ends[0]);
	close(ends[1]);
	return rc == 1 ? LEAVE_AT_ONCE : rc < 0 ? EXIT_SERVE : EXIT_OK;
}

/* The session is mounted: go to the background, if wanted, and serve. */
static int serve_mounted(struct options *o, struct serving *s, struct command *command)
{
	s->status = s->command = -1;
	if (!o->foreground || command->argv) {
		int rc = daemon_start(&s->status);

		if (rc < 0) {
			log_line("cannot fork: %s", strerror(-rc));
			fuse_session_unmount(s->session);
			return EXIT_SERVE;
		}
		if (rc - 1 == EXIT_OK)
			/* Session and model are the child's now. */
			return command->argv ? RUN_COMMAND : LEAVE_AT_ONCE;
		if (rc > 0) {
			fuse_session_unmount(s->session);
			return rc - 1;
		}
		if (command->argv)
			s->command = command_serve(command);
	}
	return run(s);
}

static int mount_model(struct options *o, struct gptqfs *model, const char *path, struct command *command)
{
	struct server server = {
	    .model = model, .direct_io = o->direct_io, .noxattr = o->noxattr, .max_read = o->max_read};
	struct serving s = {.server = &server, .options = o, .mountpoint = path};
	int code;

	status_start(&server);
	if (add_mount_options(o, gptqfs_source(model)))
		return EXIT_SERVE;
	s.session = fuse_session_new(&o->fuse, &ops, sizeof(ops), &server);
	if (!s.session)
		return EXIT_USAGE;
	if (fuse_session_mount(s.session, path)) {
		mountpoint_explain(path);
		code = EXIT_MOUNT;
	} else {
		code = serve_mounted(o, &s, command);
	}
	if (code == RUN_COMMAND)
		close(fuse_session_fd(s.session)); /* or reads would wait for this process when the other is gone */
	else if (code != LEAVE_AT_ONCE)
		fuse_session_destroy(s.session);
	return code;
}

/* An option nobody knows should be the error that is shown, before any other work is done. */
static bool options_known(const struct options *o)
{
	struct fuse_args copy = {.argc = 0};
	struct fuse_session *session;
	bool known = true;

	for (int i = 0; i < o->fuse.argc && known; i++)
		known = fuse_opt_add_arg(&copy, o->fuse.argv[i]) == 0;
	session = known ? fuse_session_new(&copy, &ops, sizeof(ops), NULL) : NULL;
	known = session != NULL;
	if (session)
		fuse_session_destroy(session);
	fuse_opt_free_args(&copy);
	return known;
}

/* Another process serves; this one has let go of the session and the model. */
static int run_command(struct command *command, const char *path)
{
	dev_t dev;
	int rc = mountpoint_wait(path, &dev), code;

	if (rc) {
		log_line("%s: the mount does not answer: %s", path, strerror(-rc));
		return EXIT_SERVE;
	}
	code = command_run(command);
	rc = mountpoint_detach(path, dev);
	if (rc && rc != -ENOENT)
		log_line("%s cannot be detached: %s", path, strerror(-rc));
	command_over(command);
	return code;
}

static int mount_and_serve(struct options *o)
{
	struct command command = {.argv = o->command};
	struct gptqfs *model;
	char *path = NULL;
	int rc, code;

	if (!options_known(o))
		return EXIT_USAGE;
	rc = mountpoint_check(o->mountpoint, &path);
	if (rc == 0 && o->command && mountpoint_is_descriptor(path)) {
		log_line("%s: a command needs a mountpoint with a path", o->mountpoint);
		rc = -EINVAL;
	}
	if (rc) {
		free(path);
		return rc == -EINVAL ? EXIT_USAGE : EXIT_MOUNT;
	}
	code = open_model(o, &model);
	if (code == EXIT_OK && o->command && command_prepare(&command))
		code = EXIT_SERVE;
	if (code == EXIT_OK && !o->fake)
		code = mount_model(o, model, path, &command);
	if (code == LEAVE_AT_ONCE)
		return code;
	gptqfs_close(model);
	if (code == RUN_COMMAND)
		code = LEAVE_AT_ONCE + run_command(&command, path);
	free(path);
	return code;
}

int main(int argc, char **argv)
{
	struct options o;
	int code;

	/* A command has them; the server of its mount will close them. */
	if (!options_find_command(argc, argv))
		daemon_close_inherited(argc, argv);
	if (daemon_guard_descriptors()) {
		log_line("/dev/null: %s", strerror(errno));
		return EXIT_SERVE;
	}
	if (options_parse(&o, argc, argv)) {
		options_free(&o);
		return EXIT_USAGE;
	}
	log_install(o.debug);
	if (o.help) {
		options_help(stdout);
		code = EXIT_OK;
	} else if (o.version) {
		options_version(stdout);
		code = EXIT_OK;
	} else {
		code = o.check ? check(&o) : mount_and_serve(&o);
	}
	if (code >= LEAVE_AT_ONCE)
		_exit(code - LEAVE_AT_ONCE);
	options_free(&o);
	return code;
}
