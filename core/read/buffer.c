/* SPDX-License-Identifier: MIT */
#include "read/buffer.h"

#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>

struct buffers {
	pthread_mutex_t lock;
	struct buffer *free;
};

struct buffers *buffers_new(void)
{
	struct buffers *b = calloc(1, sizeof(*b));

	if (b)
		pthread_mutex_init(&b->lock, NULL);
	return b;
}

static struct buffer *create(void)
{
	struct buffer *buffer = calloc(1, sizeof(*buffer));
	unsigned char *whole;
	size_t before;

	if (!buffer)
		return NULL;
	/* Aligned to its size, so that it can be one huge page, which the kernel copies from faster. */
	whole = mmap(NULL, 2 * BUFFER_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (whole == MAP_FAILED) {
		free(buffer);
		return NULL;
	}
	before = -(uintptr_t)whole & (BUFFER_BYTES - 1);
	if (before)
		munmap(whole, before);
	munmap(whole + before + BUFFER_BYTES, BUFFER_BYTES - before);
	buffer->data = whole + before;
	madvise(buffer->data, BUFFER_BYTES, MADV_HUGEPAGE);
	return buffer;
}

static void destroy(struct buffer *buffer)
{
	munmap(buffer->data, BUFFER_BYTES);
	free(buffer);
}

struct buffer *buffer_get(struct buffers *b)
{
	struct buffer *buffer;

	pthread_mutex_lock(&b->lock);
	buffer = b->free;
	if (buffer)
		b->free = buffer->next;
	pthread_mutex_unlock(&b->lock);
	if (!buffer)
		buffer = create();
	if (buffer)
		buffer->age = 0;
	return buffer;
}

void buffer_put(struct buffers *b, struct buffer *buffer)
{
	pthread_mutex_lock(&b->lock);
	buffer->next = b->free;
	b->free = buffer;
	pthread_mutex_unlock(&b->lock);
}

bool buffers_trim(struct buffers *b)
{
	struct buffer **at, *gone = NULL, *next;
	bool left;

	pthread_mutex_lock(&b->lock);
	for (at = &b->free; *at;) {
		struct buffer *buffer = *at;

		if (buffer->age++ == 0) {
			at = &buffer->next;
			continue;
		}
		*at = buffer->next;
		buffer->next = gone;
		gone = buffer;
	}
	left = b->free != NULL;
	pthread_mutex_unlock(&b->lock);
	for (; gone; gone = next) {
		next = gone->next;
		destroy(gone);
	}
	return left;
}

void buffers_free(struct buffers *b)
{
	struct buffer *next;

	if (!b)
		return;
	for (; b->free; b->free = next) {
		next = b->free->next;
		destroy(b->free);
	}
	pthread_mutex_destroy(&b->lock);
	free(b);
}
