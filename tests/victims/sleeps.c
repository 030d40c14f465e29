// test: threads in every call with a time limit: never EINTR, never too early, never later than the time away explains.
#include "victim.h"
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/select.h>

// A call returns 0 when it waited to its end, or its errno.
struct sleeper {
	const char *name;
	int (*wait)(int64_t ms);
	long asked_ms;
	volatile long rounds;
};

static struct timespec span(int64_t ms) { return (struct timespec){ms / 1000, ms % 1000 * 1000000}; }
static int result(long r) { return r < 0 ? errno : 0; }

static int in_nanosleep(int64_t ms)
{
	struct timespec t = span(ms);
	return result(syscall(SYS_nanosleep, &t, NULL));
}

static int in_nanosleep_rem(int64_t ms)
{
	struct timespec t = span(ms);
	return result(syscall(SYS_nanosleep, &t, &t));
}

static int in_clock_relative(int64_t ms)
{
	struct timespec t = span(ms);
	return clock_nanosleep(CLOCK_MONOTONIC, 0, &t, NULL);
}

static int absolute(clockid_t clock, int64_t ms)
{
	struct timespec t, s = span(ms);
	clock_gettime(clock, &t);
	t.tv_sec += s.tv_sec + (t.tv_nsec + s.tv_nsec) / 1000000000;
	t.tv_nsec = (t.tv_nsec + s.tv_nsec) % 1000000000;
	return clock_nanosleep(clock, TIMER_ABSTIME, &t, NULL);
}
static int in_clock_absolute(int64_t ms) { return absolute(CLOCK_MONOTONIC, ms); }
static int in_clock_realtime(int64_t ms) { return absolute(CLOCK_REALTIME, ms); }

static int in_poll(int64_t ms) { return result(syscall(SYS_poll, NULL, 0, (int)ms)); }

static int in_ppoll(int64_t ms)
{
	struct timespec t = span(ms);
	return result(ppoll(NULL, 0, &t, NULL));
}

static int in_select(int64_t ms)
{
	struct timeval t = {ms / 1000, ms % 1000 * 1000};
	return result(select(0, NULL, NULL, NULL, &t));
}

static int in_pselect(int64_t ms)
{
	struct timespec t = span(ms);
	sigset_t mask; // another one than the thread's; what sigwaitinfo waits for must not end us here
	pthread_sigmask(SIG_SETMASK, NULL, &mask);
	sigaddset(&mask, SIGUSR2);
	return result(pselect(0, NULL, NULL, NULL, &t, &mask));
}

static int in_futex(int64_t ms)
{
	static int word;
	struct timespec t = span(ms);
	int e = result(syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, &t));
	return e == ETIMEDOUT ? 0 : e ? e : EPROTO;
}

static int in_futex_absolute(int64_t ms)
{
	static int word;
	struct timespec t, s = span(ms);
	clock_gettime(CLOCK_MONOTONIC, &t);
	t.tv_sec += s.tv_sec + (t.tv_nsec + s.tv_nsec) / 1000000000;
	t.tv_nsec = (t.tv_nsec + s.tv_nsec) % 1000000000;
	int e = result(syscall(SYS_futex, &word, FUTEX_WAIT_BITSET_PRIVATE, 0, &t, NULL, ~0));
	return e == ETIMEDOUT ? 0 : e ? e : EPROTO;
}

static int epoll_idle;
static int in_epoll(int64_t ms)
{
	struct epoll_event e;
	return result(epoll_wait(epoll_idle, &e, 1, (int)ms));
}

static int in_sigtimedwait(int64_t ms)
{
	struct timespec t = span(ms);
	sigset_t one;
	sigemptyset(&one);
	sigaddset(&one, SIGRTMIN + 9);
	int r = sigtimedwait(&one, NULL, &t), e = errno;
	return r < 0 && e == EAGAIN ? 0 : r < 0 ? e : EPROTO;
}

// The kernel can't write the rest of a time-out back to where it may not write.
enum { CONST_MS = 650 };
#ifdef SYS__newselect
#define SELECT SYS__newselect
#else
#define SELECT SYS_select
#endif
static const struct timespec const_spec = {0, CONST_MS * 1000000};
static const struct timeval const_val = {0, CONST_MS * 1000};
static int in_ppoll_const(int64_t ms) { return (void)ms, result(syscall(SYS_ppoll, NULL, 0, &const_spec, NULL, 8)); }
static int in_select_const(int64_t ms) { return (void)ms, result(syscall(SELECT, 0, NULL, NULL, NULL, &const_val)); }

static struct sleeper sleepers[] = {
	{"nanosleep", in_nanosleep, 1700, 0},	      {"nanosleep-rem", in_nanosleep_rem, 900, 0},
	{"clock_nanosleep", in_clock_relative, 1300, 0}, {"clock_nanosleep-abs", in_clock_absolute, 1100, 0},
	{"clock_nanosleep-real", in_clock_realtime, 800, 0}, {"poll", in_poll, 1500, 0},
	{"ppoll", in_ppoll, 700, 0},		      {"select", in_select, 1000, 0},
	{"pselect", in_pselect, 600, 0},	      {"futex", in_futex, 1200, 0},
	{"futex-abs", in_futex_absolute, 500, 0},     {"epoll_wait", in_epoll, 1400, 0},
	{"sigtimedwait", in_sigtimedwait, 1600, 0},   {"ppoll-const", in_ppoll_const, CONST_MS, 0},
	{"select-const", in_select_const, CONST_MS, 0},
};
enum { SLEEPERS = sizeof sleepers / sizeof *sleepers };

