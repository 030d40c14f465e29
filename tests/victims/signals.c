// test: signal actions, masks, alternate stacks, pending and queued signals, waits with a mask of their own.
#include "victim.h"
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/ucontext.h>

enum { THREADS = 3, QUEUED = 40 };
struct kaction { // as the kernel has it
	void *handler;
	unsigned long flags;
	void *restorer;
	uint64_t mask;
};
static struct kaction actions[65];
static struct {
	pthread_t id;
	int tid;
	volatile long sent, handled, returned;
	stack_t alt;
	uint64_t mask;
} waiters[THREADS];
static __thread int self = -1;

static long raw_action(int sig, struct kaction *set, struct kaction *get)
{
	return syscall(SYS_rt_sigaction, sig, set, get, 8);
}

static uint64_t raw_mask(void)
{
	uint64_t m = 0;
	CHECK_EQ(syscall(SYS_rt_sigprocmask, SIG_BLOCK, NULL, &m, 8), 0);
	return m;
}

static void on_wake(int sig, siginfo_t *info, void *ctx)
{
	(void)ctx;
	if (self < 0 || sig != SIGUSR1 || info->si_value.sival_int != waiters[self].sent)
		FAIL("a signal reached the wrong thread, or with a wrong value");
	char here;
	char *base = waiters[self].alt.ss_sp;
	if (&here < base || &here >= base + waiters[self].alt.ss_size)
		FAIL("the handler does not run on the alternate stack");
	waiters[self].handled++;
}

static void check_altstack(const stack_t *want)
{
	stack_t got;
	CHECK_EQ(sigaltstack(NULL, &got), 0);
	CHECK(got.ss_sp == want->ss_sp && got.ss_size == want->ss_size);
	CHECK_EQ(got.ss_flags, want->ss_flags);
}

// wait_masked sits in a call that has a signal mask of its own; only a SIGUSR1
// may end it, and the thread's mask must be back afterwards.
static void *wait_masked(void *arg)
{
	int me = self = (int)(intptr_t)arg;
	waiters[me].alt = (stack_t){.ss_size = 32768 + me * 8192, .ss_sp = malloc(32768 + me * 8192)};
	CHECK_EQ(sigaltstack(&waiters[me].alt, NULL), 0);
	sigset_t inside, outside;
	sigfillset(&inside);
	sigdelset(&inside, SIGUSR1);
	outside = inside;
	sigaddset(&outside, SIGUSR1);
	sigdelset(&outside, SIGRTMIN + 20 + me); // tells the threads' masks apart
	pthread_sigmask(SIG_SETMASK, &outside, NULL);
	waiters[me].mask = raw_mask();
	__atomic_store_n(&waiters[me].tid, (int)syscall(SYS_gettid), __ATOMIC_RELEASE);
	for (;;) {
		int r = me == 0 ? sigsuspend(&inside) : ppoll(NULL, 0, me == 1 ? NULL : &(struct timespec){3600, 0}, &inside);
		CHECK(r == -1 && errno == EINTR);
		long n = ++waiters[me].returned;
		if (waiters[me].handled != n)
			FAIL("thread %d: call interrupted %ld times by %ld signals", me, n, waiters[me].handled);
		CHECK_EQ(raw_mask(), waiters[me].mask);
		check_altstack(&waiters[me].alt);
	}
}

// set_actions gives every signal its own handler address, flags and mask.
static void set_actions(void)
{
	static const unsigned long kinds[] = {SA_RESTART, SA_NODEFER, SA_SIGINFO | SA_ONSTACK, 0, SA_NOCLDWAIT, SA_NOCLDSTOP}; // 32 and 33 belong to libc
	struct sigaction wake = {.sa_sigaction = on_wake, .sa_flags = SA_SIGINFO | SA_ONSTACK};
	sigfillset(&wake.sa_mask);
	CHECK_EQ(sigaction(SIGUSR1, &wake, NULL), 0);
	for (int sig = 1; sig <= 64; sig++) {
		struct kaction a;
		CHECK_EQ(raw_action(sig, NULL, &a), 0);
		if (sig != 32 && sig != 33 && sig != SIGKILL && sig != SIGSTOP && sig != SIGUSR1 && sig != SIGSEGV && sig != SIGPROF && sig != SIGABRT) {
			if (sig % 5 == 0)
				a.handler = (void *)1; // SIG_IGN
			else if (sig % 5 != 1)
				a.handler = (void *)(0x10000UL + sig * 16);
			a.flags = kinds[sig % 6] | 0x04000000;
			a.restorer = (void *)(0x20000UL + sig * 16);
			a.mask = mix(1, sig) & ~((1ULL << (SIGKILL - 1)) | (1ULL << (SIGSTOP - 1)));
			CHECK_EQ(raw_action(sig, &a, NULL), 0);
		}
		CHECK_EQ(raw_action(sig, NULL, &actions[sig]), 0);
	}
}

