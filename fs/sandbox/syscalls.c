/* SPDX-License-Identifier: MIT */
#include "sandbox/syscalls.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__x86_64__)
#define ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCH AUDIT_ARCH_AARCH64
#else
#define ARCH 0
#endif

#ifndef SYS_cachestat
#define SYS_cachestat 451
#endif

/* clang-format off */

/* No call here opens, creates or changes a file, starts a program or makes a socket. */
static const int to_serve[] = {
    /* The session: requests and replies. */
    SYS_read, SYS_readv, SYS_write, SYS_writev, SYS_splice, SYS_vmsplice, SYS_tee, SYS_pipe2, SYS_ppoll,
    /* Source files, which are open; their names in /proc/self/fd tell a rename from a change of the contents. */
    SYS_readlinkat, SYS_pread64, SYS_preadv, SYS_lseek, SYS_fstat, SYS_newfstatat, SYS_statx, SYS_fadvise64, SYS_readahead,
    SYS_cachestat, SYS_mincore, SYS_close, SYS_fcntl, SYS_dup, SYS_dup3,
    /* Memory; mmap and mprotect are below. */
    SYS_brk, SYS_munmap, SYS_mremap, SYS_madvise,
    /* Threads; clone is below. */
    SYS_futex, SYS_set_robust_list, SYS_rseq, SYS_gettid, SYS_getpid, SYS_getppid, SYS_tgkill, SYS_tkill,
    SYS_sched_yield, SYS_sched_getaffinity, SYS_getcpu, SYS_membarrier, SYS_exit, SYS_exit_group,
    SYS_restart_syscall,
    /* Signals, time. */
    SYS_rt_sigaction, SYS_rt_sigprocmask, SYS_rt_sigpending, SYS_rt_sigreturn, SYS_sigaltstack, SYS_clock_gettime,
    SYS_clock_nanosleep, SYS_nanosleep, SYS_gettimeofday, SYS_getrandom, SYS_sysinfo,
    /* The helper, and leaving the caller's directory. */
    SYS_sendto, SYS_sendmsg, SYS_recvmsg, SYS_chdir,
    /* How things were before they had a second number. */
#ifdef SYS_poll
    SYS_poll, SYS_pipe, SYS_dup2, SYS_stat, SYS_lstat, SYS_readlink, SYS_time,
#endif
};

static const int to_open[] = {
    SYS_openat, SYS_openat2, SYS_getdents64, SYS_faccessat, SYS_faccessat2, SYS_statfs,
    SYS_fstatfs, SYS_getxattr, SYS_lgetxattr, SYS_fgetxattr, SYS_getcwd, SYS_getuid, SYS_geteuid, SYS_getgid,
    SYS_getegid, SYS_getgroups, SYS_signalfd4, SYS_prlimit64, SYS_uname,
    /* To go from this list to the other. */
    SYS_seccomp, SYS_capget, SYS_capset,
#ifdef SYS_open
    SYS_open, SYS_access,
#endif
};

/* Where they may write is up to landlock. */
static const int to_export[] = {
    SYS_mkdirat, SYS_unlinkat, SYS_renameat, SYS_ftruncate, SYS_pwrite64, SYS_pwritev, SYS_fsync, SYS_syncfs,
    SYS_sync_file_range, SYS_fchmod, SYS_flock, SYS_eventfd2,
#ifdef SYS_mkdir
    SYS_mkdir, SYS_rmdir,
#endif
};

/* clang-format on */

#define COUNT(list) (sizeof(list) / sizeof(*(list)))
#define INSTRUCTIONS (2 * (COUNT(to_serve) + COUNT(to_open) + COUNT(to_export)) + 32)

struct filter {
	struct sock_filter code[INSTRUCTIONS];
	unsigned short len;
};

static void add(struct filter *f, uint16_t code, uint32_t k, uint8_t yes, uint8_t no)
{
	f->code[f->len++] = (struct sock_filter){code, yes, no, k};
}

static void load(struct filter *f, size_t offset)
{
	add(f, BPF_LD | BPF_W | BPF_ABS, (uint32_t)offset, 0, 0);
}

static void answer(struct filter *f, uint32_t action)
{
	add(f, BPF_RET | BPF_K, action, 0, 0);
}

static void allow(struct filter *f, const int *calls, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		add(f, BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)calls[i], 0, 1);
		answer(f, SECCOMP_RET_ALLOW);
	}
}

/* Allows a call if the bit of an argument is as wanted, and refuses it otherwise. */
static void allow_if(struct filter *f, int call, size_t argument, uint32_t bit, bool wanted)
{
	/* The lower half: both machines are little-endian. */
	add(f, BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)call, 0, 4);
	load(f, offsetof(struct seccomp_data, args) + argument * sizeof(uint64_t));
	add(f, BPF_JMP | BPF_JSET | BPF_K, bit, wanted ? 0 : 1, wanted ? 1 : 0);
	answer(f, SECCOMP_RET_ALLOW);
	answer(f, SECCOMP_RET_ERRNO | EPERM);
}

/* Questions to a terminal, for the progress of what needs no mount. */
static void allow_terminal(struct filter *f)
{
	add(f, BPF_JMP | BPF_JEQ | BPF_K, SYS_ioctl, 0, 5);
	load(f, offsetof(struct seccomp_data, args) + sizeof(uint64_t));
	add(f, BPF_JMP | BPF_JEQ | BPF_K, TCGETS, 1, 0);
	add(f, BPF_JMP | BPF_JEQ | BPF_K, TIOCGWINSZ, 0, 1);
	answer(f, SECCOMP_RET_ALLOW);
	answer(f, SECCOMP_RET_ERRNO | ENOTTY);
}

int syscalls_restrict(enum syscalls which)
{
	struct filter f = {.len = 0};
	struct sock_fprog program;

	if (!ARCH)
		return -ENOTSUP;
	load(&f, offsetof(struct seccomp_data, arch));
	add(&f, BPF_JMP | BPF_JEQ | BPF_K, ARCH, 1, 0);
	answer(&f, SECCOMP_RET_KILL_PROCESS);
	/* Numbers of x32 begin at 1 << 30, so no entry equals them. */
	load(&f, offsetof(struct seccomp_data, nr));
	allow(&f, to_serve, COUNT(to_serve));
	if (which != SYSCALLS_TO_SERVE) {
		allow(&f, to_open, COUNT(to_open));
		allow_terminal(&f);
	}
	if (which == SYSCALLS_TO_EXPORT)
		allow(&f, to_export, COUNT(to_export));
	allow_if(&f, SYS_mmap, 2, PROT_EXEC, false);
	allow_if(&f, SYS_mprotect, 2, PROT_EXEC, false);
	allow_if(&f, SYS_clone, 0, CLONE_THREAD, true);
	/* Its flags are in memory, out of reach: the C library then uses clone. */
	add(&f, BPF_JMP | BPF_JEQ | BPF_K, SYS_clone3, 0, 1);
	answer(&f, SECCOMP_RET_ERRNO | ENOSYS);
	answer(&f, SECCOMP_RET_ERRNO | ENOSYS); /* last: a test changes it */
	program = (struct sock_fprog){f.len, f.code};
	return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) < 0 ? -errno : 0;
}
