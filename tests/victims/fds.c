// test: open files, directories, deleted files, pipes, FIFOs, event, signal, timer and process descriptors, epoll, inotify.
#include "victim.h"
#include "fdtable.h"
#include <dirent.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>

enum { ENTRIES = 60, KEPT = 25, DELETED = 100000, HUGE = 1 << 30, LOW = 50 };
static int log_fd, append_fd, shared_a, shared_b, dir_fd, deleted_fd, rot[2], packets[2], fifo[2], half_open, event,
	semaphore, ep, ep_ready, ino, high = -1, sig, nameless;
static uint64_t deleted_content[DELETED / 8];
static int dir_seen;

static int must(int fd)
{
	CHECK(fd >= 0);
	return fd;
}

static void open_files(void)
{
	static const int flags[] = {O_RDONLY, O_WRONLY, O_RDWR | O_APPEND, O_RDWR | O_NONBLOCK, O_RDWR | O_SYNC,
				    O_WRONLY | O_DSYNC, O_RDONLY | O_NOATIME, O_RDWR | O_CLOEXEC, O_PATH, O_RDONLY | O_LARGEFILE};
	int fd = must(open("plain", O_RDWR | O_CREAT, 0600));
	CHECK_EQ(write(fd, "0123456789abcdefghij", 20), 20);
	close(fd);
	for (unsigned i = 0; i < sizeof flags / sizeof *flags; i++) {
		fd = must(open("plain", flags[i]));
		if (!(flags[i] & O_PATH))
			CHECK_EQ(lseek(fd, i + 3, SEEK_SET), i + 3);
	}
	must(open(".", O_PATH | O_DIRECTORY));
	must(open("/dev/null", O_RDWR));
	must(open("/dev/zero", O_RDONLY | O_CLOEXEC));
	must(open("/dev/full", O_WRONLY));
	must(open("/dev/urandom", O_RDONLY));
	log_fd = must(open("steps.log", O_WRONLY | O_CREAT, 0644));
	append_fd = must(open("append.log", O_WRONLY | O_CREAT | O_APPEND, 0644));
	shared_a = must(open("plain", O_RDONLY));
	shared_b = must(dup(shared_a));
	deleted_fd = must(open("deleted", O_RDWR | O_CREAT | O_EXCL, 0600));
	fill(deleted_content, DELETED, 77);
	CHECK_EQ(write(deleted_fd, deleted_content, DELETED), DELETED);
	CHECK_EQ(unlink("deleted"), 0);
	nameless = must(open(".", O_RDWR | O_TMPFILE, 0640));
	CHECK_EQ(ftruncate(nameless, HUGE), 0);
	CHECK(pwrite(nameless, "begin", 5, 0) == 5 && pwrite(nameless, "end", 3, HUGE - 3) == 3);
	CHECK_EQ(lseek(nameless, 1000, SEEK_SET), 1000);
	struct rlimit l;
	getrlimit(RLIMIT_NOFILE, &l);
	l.rlim_cur = l.rlim_max;
	setrlimit(RLIMIT_NOFILE, &l);
	high = fcntl(deleted_fd, F_DUPFD, l.rlim_max >= 20000 ? 19999 : (int)l.rlim_max - 1);
	CHECK(high > 900);
}

// next_entries reads at most size bytes of directory entries and counts them.
static int next_entries(size_t size)
{
	char buf[4096];
	long n = syscall(SYS_getdents64, dir_fd, buf, size);
	CHECK(n >= 0);
	int count = 0;
	for (long at = 0; at < n; at += *(unsigned short *)(buf + at + 16))
		count += strncmp(buf + at + 19, "entry-", 6) == 0;
	return n == 0 ? -1 : count;
}

static void open_directory(void)
{
	CHECK_EQ(mkdir("dir", 0700), 0);
	for (int i = 0; i < ENTRIES; i++) {
		char name[32];
		snprintf(name, sizeof name, "dir/entry-%d", i);
		close(must(open(name, O_WRONLY | O_CREAT, 0600)));
	}
	dir_fd = must(open("dir", O_RDONLY | O_DIRECTORY));
	dir_seen = next_entries(700);
	CHECK(dir_seen > 0 && dir_seen < ENTRIES);
}

static void open_pipes(void)
{
	CHECK_EQ(pipe2(rot, O_NONBLOCK), 0);
	CHECK(fcntl(rot[1], F_SETPIPE_SZ, 16384) >= 16384);
	for (long v = 0; v < KEPT; v++)
		CHECK_EQ(write(rot[1], &v, sizeof v), sizeof v);
	CHECK_EQ(pipe2(packets, O_DIRECT | O_CLOEXEC), 0);
	for (int i = 1; i <= 3; i++)
		CHECK_EQ(write(packets[1], "packet", i * 2), i * 2);
	CHECK_EQ(mkfifo("fifo", 0600), 0);
	fifo[0] = must(open("fifo", O_RDONLY | O_NONBLOCK));
	fifo[1] = must(open("fifo", O_WRONLY));
	CHECK_EQ(write(fifo[1], "in the fifo", 11), 11);
	int ends[2];
	CHECK_EQ(pipe(ends), 0); // its writer is gone: content, then end of file
	CHECK_EQ(write(ends[1], "last words", 10), 10);
	close(ends[1]);
	half_open = ends[0];
}

