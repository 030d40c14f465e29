// test: not a victim: runs a program under a system call filter, "sandbox KIND PROGRAM ARGS...".
// container: what container runtimes do: clone3 does not exist, namespaces can't be made, mounts neither.
// deadly: the same, and whoever asks for the address of the thread's id is killed.
#define _GNU_SOURCE
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define NR BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr))
#define ARG0 BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[0]))
#define ARCH BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch))
#define UNLESS(value, skip) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, 0, skip)
#define RESULT(value) BPF_STMT(BPF_RET | BPF_K, value)
#define FORBID(nr, errno) UNLESS(nr, 1), RESULT(SECCOMP_RET_ERRNO | (errno))

enum { X86_64 = 0xc000003e, GET_TID_ADDRESS = 40 };

int main(int argc, char **argv)
{
	if (argc < 3)
		return 2;
	uint32_t verdict = strcmp(argv[1], "deadly") == 0 ? SECCOMP_RET_KILL_PROCESS : SECCOMP_RET_ALLOW;
	struct sock_filter code[] = {
		ARCH, BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, X86_64, 1, 0), RESULT(SECCOMP_RET_ALLOW),
		NR,
		FORBID(SYS_clone3, ENOSYS), FORBID(SYS_mount, EPERM), FORBID(SYS_unshare, EPERM), FORBID(SYS_setns, EPERM),
		FORBID(SYS_userfaultfd, EPERM), FORBID(SYS_io_uring_setup, EPERM), FORBID(SYS_perf_event_open, EPERM),
		UNLESS(SYS_clone, 3),
		ARG0, BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNS, 0, 1), RESULT(SECCOMP_RET_ERRNO | EPERM),
		NR,
		UNLESS(SYS_prctl, 3),
		ARG0, UNLESS(GET_TID_ADDRESS, 1), RESULT(verdict),
		RESULT(SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {sizeof code / sizeof *code, code};
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program)) {
		perror("seccomp");
		return 77;
	}
	execvp(argv[2], argv + 2);
	perror(argv[2]);
	return 127;
}
