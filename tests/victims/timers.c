// test: interval timers, POSIX timers with ids 2 and 4, thread-directed timers, timerfds: all go on, none is lost or early.
#include "victim.h"
#include <signal.h>
#include <sys/time.h>
#include <sys/timerfd.h>

enum { SIG_VALUE = 40, SIG_THREAD = 41 };
static volatile long real_hits, virtual_hits, prof_hits, value_hits, thread_hits;
static volatile int wrong;
static int periodic, far_off, oneshot;
static int unread; // periodic too, but read so seldom that every checkpoint finds it expired
static int64_t started_ms, oneshot_due_ms;
static long periodic_ticks, unread_ticks;

struct ktimer_event { // struct sigevent as the kernel has it
	union sigval value;
	int signo, notify, tid, pad[11];
};

static void on_signal(int sig, siginfo_t *si, void *ctx)
{
	(void)ctx;
	if (sig == SIGALRM)
		real_hits++;
	if (sig == SIGVTALRM)
		virtual_hits++;
	if (sig == SIGPROF)
		prof_hits++;
	if (sig == SIG_VALUE) {
		value_hits += 1 + si->si_overrun;
		wrong |= si->si_value.sival_int != 4711 || si->si_timerid != 2;
	}
	if (sig == SIG_THREAD) {
		thread_hits += 1 + si->si_overrun;
		wrong |= si->si_value.sival_int != 4712 || si->si_timerid != 4;
	}
}

static int create(clockid_t clock, int notify, int signo, int value)
{
	struct ktimer_event ev = {.value = {.sival_int = value}, .signo = signo, .notify = notify};
	int id = -1;
	if (notify == SIGEV_THREAD_ID)
		ev.tid = (int)syscall(SYS_gettid);
	CHECK_EQ(syscall(SYS_timer_create, clock, &ev, &id), 0);
	return id;
}

static struct itimerspec get(int id)
{
	struct itimerspec it;
	CHECK_EQ(syscall(SYS_timer_gettime, id, &it), 0);
	return it;
}

static void arm(int id, long first_ms, long interval_ms)
{
	struct itimerspec it = {{interval_ms / 1000, interval_ms % 1000 * 1000000}, {first_ms / 1000, first_ms % 1000 * 1000000}};
	CHECK_EQ(syscall(SYS_timer_settime, id, 0, &it, NULL), 0);
}

// create_timers leaves the ids 2, 4 and 6 in use, with gaps between.
static void create_timers(void)
{
	for (int want = 0; want < 7; want++) {
		int id = want == 2   ? create(CLOCK_MONOTONIC, SIGEV_SIGNAL, SIG_VALUE, 4711)
			 : want == 4 ? create(CLOCK_REALTIME, SIGEV_THREAD_ID, SIG_THREAD, 4712)
				     : create(CLOCK_MONOTONIC, SIGEV_NONE, 0, 0);
		CHECK_EQ(id, want);
	}
	for (int id = 0; id < 6; id++)
		if (id != 2 && id != 4)
			CHECK_EQ(syscall(SYS_timer_delete, id), 0);
	arm(2, 7, 7);
	arm(4, 13, 13);
	arm(6, 3600 * 1000, 0);
}

static int timerfd(clockid_t clock, int flags, struct itimerspec it)
{
	int fd = timerfd_create(clock, TFD_NONBLOCK | TFD_CLOEXEC);
	CHECK(fd >= 0);
	CHECK_EQ(timerfd_settime(fd, flags, &it, NULL), 0);
	return fd;
}

static void set_up(void)
{
	static const int signals[] = {SIGALRM, SIGVTALRM, SIGPROF, SIG_VALUE, SIG_THREAD};
	for (int i = 0; i < 5; i++) {
		struct sigaction sa = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_RESTART};
		CHECK_EQ(sigaction(signals[i], &sa, NULL), 0);
	}
	struct timespec real;
	clock_gettime(CLOCK_REALTIME, &real);
	periodic = timerfd(CLOCK_MONOTONIC, 0, (struct itimerspec){{0, 11000000}, {0, 11000000}});
	unread = timerfd(CLOCK_MONOTONIC, 0, (struct itimerspec){{0, 1000000}, {0, 1000000}});
	far_off = timerfd(CLOCK_REALTIME, TFD_TIMER_ABSTIME, (struct itimerspec){{0, 0}, {real.tv_sec + 86400, 0}});
	oneshot = timerfd(CLOCK_MONOTONIC, 0, (struct itimerspec){{0, 0}, {0, 900000000}});
	oneshot_due_ms = now_ms() + 900;
	create_timers();
	struct itimerval it = {{0, 9000}, {0, 9000}};
	CHECK_EQ(setitimer(ITIMER_REAL, &it, NULL), 0);
	CHECK_EQ(setitimer(ITIMER_VIRTUAL, &it, NULL), 0);
	CHECK_EQ(setitimer(ITIMER_PROF, &it, NULL), 0);
	started_ms = now_ms();
}

