/* SPDX-License-Identifier: MIT */
#include "progress.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "size.h"

#define TICK_NS (200L * 1000 * 1000)
#define SECOND_NS 1000000000L
#define BAR_MAX 40
/* The rate is that of this much time, so that it follows a disk that becomes slow. */
#define RATE_SECONDS 5.0

struct progress {
	struct progress_task task;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	bool over, terminal;
	double marked; /* seconds */
	uint64_t marked_bytes;
	double rate;    /* bytes per second, 0 if not known yet */
	unsigned tenth; /* the last one that got a line */
	bool drawn;     /* there is a bar on the terminal */
};

double progress_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / SECOND_NS;
}

/* "1:02:03" or "2:03" */
static const char *time_text(char *text, size_t room, double seconds)
{
	const unsigned long s = seconds < 1e7 ? (unsigned long)(seconds + 0.5) : 9999999;

	if (s >= 3600)
		snprintf(text, room, "%lu:%02lu:%02lu", s / 3600, s / 60 % 60, s % 60);
	else
		snprintf(text, room, "%lu:%02lu", s / 60, s % 60);
	return text;
}

static void update_rate(struct progress *p, uint64_t done)
{
	const double now = progress_now(), span = now - p->marked;

	if (span < 0.5)
		return;
	if (span >= RATE_SECONDS || !p->rate) {
		p->rate = (double)(done - p->marked_bytes) / span;
		p->marked = now;
		p->marked_bytes = done;
	}
}

/* "1.23 GB of 4.56 GB, 26 %, 1.10 GB/s, 0:03 left" */
static void describe(const struct progress *p, uint64_t done, char *text, size_t room)
{
	const double percent = p->task.total ? 100.0 * (double)done / (double)p->task.total : 100;
	const double left = done < p->task.total ? (double)(p->task.total - done) : 0;
	char size[SIZE_TEXT_MAX], total[SIZE_TEXT_MAX], duration[32];
	int n = snprintf(text, room, "%s of %s, %d %%", size_text(size, done), size_text(total, p->task.total),
	    (int)percent);

	if (p->rate && n > 0 && (size_t)n < room)
		snprintf(text + n, room - (size_t)n, ", %s/s, %s left", size_text(size, (uint64_t)p->rate),
		    time_text(duration, sizeof(duration), left / p->rate));
}

static int columns(void)
{
	struct winsize size;

	return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col ? size.ws_col : 80;
}

static void draw_bar(struct progress *p, uint64_t done)
{
	char text[160], bar[BAR_MAX + 1];
	int width, filled;

	describe(p, done, text, sizeof(text));
	width = columns() - (int)strlen(text) - 4;
	width = width > BAR_MAX ? BAR_MAX : width;
	if (width >= 8) {
		filled = p->task.total ? (int)((double)width * (double)done / (double)p->task.total) : width;
		filled = filled > width ? width : filled;
		memset(bar, '#', (size_t)filled);
		memset(bar + filled, '.', (size_t)(width - filled));
		bar[width] = 0;
		fprintf(stderr, "\r[%s] %s\033[K", bar, text);
	} else {
		fprintf(stderr, "\r%.*s\033[K", columns() - 1, text);
	}
	fflush(stderr);
	p->drawn = true;
}

static void show(struct progress *p)
{
	uint64_t done = p->task.done(p->task.ctx);
	unsigned tenth;
	char text[160];

	done = done > p->task.total ? p->task.total : done;
	update_rate(p, done);
	if (p->terminal) {
		draw_bar(p, done);
		return;
	}
	tenth = p->task.total ? (unsigned)((double)done / (double)p->task.total * 10) : 10;
	if (tenth <= p->tenth)
		return;
	p->tenth = tenth;
	describe(p, done, text, sizeof(text));
	fprintf(stderr, "gptqfs: %s %s\n", p->task.doing, text);
}

/* Waits for the next tick. Returns false if the task is over. */
static bool tick(struct progress *p)
{
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_nsec += TICK_NS;
	if (until.tv_nsec >= SECOND_NS) {
		until.tv_nsec -= SECOND_NS;
		until.tv_sec++;
	}
	while (!p->over && pthread_cond_timedwait(&p->wake, &p->lock, &until) == 0)
		;
	return !p->over;
}

static void *show_all(void *arg)
{
	struct progress *p = arg;

	pthread_mutex_lock(&p->lock);
	while (tick(p))
		show(p);
	pthread_mutex_unlock(&p->lock);
	return NULL;
}

/* Signals are for the threads that work. */
static int start_thread(struct progress *p)
{
	sigset_t all, old;
	int rc;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	rc = pthread_create(&p->thread, NULL, show_all, p);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return rc;
}

struct progress *progress_start(const struct progress_task *task, bool quiet)
{
	struct progress *p = quiet ? NULL : calloc(1, sizeof(*p));
	pthread_condattr_t monotonic;

	if (!p)
		return NULL;
	p->task = *task;
	p->terminal = isatty(STDERR_FILENO);
	p->marked = progress_now();
	pthread_mutex_init(&p->lock, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&p->wake, &monotonic);
	pthread_condattr_destroy(&monotonic);
	if (start_thread(p) == 0)
		return p;
	pthread_cond_destroy(&p->wake);
	pthread_mutex_destroy(&p->lock);
	free(p);
	return NULL;
}

void progress_stop(struct progress *p)
{
	if (!p)
		return;
	pthread_mutex_lock(&p->lock);
	p->over = true;
	pthread_cond_signal(&p->wake);
	pthread_mutex_unlock(&p->lock);
	pthread_join(p->thread, NULL);
	if (p->drawn || p->tenth)
		show(p);
	if (p->drawn)
		fputs("\n", stderr);
	pthread_cond_destroy(&p->wake);
	pthread_mutex_destroy(&p->lock);
	free(p);
}
