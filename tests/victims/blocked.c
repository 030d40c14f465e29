// test: threads blocked without a time limit in calls of many kinds; each ends when main wakes it, never before, never by EINTR.
#include "victim.h"
#include <arpa/inet.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/uio.h>

enum { RTSIG = 11 };
static int io[2], dgram[2], from[2], to[2], full[2];
static int lock_a, lock_b, ofd_a, ofd_b, event, timer, sigfd, watch, listener = -1;
static volatile int word, words[2], signals;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_t pauser;

static void on_signal(int sig) { (void)sig, signals++; }
static void nothing(void) {}

static long in_readv(void)
{
	char a, b;
	struct iovec v[2] = {{&a, 1}, {&b, 1}};
	return readv(io[0], v, 2) == 2 && a == 'x' && b == 'y';
}
static void end_readv(void) { CHECK_EQ(write(io[1], "xy", 2), 2); }

static long in_recvmsg(void)
{
	char buf[8];
	struct iovec v = {buf, sizeof buf};
	struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1};
	return recvmsg(dgram[0], &m, 0) == 3;
}
static void end_recvmsg(void) { CHECK_EQ(send(dgram[1], "abc", 3, 0), 3); }

static void hold_flock(void) { CHECK_EQ(flock(lock_a, LOCK_EX), 0); }
static long in_flock(void) { return flock(lock_b, LOCK_EX) == 0 && flock(lock_b, LOCK_UN) == 0; }
static void end_flock(void) { CHECK_EQ(flock(lock_a, LOCK_UN), 0); }

static int ofd(int fd, int cmd, short type)
{
	struct flock l = {.l_type = type, .l_whence = SEEK_SET, .l_start = 3, .l_len = 4};
	return fcntl(fd, cmd, &l);
}
static void hold_ofd(void) { CHECK_EQ(ofd(ofd_a, F_OFD_SETLK, F_WRLCK), 0); }
static long in_ofd(void) { return ofd(ofd_b, F_OFD_SETLKW, F_WRLCK) == 0 && ofd(ofd_b, F_OFD_SETLK, F_UNLCK) == 0; }
static void end_ofd(void) { CHECK_EQ(ofd(ofd_a, F_OFD_SETLK, F_UNLCK), 0); }

static void clear_word(void) { word = 0; }
static long in_futex(void)
{
	return (syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, NULL) == 0 || errno == EAGAIN) && word == 1;
}
static void end_futex(void)
{
	word = 1;
	syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, 1);
}

#ifndef SYS_futex_waitv
#define SYS_futex_waitv 449
#endif
struct waitv { uint64_t val, uaddr; uint32_t flags, reserved; };
static void clear_words(void) { words[0] = words[1] = 0; }
static long in_waitv(void)
{
	struct waitv v[2] = {{0, (uintptr_t)&words[0], 2 | 128, 0}, {0, (uintptr_t)&words[1], 2 | 128, 0}};
	long r = syscall(SYS_futex_waitv, v, 2, 0, NULL, 0);
	return (r == 1 || errno == EAGAIN) && words[1] == 1;
}
static void end_waitv(void)
{
	words[1] = 1;
	syscall(SYS_futex, &words[1], FUTEX_WAKE_PRIVATE, 1);
}

static long in_splice(void)
{
	char buf[5];
	return splice(from[0], NULL, to[1], NULL, 5, 0) == 5 && read(to[0], buf, 5) == 5 && memcmp(buf, "hello", 5) == 0;
}
static void end_splice(void) { CHECK_EQ(write(from[1], "hello", 5), 5); }

static long in_eventfd(void)
{
	uint64_t n;
	return read(event, &n, 8) == 8 && n == 7;
}
static void end_eventfd(void) { CHECK_EQ(write(event, &(uint64_t){7}, 8), 8); }

static long in_timerfd(void)
{
	uint64_t n;
	return read(timer, &n, 8) == 8 && n == 1;
}
static void end_timerfd(void)
{
	struct itimerspec now = {{0, 0}, {0, 1}};
	CHECK_EQ(timerfd_settime(timer, 0, &now, NULL), 0);
}

