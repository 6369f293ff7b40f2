/* SPDX-License-Identifier: MIT */
#include "serve/preparation.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "mount/mountpoint.h"
#include "options.h"
#include "serve/channel.h"
#include "serve/face.h"
#include "serve/pagecache.h"

/* ---- in the child ---- */

static void mount_image(const struct preparation_job *job, struct prepared *out)
{
	const struct options *o = job->options;
	struct pagecache_mount m = {o->face ? NULL : job->path, pagecache_name(o, job->source), o->readahead};

	out->rc = pagecache_mount(job->pagecache, o, &m, &out->err);
	out->readahead = m.readahead;
}

/* The kernel lowers the readahead when it makes contact, which is over when the mount responds. */
static void wait_for_session(const struct preparation_job *job, struct prepared *out)
{
	dev_t dev;

	out->rc = mountpoint_wait(job->path, &dev);
	/* Unless it was unmounted at once: the device is then that of the directory below. */
	if (out->rc == 0 && dev == job->dev)
		out->readahead = mountpoint_readahead(dev, job->options->readahead);
}

/* Asks for the files behind a face, one by one, until the server has no more. Returns 0 or -errno. */
static int open_files(const struct preparation_job *job, int files)
{
	char path[MESSAGE_TEXT];
	int number = 0;

	for (unsigned count = 0; count <= FACE_FILES_MAX; count++) {
		ssize_t n;

		channel_send(job->channel, MESSAGE_BACKED, (unsigned)number, NULL);
		n = recv(files, path, sizeof(path), 0);
		if (n <= 0 || path[n - 1])
			return -ECANCELED;
		if (!*path)
			return 0;
		number = face_back(job->pagecache->image, job->pagecache->device, path, files);
		if (number < 0)
			return number;
	}
	return -E2BIG;
}

static void prepare_face(const struct preparation_job *job, int files, struct prepared *out)
{
	struct prepared fuse = {0};

	out->rc = open_files(job, files);
	if (out->rc)
		snprintf(out->err.text, sizeof(out->err.text), "files cannot be passed through FUSE: %s",
		    strerror(-out->rc));
	/* While this process holds the session's descriptor, the kernel waits for a server that may be dead. */
	pagecache_close(job->pagecache);
	if (out->rc == 0)
		wait_for_session(job, &fuse);
}

static void prepare(const struct preparation_job *job, int pipe, int files)
{
	const struct options *o = job->options;
	struct prepared out = {0};

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (o->erofs)
		mount_image(job, &out);
	else
		wait_for_session(job, &out);
	if (o->face && out.rc == 0)
		prepare_face(job, files, &out);
	if (write(pipe, &out, sizeof(out)) != sizeof(out))
		_exit(1);
	_exit(0);
}

/* ---- in the helper ---- */

int preparation_start(struct preparation *p, const struct preparation_job *job)
{
	int ends[2] = {-1, -1}, files[2] = {-1, -1};
	int rc = job->options->face ? channel_open(files) : 0;

	if (rc == 0 && pipe2(ends, O_CLOEXEC) < 0)
		rc = -errno;
	if (rc == 0 && (p->pid = fork()) < 0)
		rc = -errno;
	if (rc)
		goto fail;
	if (p->pid == 0) {
		close(files[0]);
		prepare(job, ends[1], files[1]);
	}
	close(ends[1]);
	close(files[1]);
	p->pipe = ends[0];
	p->files = files[0];
	return 0;
fail:
	for (int i = 0; i < 2; i++) {
		close(ends[i]);
		close(files[i]);
	}
	p->pid = 0;
	return rc;
}

void preparation_add_file(const struct preparation *p, const char *path)
{
	if (p->files >= 0)
		send(p->files, path, strlen(path) + 1, MSG_DONTWAIT | MSG_NOSIGNAL);
}

void preparation_end_files(struct preparation *p)
{
	if (p->files >= 0)
		close(p->files);
	p->files = -1;
}

bool preparation_finish(struct preparation *p, struct prepared *out)
{
	const bool told = read(p->pipe, out, sizeof(*out)) == sizeof(*out);

	while (waitpid(p->pid, NULL, 0) < 0 && errno == EINTR)
		;
	if (!told)
		*out = (struct prepared){-ECANCELED, 0, {"the process that mounts it was killed"}};
	close(p->pipe);
	preparation_end_files(p);
	*p = (struct preparation)PREPARATION_NONE;
	return told;
}
