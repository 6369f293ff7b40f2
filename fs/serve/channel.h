/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_CHANNEL_H
#define GPTQFS_CHANNEL_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * Messages between the server, which reads the model, and its helper, which mounts it. The helper trusts nothing about
 * a message but its length: a model that takes over the server can send anything.
 */

enum message_kind {
	/* From the server, in this order. */
	MESSAGE_OPENED,   /* the model can be served; text is its path */
	MESSAGE_CONTACT,  /* the kernel has made contact: the mount responds */
	MESSAGE_DETACHED, /* the server no longer holds anything of its caller */
	MESSAGE_REFUSED,  /* instead of these: there is no image of the model; text is why */
	MESSAGE_FILE,     /* text is the path of a file to open by EROFS; "" after the last: see face.h */
	MESSAGE_OVER,     /* the session has ended by itself, and the mount with it */
	/* From the server, at any time. */
	MESSAGE_EXIT, /* a signal told the server to exit */
	MESSAGE_LINE, /* text is for the log */
	/* From the helper. */
	MESSAGE_MOUNTED, /* with the descriptor of the session; with a face, the image's is sent first */
	MESSAGE_BACKED,  /* name the next file; number is the kernel's for the last one */
	MESSAGE_USABLE,  /* number is the readahead of the mount in KiB */
};

#define MESSAGE_TEXT 4096

struct message {
	enum message_kind kind;
	unsigned number;
	char text[MESSAGE_TEXT];
};

/* Makes a connected pair, of which each process keeps one end. Returns 0 or -errno. */
int channel_open(int ends[2]);

/* Sends a message, with `text` unless that is NULL. Any thread. Returns 0 or -errno; -E2BIG if the text is too long. */
int channel_send(int channel, enum message_kind kind, unsigned number, const char *text);

/* Sends a line for the log, or drops it if the helper does not keep up or is gone. Any thread. */
void channel_log(int channel, const char *line);

/* Sends MESSAGE_MOUNTED. Returns 0 or -errno. */
int channel_send_descriptor(int channel, int fd);

/*
 * Receives a message, and in *fd a descriptor or -1; fd may be NULL. Returns 1, 0 if the other process has ended, or
 * -errno.
 */
int channel_receive(int channel, struct message *m, int *fd);

#endif