// burn uses CPU time in user space, so that the CPU timers run.
static void burn(long ms)
{
	for (int64_t until = now_ms() + ms; now_ms() < until;)
		;
}

static void check_armed(void)
{
	static const int ids[] = {2, 4}, intervals[] = {7, 13}, kinds[] = {ITIMER_REAL, ITIMER_VIRTUAL, ITIMER_PROF};
	for (int i = 0; i < 2; i++) {
		struct itimerspec it = get(ids[i]);
		CHECK_EQ(it.it_interval.tv_nsec, intervals[i] * 1000000);
		CHECK(it.it_value.tv_sec == 0 && it.it_value.tv_nsec > 0 && it.it_value.tv_nsec <= intervals[i] * 1000000);
	}
	struct itimerspec it = get(6);
	CHECK(it.it_interval.tv_nsec == 0 && it.it_value.tv_sec <= 3600 && it.it_value.tv_sec >= 3600 - 600);
	for (int i = 0; i < 3; i++) {
		struct itimerval tv;
		CHECK_EQ(getitimer(kinds[i], &tv), 0);
		if (i == 0 && tv.it_value.tv_usec == 0) // it goes off in this very call, and starts anew with its signal
			CHECK_EQ(getitimer(kinds[i], &tv), 0);
		CHECK(tv.it_interval.tv_usec >= 9000 && tv.it_interval.tv_usec <= 12000); // CPU timers count in jiffies
		CHECK(tv.it_value.tv_sec == 0 && (tv.it_value.tv_usec > 0 || i > 0));
	}
	for (int id = 0; id < 6; id++)
		if (id != 2 && id != 4)
			CHECK(syscall(SYS_timer_gettime, id, &it) == -1 && errno == EINVAL);
	CHECK_EQ(timerfd_gettime(far_off, &it), 0);
	CHECK(it.it_interval.tv_sec == 0 && it.it_value.tv_sec > 80000 && it.it_value.tv_sec <= 86400);
}

static void check_timerfds(void)
{
	uint64_t n;
	if (victim_step % 8 == 7) { // each step burns 12 ms: it has always gone off again
		CHECK_EQ(read(unread, &n, 8), 8);
		unread_ticks += n;
	}
	if (read(periodic, &n, 8) == 8)
		periodic_ticks += n;
	else
		CHECK_EQ(errno, EAGAIN);
	int due = now_ms() > oneshot_due_ms; // read first: it may come due in between
	static int fired;
	if (read(oneshot, &n, 8) == 8) {
		CHECK_EQ(n, 1);
		CHECK_EQ(fired, 0);
		CHECK(now_ms() >= oneshot_due_ms);
		fired = 1;
	} else if (due && now_ms() > oneshot_due_ms + 1000 + victim_slack_ms)
		CHECK_EQ(fired, 1);
}

// check_counts: no source may fire more often than its interval allows.
static void check_counts(void)
{
	int64_t ran = now_ms() - started_ms;
	CHECK_EQ(wrong, 0);
	CHECK(real_hits <= ran / 9 + 2);
	CHECK(value_hits <= ran / 7 + 2);
	CHECK(thread_hits <= ran / 13 + 2);
	CHECK(periodic_ticks <= ran / 11 + 2);
	CHECK(unread_ticks <= ran + 2);
	static long before[6];
	static long looked;
	if (victim_step < looked + 40) // steps, not time: time passes while the program is away
		return;
	long now[6] = {real_hits, virtual_hits, prof_hits, value_hits, thread_hits, periodic_ticks};
	for (int i = 0; i < 6 && looked; i++)
		if (now[i] == before[i])
			FAIL("timer source %d does not go on", i);
	memcpy(before, now, sizeof now);
	looked = victim_step;
}

static void tamper(void)
{
	struct itimerval off = {{0, 0}, {0, 0}};
	struct itimerspec none = {{0, 0}, {0, 0}};
	if (tampering(1))
		setitimer(ITIMER_REAL, &off, NULL);
	if (tampering(2))
		setitimer(ITIMER_PROF, &off, NULL);
	if (tampering(3))
		syscall(SYS_timer_delete, 4);
	if (tampering(4))
		syscall(SYS_timer_delete, 2), create(CLOCK_MONOTONIC, SIGEV_SIGNAL, SIG_VALUE, 4711);
	if (tampering(5))
		timerfd_settime(periodic, 0, &none, NULL);
	if (tampering(6))
		timerfd_settime(far_off, 0, &none, NULL);
	if (tampering(8))
		timerfd_settime(unread, 0, &none, NULL);
	if (tampering(7))
		periodic_ticks += 1000000;
}

int main(int argc, char **argv)
{
	victim_init(argc, argv, 8);
	set_up();
	ready();
	while (step()) {
		tamper();
		burn(12);
		check_armed();
		check_timerfds();
		check_counts();
	}
	return pass();
}