static long in_signalfd(void)
{
	struct signalfd_siginfo si;
	return read(sigfd, &si, sizeof si) == sizeof si && si.ssi_int == 5;
}
static void end_signalfd(void) { CHECK_EQ(sigqueue(getpid(), SIGRTMIN + RTSIG, (union sigval){.sival_int = 5}), 0); }

static long in_inotify(void)
{
	char buf[512];
	return read(watch, buf, sizeof buf) > 0;
}
static void end_inotify(void)
{
	int fd = open("watched/file", O_WRONLY | O_CREAT | O_EXCL, 0600);
	CHECK(fd >= 0);
	close(fd);
	unlink("watched/file");
}

static long in_open(void)
{
	int fd = open("blocked-fifo", O_RDONLY);
	return fd >= 0 && close(fd) == 0;
}
static void end_open(void)
{
	int fd;
	while ((fd = open("blocked-fifo", O_WRONLY | O_NONBLOCK)) < 0)
		CHECK_EQ(errno, ENXIO);
	close(fd);
}

static void fill_pipe(void)
{
	static const char junk[4096];
	fcntl(full[1], F_SETFL, O_NONBLOCK);
	while (write(full[1], junk, sizeof junk) > 0)
		;
	while (write(full[1], junk, 1) > 0) // what the last page has room for
		;
	fcntl(full[1], F_SETFL, 0);
}
static long in_write(void) { return write(full[1], "z", 1) == 1; }
static void end_write(void)
{
	char junk[1 << 16];
	CHECK(read(full[0], junk, sizeof junk) > 0);
}

static void listen_anew(void) { CHECK_EQ(listen(listener, 3), 0); }
static long in_accept(void) { return accept(listener, NULL, NULL) == -1 && errno == EINVAL; }
static void end_accept(void) { CHECK_EQ(shutdown(listener, SHUT_RDWR), 0); }

static long in_pause(void)
{
	int before = signals;
	return pause() == -1 && errno == EINTR && signals == before + 1;
}
static void end_pause(void) { CHECK_EQ(pthread_kill(pauser, SIGUSR1), 0); }

static void hold_mutex(void) { pthread_mutex_lock(&mutex); }
static long in_mutex(void) { return pthread_mutex_lock(&mutex) == 0 && pthread_mutex_unlock(&mutex) == 0; }
static void end_mutex(void) { pthread_mutex_unlock(&mutex); }

static struct blocker {
	const char *name;
	void (*arm)(void);  // before the thread goes in
	long (*wait)(void); // true when the call ended as it must
	void (*wake)(void);
	volatile long done;
	int gate[2]; // lets the thread go in
	volatile pid_t tid;
} blockers[] = {
	{.name = "readv", nothing, in_readv, end_readv},
	{.name = "recvmsg", nothing, in_recvmsg, end_recvmsg},
	{.name = "flock", hold_flock, in_flock, end_flock},
	{.name = "F_OFD_SETLKW", hold_ofd, in_ofd, end_ofd},
	{.name = "futex", clear_word, in_futex, end_futex},
	{.name = "futex_waitv", clear_words, in_waitv, end_waitv},
	{.name = "splice", nothing, in_splice, end_splice},
	{.name = "eventfd", nothing, in_eventfd, end_eventfd},
	{.name = "timerfd", nothing, in_timerfd, end_timerfd},
	{.name = "signalfd", nothing, in_signalfd, end_signalfd},
	{.name = "inotify", nothing, in_inotify, end_inotify},
	{.name = "open of a FIFO", nothing, in_open, end_open},
	{.name = "write", fill_pipe, in_write, end_write},
	{.name = "accept", listen_anew, in_accept, end_accept},
	{.name = "mutex", hold_mutex, in_mutex, end_mutex},
	{.name = "pause", nothing, in_pause, end_pause},
};
enum { BLOCKERS = sizeof blockers / sizeof *blockers };

static void *block_on(void *arg)
{
	struct blocker *b = arg;
	char c;
	b->tid = (pid_t)syscall(SYS_gettid);
	while (read(b->gate[0], &c, 1) == 1) {
		errno = 0;
		if (!b->wait())
			FAIL("%s ended as it must not (errno %d)", b->name, errno);
		b->done++;
	}
	FAIL("%s: the gate: %s", b->name, strerror(errno));
}

static void let_in(void)
{
	for (int i = 0; i < BLOCKERS; i++) {
		blockers[i].arm();
		CHECK_EQ(write(blockers[i].gate[1], "g", 1), 1);
	}
}