static int64_t now_us(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000LL + ts.tv_nsec / 1000;
}

static void *sleep_on(void *arg)
{
	struct sleeper *s = arg;
	for (;;) {
		int64_t t0 = now_us();
		int e = s->wait(s->asked_ms);
		int64_t took = now_us() - t0;
		if (e != 0)
			FAIL("%s ended with %s", s->name, strerror(e));
		if (took < s->asked_ms * 1000)
			FAIL("%s took %ld us, asked for %ld ms", s->name, (long)took, s->asked_ms);
		if (took > (s->asked_ms + 1000 + victim_slack_ms) * 1000)
			FAIL("%s took %ld us, asked for %ld ms", s->name, (long)took, s->asked_ms);
		say("slept %s %ld %ld", s->name, s->asked_ms, (long)(took / 1000));
		s->rounds++;
	}
}

// Calls without a limit: they end when main sends the next number, and not before.
static int pipes[4][2];
static volatile long got[4];

static void wait_for_input(int me)
{
	static int ep = -1;
	if (me == 1) {
		struct epoll_event e = {.events = EPOLLIN};
		if (ep < 0) {
			ep = epoll_create1(0);
			CHECK_EQ(epoll_ctl(ep, EPOLL_CTL_ADD, pipes[me][0], &e), 0);
		}
		CHECK_EQ(epoll_wait(ep, &e, 1, -1), 1);
	}
	if (me == 2) {
		struct pollfd p = {pipes[me][0], POLLIN, 0};
		CHECK_EQ(poll(&p, 1, -1), 1);
	}
	if (me == 3) {
		fd_set set;
		FD_ZERO(&set);
		FD_SET(pipes[me][0], &set);
		CHECK_EQ(select(pipes[me][0] + 1, &set, NULL, NULL, NULL), 1);
	}
}

static void *read_on(void *arg)
{
	int me = (int)(intptr_t)arg;
	for (long want = 1;; want++) {
		long n;
		wait_for_input(me);
		CHECK_EQ(read(pipes[me][0], &n, sizeof n), sizeof n);
		CHECK_EQ(n, want);
		got[me] = n;
	}
}

static volatile long sig_got;
static void *signal_on(void *arg)
{
	(void)arg;
	sigset_t one;
	sigemptyset(&one);
	sigaddset(&one, SIGRTMIN + 10);
	for (long want = 1;; want++) {
		siginfo_t si;
		CHECK_EQ(sigwaitinfo(&one, &si), SIGRTMIN + 10);
		CHECK_EQ(si.si_value.sival_int, want);
		sig_got = want;
	}
}

static void await(volatile long *counter, long want)
{
	for (int64_t until = now_ms() + 5000 + victim_slack_ms; *counter != want; nap(1))
		if (now_ms() > until)
			FAIL("a blocked thread does not go on: %ld, want %ld", *counter, want);
}

static void set_up(void)
{
	pthread_t t;
	sigset_t rt;
	sigemptyset(&rt);
	sigaddset(&rt, SIGRTMIN + 9), sigaddset(&rt, SIGRTMIN + 10);
	pthread_sigmask(SIG_BLOCK, &rt, NULL);
	epoll_idle = epoll_create1(EPOLL_CLOEXEC);
	CHECK(epoll_idle >= 0);
	for (intptr_t i = 0; i < 4; i++) {
		CHECK_EQ(pipe(pipes[i]), 0);
		CHECK_EQ(pthread_create(&t, NULL, read_on, (void *)i), 0);
	}
	CHECK_EQ(pthread_create(&t, NULL, signal_on, NULL), 0);
	for (int i = 0; i < SLEEPERS; i++)
		CHECK_EQ(pthread_create(&t, NULL, sleep_on, &sleepers[i]), 0);
}

static void on_alarm(int sig) { (void)sig; }

static void tamper(void)
{
	struct sigaction sa = {.sa_handler = on_alarm};
	if (tampering(1)) { // what an EINTR leak looks like
		sigset_t one;
		sigemptyset(&one);
		sigaddset(&one, SIGUSR1);
		sigaction(SIGUSR1, &sa, NULL);
		pthread_sigmask(SIG_BLOCK, &one, NULL); // one of the others gets it
		kill(getpid(), SIGUSR1);
	}
	if (tampering(2)) // a time-out that is too short
		sleepers[6].asked_ms += 500;
	if (tampering(3)) { // too long
		sleepers[8].asked_ms -= 550;
		victim_slack_ms = -700;
	}
	if (tampering(4)) { // a lost byte
		long n = 77;
		CHECK_EQ(write(pipes[1][1], &n, sizeof n), sizeof n);
	}
}

int main(int argc, char **argv)
{
	victim_init(argc, argv, 4);
	set_up();
	ready();
	long sent = 0;
	while (step()) {
		tamper();
		if (victim_step % 40 == 0) {
			sent++;
			for (int i = 0; i < 4; i++)
				CHECK_EQ(write(pipes[i][1], &sent, sizeof sent), sizeof sent);
			sigqueue(getpid(), SIGRTMIN + 10, (union sigval){.sival_int = (int)sent});
			for (int i = 0; i < 4; i++)
				await(&got[i], sent);
			await(&sig_got, sent);
		}
		nap(5);
	}
	for (int i = 0; i < SLEEPERS && victim_step > 100; i++)
		await(&sleepers[i].rounds, sleepers[i].rounds ? sleepers[i].rounds : 1);
	return pass();
}
