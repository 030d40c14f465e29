// A program that checks itself all the time: sums, registers and flags, masks,
// alternate stacks, sleeps that nothing may cut short. It ends at the end of
// its input: status 0 and "PASS", or at the first fault: status 3.
// With an argument it also gets SIGALRM every few hundred microseconds.
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static volatile int stop;
static pthread_barrier_t set_up;
static volatile long alarms, loops, interrupted;

static void fail(const char *what, long a, long b)
{
	fprintf(stderr, "FAIL %s %ld %ld errno %d\n", what, a, b, errno);
	_exit(3);
}

static void block(int sig)
{
	sigset_t s;
	sigemptyset(&s);
	sigaddset(&s, sig);
	pthread_sigmask(SIG_BLOCK, &s, 0);
}

static void check_mask(const sigset_t *want)
{
	sigset_t now;
	pthread_sigmask(SIG_SETMASK, 0, &now);
	for (int i = 1; i < 65; i++)
		if (sigismember(&now, i) != sigismember(want, i))
			fail("mask", i, sigismember(&now, i));
}

static double sum(unsigned long *x)
{
	double s = 0;
	for (int i = 0; i < 20000; i++) {
		*x ^= *x << 13;
		*x ^= *x >> 7;
		*x ^= *x << 5;
		s += (double)(*x & 0xffff) * 0.37;
	}
	return s;
}

static void *summer(void *arg)
{
	(void)arg;
	char alt[32768];
	stack_t ss = {.ss_sp = alt, .ss_size = sizeof alt}, now;
	sigset_t mask;
	if (sigaltstack(&ss, 0))
		fail("sigaltstack", 0, 0);
	block(SIGUSR2);
	pthread_sigmask(SIG_SETMASK, 0, &mask);
	unsigned long x = 88172645u, rx;
	pthread_barrier_wait(&set_up);
	double want = sum(&x);
	rx = x;
	while (!stop) {
		x = 88172645u;
		double s = sum(&x);
		if (s != want || x != rx)
			fail("sum", (long)x, (long)rx);
		check_mask(&mask);
		sigaltstack(0, &now);
		if (now.ss_sp != alt || now.ss_size != sizeof alt || now.ss_flags)
			fail("alternate stack", now.ss_flags, (long)now.ss_size);
		loops++;
	}
	ss.ss_flags = SS_DISABLE;
	sigaltstack(&ss, 0);
	return 0;
}

static long since(const struct timespec *t)
{
	struct timespec n;
	clock_gettime(CLOCK_MONOTONIC, &n);
	return (n.tv_sec - t->tv_sec) * 1000000 + (n.tv_nsec - t->tv_nsec) / 1000;
}

static void *sleeper(void *arg)
{
	long kind = (long)arg;
	sigset_t mask;
	int p[2], ep = epoll_create1(0);
	block(SIGALRM);
	pthread_sigmask(SIG_SETMASK, 0, &mask);
	if (pipe(p) || ep < 0)
		fail("pipe", 0, 0);
	pthread_barrier_wait(&set_up);
	while (!stop) {
		struct timespec began, t = {0, 20000000};
		struct timeval tv = {0, 20000};
		struct pollfd pf = {p[0], POLLIN, 0};
		struct epoll_event ev;
		fd_set set;
		int r = 0;
		FD_ZERO(&set);
		FD_SET(p[0], &set);
		clock_gettime(CLOCK_MONOTONIC, &began);
		switch (kind) {
		case 0: r = nanosleep(&t, 0); break;
		case 1: r = poll(&pf, 1, 20); break;
		case 2: r = epoll_wait(ep, &ev, 1, 20); break;
		case 3: r = ppoll(&pf, 1, &t, 0); break;
		case 4: r = select(p[0] + 1, &set, 0, 0, &tv); break;
		}
		if (kind == 2 && r < 0 && errno == EINTR) {
			interrupted++; // any stop may do that to epoll_wait: signal(7)
			continue;
		}
		if (r)
			fail("sleep", kind, r);
		if (since(&began) < 19000)
			fail("short sleep", kind, since(&began));
		check_mask(&mask);
	}
	return 0;
}