static void open_epoll(void)
{
	ep = must(epoll_create1(EPOLL_CLOEXEC));
	int a = must(eventfd(1, 0)), keep = must(fcntl(a, F_DUPFD, 400));
	struct epoll_event e = {.events = EPOLLIN | EPOLLET, .data.u64 = 0x1111222233334444};
	CHECK_EQ(epoll_ctl(ep, EPOLL_CTL_ADD, a, &e), 0);
	close(a); // the entry stays, because keep holds the file
	int b = must(eventfd(2, 0));
	CHECK_EQ(b, a); // the number is used again
	e = (struct epoll_event){.events = EPOLLIN, .data.u64 = 0x5555666677778888};
	CHECK_EQ(epoll_ctl(ep, EPOLL_CTL_ADD, b, &e), 0);
	e = (struct epoll_event){.events = EPOLLIN | EPOLLONESHOT, .data.u64 = 0x9999};
	CHECK_EQ(epoll_ctl(ep, EPOLL_CTL_ADD, fifo[0], &e), 0);
	ep_ready = keep;
}

static void open_events(void)
{
	event = must(eventfd(5, EFD_NONBLOCK));
	semaphore = must(eventfd(3, EFD_SEMAPHORE | EFD_NONBLOCK | EFD_CLOEXEC));
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1), sigaddset(&set, SIGRTMIN + 5);
	sigprocmask(SIG_BLOCK, &set, NULL);
	sig = must(signalfd(-1, &set, SFD_NONBLOCK));
	CHECK_EQ(sigqueue(getpid(), SIGRTMIN + 5, (union sigval){.sival_int = 99}), 0);
	int t = must(timerfd_create(CLOCK_BOOTTIME, 0));
	struct itimerspec it = {{0, 0}, {7200, 0}};
	CHECK_EQ(timerfd_settime(t, 0, &it, NULL), 0);
	must(timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK)); // never armed
	must((int)syscall(SYS_pidfd_open, getpid(), 0));
	ino = must(inotify_init1(IN_NONBLOCK));
	for (int i = 1; i <= 5; i++) {
		char name[16];
		snprintf(name, sizeof name, "watch-%d", i);
		CHECK_EQ(mkdir(name, 0700), 0);
		CHECK_EQ(inotify_add_watch(ino, name, i == 2 ? IN_CREATE : IN_CREATE | IN_DELETE), i);
	}
	for (int i = 1; i <= 4; i++)
		if (i != 2)
			CHECK_EQ(inotify_rm_watch(ino, i), 0);
	char drop[512];
	while (read(ino, drop, sizeof drop) > 0) // the IN_IGNORED events
		;
}

static void check_files(void)
{
	char text[32];
	int n = snprintf(text, sizeof text, "%ld\n", victim_step);
	static off_t log_size;
	struct stat st;
	CHECK_EQ(lseek(log_fd, 0, SEEK_CUR), log_size);
	CHECK(fstat(log_fd, &st) == 0 && st.st_size == log_size);
	CHECK(fstat(append_fd, &st) == 0 && st.st_size == log_size);
	CHECK(stat("append.log", &st) == 0 && st.st_size == log_size);
	CHECK_EQ(write(log_fd, text, n), n);
	CHECK_EQ(write(append_fd, text, n), n);
	log_size += n;
	CHECK_EQ(lseek(shared_a, victim_step % 19, SEEK_SET), victim_step % 19); // one offset, two numbers
	CHECK_EQ(lseek(shared_b, 0, SEEK_CUR), victim_step % 19);
	CHECK_EQ(read(shared_b, text, 1), 1);
	CHECK_EQ(text[0], "0123456789abcdefghij"[victim_step % 19]);
	static uint64_t back[DELETED / 8];
	CHECK_EQ(pread(high, back, DELETED, 0), DELETED);
	CHECK(memcmp(back, deleted_content, DELETED) == 0);
	CHECK(fstat(deleted_fd, &st) == 0 && st.st_nlink == 0 && st.st_size == DELETED);
	deleted_content[victim_step % 1000] = victim_step;
	CHECK_EQ(pwrite(deleted_fd, &deleted_content[victim_step % 1000], 8, victim_step % 1000 * 8), 8);
}

static void check_queues(void)
{
	long v;
	static long expect;
	int queued;
	CHECK_EQ(fcntl(rot[0], F_GETPIPE_SZ), 16384);
	CHECK_EQ(ioctl(rot[0], FIONREAD, &queued), 0);
	CHECK_EQ(queued, KEPT * (int)sizeof v);
	CHECK_EQ(read(rot[0], &v, sizeof v), sizeof v);
	CHECK_EQ(v, expect);
	v = expect++ + KEPT;
	CHECK_EQ(write(rot[1], &v, sizeof v), sizeof v);
	CHECK_EQ(ioctl(fifo[0], FIONREAD, &queued), 0);
	CHECK_EQ(queued, 11);
	CHECK_EQ(ioctl(half_open, FIONREAD, &queued), 0);
	CHECK_EQ(queued, 10);
	uint64_t count = 1;
	CHECK_EQ(write(event, &count, 8), 8);
}

