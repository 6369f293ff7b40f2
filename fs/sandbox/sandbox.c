/* SPDX-License-Identifier: MIT */
#include "sandbox/sandbox.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <linux/capability.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sandbox/landlock.h"
#include "log.h"
#include "sandbox/syscalls.h"

/* Sanitizers need calls and files of their own. */
#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED true
#endif
#elif defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED true
#endif
#ifndef SANITIZED
#define SANITIZED false
#endif

/* ---- files ---- */

/*
 * A model or an adapter. In the Hugging Face cache, the files of snapshots/REVISION are links to ../../blobs, which is
 * allowed if it is a real directory.
 */
static int allow_model(const struct landlock *l, const char *path)
{
	char *real = realpath(path, NULL), *slash = real ? strrchr(real, '/') : NULL, *blobs = NULL;
	static const char snapshots[] = "/snapshots";
	struct stat st;
	int rc;

	rc = landlock_allow(l, path, LANDLOCK_READ);
	if (slash)
		*slash = 0;
	if (rc == 0 && slash && slash - real >= (ptrdiff_t)strlen(snapshots) &&
	    strcmp(slash - strlen(snapshots), snapshots) == 0) {
		slash[-(ptrdiff_t)strlen(snapshots)] = 0;
		if (asprintf(&blobs, "%s/blobs", real) < 0)
			rc = -ENOMEM;
		else if (lstat(blobs, &st) == 0 && S_ISDIR(st.st_mode))
			rc = landlock_allow(l, blobs, LANDLOCK_READ);
	}
	free(real);
	free(blobs);
	return rc;
}

/* "DIR" or "DIR:SCALE". */
static int allow_adapter(const struct landlock *l, const char *given)
{
	char path[PATH_MAX];
	const char *colon = strrchr(given, ':');
	int rc = allow_model(l, given);

	if (rc || !colon || (size_t)(colon - given) >= sizeof(path))
		return rc;
	memcpy(path, given, (size_t)(colon - given));
	path[colon - given] = 0;
	return allow_model(l, path);
}

/* Those of a directory may be links to others. */
static int allow_adapters(const struct landlock *l, const char *path)
{
	DIR *dir = opendir(path);
	const struct dirent *entry;
	char child[PATH_MAX];
	int rc = landlock_allow(l, path, LANDLOCK_READ);

	while (dir && rc == 0 && (entry = readdir(dir)))
		if (entry->d_type == DT_LNK &&
		    (size_t)snprintf(child, sizeof(child), "%s/%s", path, entry->d_name) < sizeof(child))
			rc = allow_model(l, child);
	if (dir)
		closedir(dir);
	return rc;
}

static int allow_inputs(const struct landlock *l, const struct options *o)
{
	int rc = o->follow_symlinks ? landlock_allow(l, "/", LANDLOCK_READ) : allow_model(l, o->source);

	if (rc == 0 && o->against)
		rc = allow_model(l, o->against);
	for (size_t i = 0; rc == 0 && i < o->model.lora_count; i++)
		rc = allow_adapter(l, o->model.lora[i]);
	if (rc == 0 && o->loras)
		rc = allow_adapters(l, o->loras);
	if (rc == 0 && o->model.gguf_kv)
		rc = landlock_allow(l, o->model.gguf_kv, LANDLOCK_READ);
	return rc;
}

/* Where an export goes. One that is given up removes the directory that was made for it. */
static int allow_export(const struct landlock *l, const struct options *o)
{
	int rc = landlock_allow(l, o->export_dir, LANDLOCK_WRITE);
	char *parent;

	if (rc || !o->is_export_new)
		return rc;
	if (asprintf(&parent, "%s/..", o->export_dir) < 0)
		return -ENOMEM;
	rc = landlock_allow(l, parent, LANDLOCK_REMOVE);
	free(parent);
	return rc;
}

/* A driver needs libraries, devices and files that only it knows. */
static bool has_driver(const struct options *o)
{
	return o->accel && strcmp(o->accel, "none") != 0;
}

static int confine_files(struct sandbox *s, const struct options *o)
{
	struct landlock l;
	int rc = landlock_start(&l, has_driver(o));

	if (rc)
		return rc;
	rc = landlock_allow(&l, "/dev/null", LANDLOCK_DEVICE);
	if (rc == 0 && has_driver(o))
		rc = landlock_allow(&l, "/dev", LANDLOCK_DEVICE);
	if (rc == 0 && o->clone_fd)
		rc = landlock_allow(&l, "/dev/fuse", LANDLOCK_DEVICE);
	if (rc == 0)
		rc = allow_inputs(&l, o);
	if (rc == 0 && o->writes_files)
		rc = allow_export(&l, o);
	if (rc) {
		close(l.rules);
		return rc;
	}
	rc = landlock_finish(&l);
	s->landlock = rc ? 0 : l.abi;
	return rc;
}