#ifdef __x86_64__
// bottom runs with the stack pointer at the very bottom of a mapping, with known
// values in registers and flags: whoever writes below the stack pointer faults.
static void *bottom(void *arg)
{
	(void)arg;
	sigset_t all;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, 0);
	char *m = mmap(0, 8192, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	mprotect(m + 4096, 4096, PROT_READ | PROT_WRITE);
	pthread_barrier_wait(&set_up);
	while (!stop) {
		long bad;
		asm volatile(
			"mov %%rsp, %%r15\n mov %1, %%rsp\n mov %1, %%r14\n"
			"mov $0x1111, %%r8\n mov $0x2222, %%r9\n mov $0x3333, %%r10\n mov $0x4444, %%r11\n mov $0x5555, %%r12\n"
			"mov $0x6666, %%rsi\n mov $0x7777, %%rdi\n mov $0x8888, %%rdx\n mov $0x9999, %%rbx\n mov $300000, %%rcx\n mov $0xaaaa, %%r13\n"
			"xor %%eax, %%eax\n"
			"stc\n"
			"1: jnc 2f\n lea -1(%%rcx), %%rcx\n jrcxz 3f\n jmp 1b\n"
			"2: inc %%rax\n stc\n jmp 1b\n"
			"3: mov %%rax, %%rcx\n mov $1, %%eax\n"
			"cmp %%r14, %%rsp\n jne 4f\n inc %%eax\n test %%rcx, %%rcx\n jne 4f\n inc %%eax\n"
			"cmp $0x1111, %%r8\n jne 4f\n cmp $0x2222, %%r9\n jne 4f\n cmp $0x3333, %%r10\n jne 4f\n"
			"cmp $0x4444, %%r11\n jne 4f\n cmp $0x5555, %%r12\n jne 4f\n cmp $0x6666, %%rsi\n jne 4f\n"
			"cmp $0x7777, %%rdi\n jne 4f\n cmp $0x8888, %%rdx\n jne 4f\n cmp $0x9999, %%rbx\n jne 4f\n cmp $0xaaaa, %%r13\n jne 4f\n"
			"xor %%eax, %%eax\n"
			"4: mov %%r15, %%rsp\n"
			: "=&a"(bad) : "r"(m + 4096)
			: "rbx", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "cc", "memory");
		if (bad)
			fail("registers", bad, 0);
		for (int i = 0; i < 4096; i++)
			if (m[4096 + i])
				fail("stack written", i, m[4096 + i]);
	}
	return 0;
}
#endif

static void on_alarm(int sig) { (void)sig; alarms++; }

int main(int argc, char **argv)
{
	(void)argv;
	pthread_t t[16];
	int n = 0;
	setvbuf(stdout, 0, _IONBF, 0);
#ifdef __x86_64__
	pthread_barrier_init(&set_up, 0, 9);
#else
	pthread_barrier_init(&set_up, 0, 8);
#endif
	for (int i = 0; i < 2; i++)
		pthread_create(&t[n++], 0, summer, 0);
	for (long i = 0; i < 5; i++)
		pthread_create(&t[n++], 0, sleeper, (void *)i);
#ifdef __x86_64__
	pthread_create(&t[n++], 0, bottom, 0);
#endif
	pthread_barrier_wait(&set_up);
	if (argc > 1) {
		struct itimerval it = {{0, 300}, {0, 300}};
		struct sigaction sa = {.sa_handler = on_alarm, .sa_flags = SA_RESTART};
		sigaction(SIGALRM, &sa, 0);
		setitimer(ITIMER_REAL, &it, 0);
	}
	printf("ready\n");
	char c;
	ssize_t got;
	while ((got = read(0, &c, 1)) > 0)
		;
	if (got < 0)
		fail("read", got, 0);
	stop = 1;
	for (int i = 0; i < n; i++)
		pthread_join(t[i], 0);
	printf("PASS loops %ld alarms %ld interrupted %ld\n", loops, alarms, interrupted);
	return 0;
}
