/* SPDX-License-Identifier: MIT */

/*
 * File handles as used by the kernel's NFS server (root only).
 *
 *     handles save PATH              prints the handle of a file or directory
 *     handles open MOUNTPOINT        reads one from stdin and opens it: writes the bytes of a file to stdout, or the
 *                                    path of a directory
 */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct handle {
	struct file_handle head;
	unsigned char bytes[MAX_HANDLE_SZ];
};

static int fail(const char *what)
{
	fprintf(stderr, "%s: %s\n", what, strerror(errno));
	return errno == ESTALE ? 3 : 1;
}

static int save(const char *path)
{
	struct handle h = {.head.handle_bytes = MAX_HANDLE_SZ};
	int mount_id;

	if (name_to_handle_at(AT_FDCWD, path, &h.head, &mount_id, 0))
		return fail(path);
	printf("%d", h.head.handle_type);
	for (unsigned i = 0; i < h.head.handle_bytes; i++)
		printf(" %02x", h.bytes[i]);
	putchar('\n');
	return 0;
}

static int show_directory(int fd)
{
	char link[64], path[4096];
	ssize_t len;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	len = readlink(link, path, sizeof(path));
	if (len < 0)
		return fail(link);
	printf("%.*s\n", (int)len, path);
	return 0;
}

static int copy_out(int fd)
{
	static char piece[1 << 16];
	ssize_t len;

	while ((len = read(fd, piece, sizeof(piece))) > 0)
		fwrite(piece, 1, (size_t)len, stdout);
	return len < 0 ? fail("read") : 0;
}

static int open_handle(const char *mountpoint)
{
	struct handle h = {0};
	int mount = open(mountpoint, O_RDONLY | O_DIRECTORY), fd;
	unsigned byte;
	struct stat st;

	if (mount < 0 || scanf("%d", &h.head.handle_type) != 1)
		return fail(mountpoint);
	while (h.head.handle_bytes < MAX_HANDLE_SZ && scanf("%x", &byte) == 1)
		h.bytes[h.head.handle_bytes++] = (unsigned char)byte;
	fd = open_by_handle_at(mount, &h.head, O_RDONLY);
	if (fd < 0 || fstat(fd, &st) < 0)
		return fail("open_by_handle_at");
	return S_ISDIR(st.st_mode) ? show_directory(fd) : copy_out(fd);
}

int main(int argc, char **argv)
{
	if (argc == 3 && strcmp(argv[1], "save") == 0)
		return save(argv[2]);
	if (argc == 3 && strcmp(argv[1], "open") == 0)
		return open_handle(argv[2]);
	fprintf(stderr, "usage: handles save PATH | open MOUNTPOINT\n");
	return 1;
}