static void check_actions(void)
{
	for (int sig = 1; sig <= 64; sig++) {
		struct kaction a;
		CHECK_EQ(raw_action(sig, NULL, &a), 0);
		if (sig == 33 && !actions[33].handler)
			continue; // libc sets it when the first thread is made
		if (memcmp(&a, &actions[sig], sizeof a) != 0)
			FAIL("action of signal %d: handler %p flags %#lx mask %#llx, want %p %#lx %#llx", sig, a.handler, a.flags,
			     (unsigned long long)a.mask, actions[sig].handler, actions[sig].flags,
			     (unsigned long long)actions[sig].mask);
	}
}

// queue_process and queue_thread keep QUEUED signals waiting, values in order.
static void queue_signal(int thread, long value)
{
	siginfo_t si = {.si_code = SI_QUEUE};
	si.si_signo = SIGRTMIN + (thread ? 4 : 3), si.si_pid = getpid(), si.si_uid = 12345, si.si_value.sival_ptr = (void *)value;
	long r = thread ? syscall(SYS_rt_tgsigqueueinfo, getpid(), getpid(), si.si_signo, &si)
			: syscall(SYS_rt_sigqueueinfo, getpid(), si.si_signo, &si);
	CHECK_EQ(r, 0);
}

static void take_signal(int thread, long value)
{
	sigset_t one;
	siginfo_t si;
	sigemptyset(&one);
	sigaddset(&one, SIGRTMIN + (thread ? 4 : 3));
	CHECK_EQ(sigtimedwait(&one, &si, &(struct timespec){0, 0}), SIGRTMIN + (thread ? 4 : 3));
	CHECK_EQ(si.si_code, SI_QUEUE);
	CHECK_EQ((long)si.si_value.sival_ptr, value);
	CHECK_EQ(si.si_uid, 12345);
}

static void check_pending(void)
{
	sigset_t p;
	CHECK_EQ(sigpending(&p), 0);
	for (int sig = 1; sig <= 64; sig++) {
		int want = sig == SIGRTMIN + 3 || sig == SIGRTMIN + 4 || sig == SIGUSR2 || sig == SIGWINCH;
		if (sig != 32 && sig != 33 && sigismember(&p, sig) != want)
			FAIL("signal %d is %spending", sig, want ? "not " : "");
	}
	for (int thread = 0; thread < 2; thread++) {
		take_signal(thread, victim_step - 1);
		queue_signal(thread, victim_step - 1 + QUEUED);
	}
}

static void wake_all(void)
{
	for (int i = 0; i < THREADS; i++) {
		waiters[i].sent++;
		CHECK_EQ(pthread_sigqueue(waiters[i].id, SIGUSR1, (union sigval){.sival_int = (int)waiters[i].sent}), 0);
		for (int64_t until = now_ms() + 5000 + victim_slack_ms; waiters[i].returned != waiters[i].sent;) {
			if (now_ms() > until)
				FAIL("thread %d was not woken", i);
			nap(1);
		}
	}
}

static void set_up(void)
{
	set_actions();
	sigset_t most;
	sigfillset(&most);
	sigdelset(&most, SIGINT);
	CHECK_EQ(pthread_sigmask(SIG_SETMASK, &most, NULL), 0);
	for (intptr_t i = 0; i < THREADS; i++)
		CHECK_EQ(pthread_create(&waiters[i].id, NULL, wait_masked, (void *)i), 0);
	for (int i = 0; i < THREADS; i++)
		while (!__atomic_load_n(&waiters[i].tid, __ATOMIC_ACQUIRE))
			nap(1);
	for (long v = 0; v < QUEUED; v++)
		queue_signal(0, v), queue_signal(1, v);
	CHECK_EQ(kill(getpid(), SIGUSR2), 0);
	CHECK_EQ(syscall(SYS_tgkill, getpid(), getpid(), SIGWINCH), 0);
}

static void tamper(void)
{
	sigset_t one;
	sigemptyset(&one);
	if (tampering(1)) {
		sigaddset(&one, SIGUSR2);
		sigtimedwait(&one, NULL, &(struct timespec){0, 0});
	}
	if (tampering(2))
		take_signal(0, victim_step - 1);
	if (tampering(3))
		signal(SIGCHLD, SIG_DFL);
	if (tampering(4)) // as if a call had returned EINTR without a signal
		waiters[1].handled--;
	if (tampering(5)) {
		sigaddset(&one, SIGTERM);
		pthread_sigmask(SIG_UNBLOCK, &one, NULL);
	}
	if (tampering(6))
		waiters[2].alt.ss_size += 4096;
	if (tampering(7))
		waiters[0].mask ^= 4;
}

int main(int argc, char **argv)
{
	victim_init(argc, argv, 7);
	stack_t alt = {.ss_sp = malloc(65536), .ss_size = 65536};
	CHECK_EQ(sigaltstack(&alt, NULL), 0);
	set_up();
	uint64_t mask = raw_mask();
	ready();
	while (step()) {
		tamper();
		CHECK_EQ(raw_mask(), mask);
		check_altstack(&alt);
		check_actions();
		check_pending();
		if (victim_step % 3 == 0)
			wake_all();
		nap(4);
	}
	for (long v = victim_step; v < victim_step + QUEUED; v++)
		take_signal(0, v), take_signal(1, v);
	return pass();
}
