/* SPDX-License-Identifier: MIT */
#include "serve/channel.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define HEAD offsetof(struct message, text)

int channel_open(int ends[2])
{
	return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0 ? -errno : 0;
}

static int send_message(int channel, struct message *m, size_t len, int flags)
{
	while (send(channel, m, HEAD + len, MSG_NOSIGNAL | flags) < 0)
		if (errno != EINTR)
			return -errno;
	return 0;
}

int channel_send(int channel, enum message_kind kind, unsigned number, const char *text)
{
	struct message m = {.kind = kind, .number = number};
	const size_t len = text ? strlen(text) : 0;

	if (len >= sizeof(m.text))
		return -E2BIG;
	memcpy(m.text, text ? text : "", len);
	return send_message(channel, &m, len, 0);
}

void channel_log(int channel, const char *line)
{
	struct message m = {.kind = MESSAGE_LINE};
	const size_t len = strnlen(line, sizeof(m.text) - 1);

	memcpy(m.text, line, len);
	send_message(channel, &m, len, MSG_DONTWAIT);
}

/* Room for one descriptor, aligned as a header must be. */
union control {
	char bytes[CMSG_SPACE(sizeof(int))];
	struct cmsghdr align;
};

int channel_send_descriptor(int channel, int fd)
{
	struct message m = {.kind = MESSAGE_MOUNTED};
	struct iovec iov = {&m, HEAD};
	union control control = {{0}};
	struct msghdr head = {
	    .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof(control.bytes)};
	struct cmsghdr *c = CMSG_FIRSTHDR(&head);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(fd));
	memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	while (sendmsg(channel, &head, MSG_NOSIGNAL) < 0)
		if (errno != EINTR)
			return -errno;
	return 0;
}

/* Without fd there is no room for a descriptor, so the kernel does not install one. */
int channel_receive(int channel, struct message *m, int *fd)
{
	struct iovec iov = {m, HEAD + sizeof(m->text) - 1};
	union control control;
	struct msghdr head = {.msg_iov = &iov,
	    .msg_iovlen = 1,
	    .msg_control = fd ? control.bytes : NULL,
	    .msg_controllen = fd ? sizeof(control.bytes) : 0};
	const struct cmsghdr *c;
	ssize_t n;

	do
		n = recvmsg(channel, &head, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (fd)
		*fd = -1;
	if (n <= 0)
		return n < 0 && errno != ECONNRESET ? -errno : 0;
	c = fd ? CMSG_FIRSTHDR(&head) : NULL;
	if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS && c->cmsg_len == CMSG_LEN(sizeof(*fd)))
		memcpy(fd, CMSG_DATA(c), sizeof(*fd));
	if ((size_t)n < HEAD)
		return -EPROTO;
	((char *)m)[n] = 0;
	return 1;
}