// asleep waits until the thread is in its call: pause would miss a signal before.
static void asleep(struct blocker *b)
{
	char path[64], text[32] = "";
	snprintf(path, sizeof path, "/proc/self/task/%d/syscall", (int)b->tid);
	for (int64_t until = now_ms() + 5000 + victim_slack_ms; atoi(text) != SYS_pause || text[0] == 'r'; nap(1)) {
		int fd = open(path, O_RDONLY | O_CLOEXEC);
		CHECK(fd >= 0);
		memset(text, 0, sizeof text);
		if (read(fd, text, sizeof text - 1) < 0)
			text[0] = 'r';
		close(fd);
		if (now_ms() > until)
			FAIL("%s does not go to sleep: %s", b->name, text);
	}
}

static void wake_all(long round)
{
	for (int i = 0; i < BLOCKERS; i++) {
		struct blocker *b = &blockers[i];
		if (b->wait == in_pause)
			asleep(b);
		b->wake();
		for (int64_t until = now_ms() + 5000 + victim_slack_ms; b->done != round; nap(1))
			if (now_ms() > until)
				FAIL("%s does not end: %ld, want %ld", b->name, b->done, round);
	}
}

static void set_up(void)
{
	sigset_t rt;
	sigemptyset(&rt);
	sigaddset(&rt, SIGRTMIN + RTSIG);
	pthread_sigmask(SIG_BLOCK, &rt, NULL);
	struct sigaction sa = {.sa_handler = on_signal};
	sigaction(SIGUSR1, &sa, NULL);
	CHECK(pipe(io) == 0 && pipe(from) == 0 && pipe(to) == 0 && pipe(full) == 0);
	CHECK_EQ(fcntl(full[1], F_SETPIPE_SZ, 4096), 4096);
	CHECK_EQ(socketpair(AF_UNIX, SOCK_DGRAM, 0, dgram), 0);
	lock_a = open("locked", O_RDWR | O_CREAT, 0600), lock_b = open("locked", O_RDWR);
	ofd_a = open("locked", O_RDWR), ofd_b = open("locked", O_RDWR);
	struct sockaddr_in any = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	listener = socket(AF_INET, SOCK_STREAM, 0);
	CHECK(listener >= 0 && bind(listener, (void *)&any, sizeof any) == 0);
	event = eventfd(0, 0), timer = timerfd_create(CLOCK_MONOTONIC, 0), sigfd = signalfd(-1, &rt, 0);
	watch = inotify_init1(0);
	CHECK(mkdir("watched", 0700) == 0 && inotify_add_watch(watch, "watched", IN_CREATE) == 1);
	CHECK_EQ(mkfifo("blocked-fifo", 0600), 0);
	if (syscall(SYS_futex_waitv, NULL, 0, 0, NULL, 0) == -1 && errno == ENOSYS)
		unsupported("futex_waitv");
	for (int i = 0; i < BLOCKERS; i++) {
		pthread_t t;
		CHECK_EQ(pipe(blockers[i].gate), 0);
		CHECK_EQ(pthread_create(&t, NULL, block_on, &blockers[i]), 0);
		if (blockers[i].wait == in_pause)
			pauser = t;
	}
	let_in();
}

int main(int argc, char **argv)
{
	victim_init(argc, argv, 3);
	set_up();
	ready();
	for (long round = 1; step();) {
		if (tampering(1)) // what an EINTR leak looks like
			syscall(SYS_tgkill, getpid(), blockers[0].tid, SIGUSR1);
		if (tampering(2)) // a wait that is over too early
			end_recvmsg();
		if (tampering(3)) { // a byte lost
			char c;
			CHECK_EQ(read(full[0], &c, 1), 1);
			CHECK_EQ(recv(dgram[0], &c, 1, MSG_DONTWAIT), -1);
			end_eventfd();
		}
		for (int i = 0; i < BLOCKERS; i++)
			if (blockers[i].done != round - 1)
				FAIL("%s: %ld ended, want %ld", blockers[i].name, blockers[i].done, round - 1);
		if (victim_step % 30 == 0) {
			wake_all(round++);
			let_in();
		}
		nap(5);
	}
	return pass();
}