// finish makes the checks that use the state up.
static void finish(void)
{
	char buf[64];
	uint64_t n;
	CHECK_EQ(read(event, &n, 8), 8);
	CHECK_EQ(n, 5 + victim_step);
	for (int i = 0; i < 3; i++)
		CHECK(read(semaphore, &n, 8) == 8 && n == 1);
	CHECK(read(semaphore, &n, 8) == -1 && errno == EAGAIN);
	for (int i = 1; i <= 3; i++)
		CHECK_EQ(read(packets[0], buf, sizeof buf), i * 2);
	CHECK(read(half_open, buf, sizeof buf) == 10 && read(half_open, buf, sizeof buf) == 0);
	struct epoll_event e[8];
	CHECK_EQ(epoll_wait(ep, e, 8, 0), 3);
	CHECK_EQ(e[0].data.u64 ^ e[1].data.u64 ^ e[2].data.u64, 0x1111222233334444 ^ 0x5555666677778888 ^ 0x9999);
	CHECK_EQ(read(ep_ready, &n, 8), 8);
	CHECK_EQ(epoll_wait(ep, e, 8, 0), 1);
	CHECK(read(fifo[0], buf, sizeof buf) == 11 && memcmp(buf, "in the fifo", 11) == 0);
	struct signalfd_siginfo si;
	CHECK_EQ(read(sig, &si, sizeof si), sizeof si);
	CHECK(si.ssi_signo == (unsigned)SIGRTMIN + 5 && si.ssi_int == 99);
	snprintf(buf, sizeof buf, "/proc/self/fd/%d", nameless);
	struct stat st;
	CHECK_EQ(linkat(AT_FDCWD, buf, AT_FDCWD, "named", AT_SYMLINK_FOLLOW), 0);
	CHECK(stat("named", &st) == 0 && st.st_size == HUGE && st.st_blocks < 64 && (st.st_mode & 0777) == 0640);
	CHECK(pread(nameless, buf, 5, 0) == 5 && memcmp(buf, "begin", 5) == 0);
	CHECK(pread(nameless, buf, 64, HUGE - 3) == 3 && memcmp(buf, "end", 3) == 0);
	for (int more; (more = next_entries(4096)) >= 0;)
		dir_seen += more;
	CHECK_EQ(dir_seen, ENTRIES);
	CHECK_EQ(mkdir("watch-2/x", 0700) | mkdir("watch-3/x", 0700) | mkdir("watch-5/x", 0700), 0);
	struct inotify_event *ev = (void *)buf;
	char events[512];
	CHECK_EQ(read(ino, events, sizeof events), 2 * (sizeof *ev + 16));
	ev = (void *)events;
	CHECK(ev->wd == 2 && (ev->mask & IN_CREATE));
	ev = (void *)(events + sizeof *ev + ev->len);
	CHECK(ev->wd == 5 && (ev->mask & IN_CREATE));
}

static void tamper(void)
{
	uint64_t n;
	struct epoll_event e = {.events = EPOLLIN | EPOLLPRI};
	if (tampering(1))
		lseek(log_fd, 1, SEEK_CUR);
	if (tampering(2))
		ftruncate(log_fd, 1) ? _exit(3) : 0;
	if (tampering(3))
		dup2(open("plain", O_RDONLY | O_CLOEXEC), shared_b);
	if (tampering(4))
		CHECK(read(rot[0], &n, 8) == 8);
	if (tampering(5))
		fcntl(packets[0], F_SETFD, 0);
	if (tampering(6))
		close(high);
	if (tampering(7))
		must(open("/dev/null", O_RDONLY));
	if (tampering(8))
		epoll_ctl(ep, EPOLL_CTL_MOD, fifo[0], &e);
	if (tampering(9))
		inotify_rm_watch(ino, 2);
	if (tampering(10))
		CHECK(read(event, &n, 8) == 8);
	if (tampering(11))
		fcntl(rot[0], F_SETFL, 0);
	if (tampering(12))
		pwrite(deleted_fd, "x", 1, 5000) == 1 ? 0 : _exit(3);
	if (tampering(13))
		lseek(dir_fd, 0, SEEK_SET);
	if (tampering(14))
		CHECK(read(semaphore, &n, 8) == 8);
	if (tampering(15))
		pwrite(nameless, "x", 1, HUGE - 1) == 1 ? 0 : _exit(3);
}

int main(int argc, char **argv)
{
	victim_init(argc, argv, 15);
	CHECK(mkdir("fds", 0700) == 0 && chdir("fds") == 0);
	open_files();
	open_directory();
	open_pipes();
	open_epoll();
	open_events();
	fd_remember(log_fd, append_fd, shared_a, shared_b, event);
	ready();
	while (step()) {
		tamper();
		fd_compare();
		check_files();
		check_queues();
		nap(4);
	}
	finish();
	return pass();
}