/* ---- capabilities ---- */

/* Keeps only those of the mask that the process has. */
static int keep_capabilities(uint64_t mask)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2];

	if (syscall(SYS_capget, &head, data) < 0)
		return -errno;
	for (int i = 0; i < 2; i++) {
		data[i].permitted &= (uint32_t)(mask >> (32 * i));
		data[i].effective &= data[i].permitted;
		data[i].inheritable = 0;
	}
	return syscall(SYS_capset, &head, data) < 0 ? -errno : 0;
}

/* ---- both ---- */

static bool is_wanted(const struct options *o)
{
	return !o->sandbox || strcmp(o->sandbox, "no") != 0;
}

static bool is_required(const struct options *o)
{
	return o->sandbox && strcmp(o->sandbox, "yes") == 0;
}

static const char *describe(int rc)
{
	return rc == -ENOSYS ? "not in this kernel" : rc == -EOPNOTSUPP ? "disabled in this kernel" : strerror(-rc);
}

static void write_text(struct sandbox *s, int landlock_rc, int seccomp_rc, const char *without)
{
	char *at = s->text;
	size_t room = sizeof(s->text);
	int n;

	if (s->landlock)
		n = snprintf(at, room, "landlock %d%s", s->landlock, s->seccomp ? ", seccomp" : "");
	else
		n = snprintf(at, room, "%s", s->seccomp ? "seccomp" : "none");
	at += n;
	room -= (size_t)n;
	if (without && !s->seccomp)
		snprintf(at, room, " (%s)", without);
	else if (landlock_rc && seccomp_rc)
		snprintf(at, room, " (landlock: %s; seccomp: %s)", describe(landlock_rc), describe(seccomp_rc));
	else if (landlock_rc || seccomp_rc)
		snprintf(at, room, " (no %s: %s)", landlock_rc ? "landlock" : "seccomp",
		    describe(landlock_rc ? landlock_rc : seccomp_rc));
}

static const char *without_seccomp(const struct options *o)
{
	return has_driver(o) ? "accel needs more than seccomp allows" : o->clone_fd ? "clone_fd opens devices" : NULL;
}

/* glibc asks files of /sys for the number of CPUs as soon as several threads allocate, unless it has been told. */
static void limit_arenas(void)
{
#ifdef M_ARENA_MAX
	const char *given = getenv("GLIBC_TUNABLES");

	if (!getenv("MALLOC_ARENA_MAX") && !(given && strstr(given, "arena_max")))
		mallopt(M_ARENA_MAX, 8 * (int)sysconf(_SC_NPROCESSORS_ONLN));
#endif
}

int sandbox_enter(struct sandbox *s, const struct options *o)
{
	/*
	 * To read files of other users, for which a container may have only the first, and to learn by leases whether
	 * they are being written; for pipes of full size however many mounts there are.
	 */
	const uint64_t reading =
	    1ull << CAP_DAC_OVERRIDE | 1ull << CAP_DAC_READ_SEARCH | 1ull << CAP_LEASE | 1ull << CAP_SYS_RESOURCE;
	const uint64_t kept = reading | (o->writes_files ? 1ull << CAP_FOWNER : 0);
	const enum syscalls calls = o->writes_files ? SYSCALLS_TO_EXPORT : SYSCALLS_TO_OPEN;
	const char *without = without_seccomp(o);
	int landlock_rc, seccomp_rc = 0;

	*s = (struct sandbox){.text = "none (sandbox=no)"};
	if (!is_wanted(o))
		return 0;
	if (SANITIZED && !is_required(o)) {
		snprintf(s->text, sizeof(s->text), "none (built with sanitizers)");
		return 0;
	}
	limit_arenas();
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) {
		landlock_rc = seccomp_rc = -errno;
	} else {
		landlock_rc = confine_files(s, o);
		if (!has_driver(o))
			keep_capabilities(kept);
		if (!without)
			seccomp_rc = syscalls_restrict(calls);
		s->seccomp = !without && seccomp_rc == 0;
	}
	write_text(s, landlock_rc, seccomp_rc, without);
	if (!is_required(o) || (!landlock_rc && !seccomp_rc))
		return 0;
	log_line("sandbox=yes: the kernel, or a container, does not allow all of it: %s", s->text);
	return -1;
}

int sandbox_narrow(struct sandbox *s, const struct options *o)
{
	int rc;

	if (is_wanted(o) && !has_driver(o) && (s->landlock || s->seccomp))
		keep_capabilities(s->seccomp ? 1ull << CAP_SYS_RESOURCE : 0);
	rc = s->seccomp ? syscalls_restrict(SYSCALLS_TO_SERVE) : 0;
	if (rc && is_required(o))
		log_line("sandbox=yes: %s", strerror(-rc));
	return rc && is_required(o) ? -1 : 0;
}
