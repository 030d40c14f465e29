// A thread for every kind of call that waits. Each call is meant to take 300 ms;
// the thread tells what came of it: "NAME RESULT ERRNO MILLISECONDS". Calls with
// a time-out end by it, the others because main lets something happen.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <linux/futex.h>
#include <mqueue.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/select.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MS 300
static pthread_barrier_t ready;
static int data[2], msgq, sem, listener, lockfile, posixlock, efd, sfd, idle[2], inof, child;
static char path[] = "/tmp/blocked-XXXXXX", path2[] = "/tmp/blocked-XXXXXX", dir[] = "/tmp/blocked-XXXXXX";
static const struct timespec ts = {0, MS * 1000000L};
static const struct timeval tv = {0, MS * 1000L};

static void pairs(int v[2], int option, int fill)
{
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, v))
		abort();
	if (option)
		setsockopt(v[0], SOL_SOCKET, option, &tv, sizeof tv);
	if (fill) {
		char b[4096] = {0};
		fcntl(v[0], F_SETFL, O_NONBLOCK);
		while (write(v[0], b, sizeof b) > 0)
			;
		fcntl(v[0], F_SETFL, 0);
	}
}

static long run(int k)
{
	struct timespec t = ts, rem, abs;
	struct timeval v = tv;
	struct pollfd pf = {idle[0], POLLIN, 0};
	struct epoll_event ev;
	struct sembuf sb = {0, -1, 0}, sb1 = {1, -1, 0};
	struct { long type; char text[8]; } m;
	static _Atomic int word;
	char b[64];
	int p[2], fd;
	fd_set set;
	sigset_t s;
	FD_ZERO(&set);
	FD_SET(idle[0], &set);
	sigemptyset(&s);
	sigaddset(&s, SIGRTMAX);
	clock_gettime(CLOCK_MONOTONIC, &abs);
	abs.tv_nsec += MS * 1000000L;
	if (abs.tv_nsec >= 1000000000L) {
		abs.tv_sec++;
		abs.tv_nsec -= 1000000000L;
	}
	switch (k) {
	case 0: return nanosleep(&t, 0);
	case 1: return nanosleep(&t, &rem);
	case 2: return clock_nanosleep(CLOCK_MONOTONIC, 0, &t, 0);
	case 3: return clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &abs, 0);
	case 4: return poll(&pf, 1, MS);
	case 5: return ppoll(&pf, 1, &t, 0);
	case 6: return select(idle[0] + 1, &set, 0, 0, &v);
	case 7: return pselect(idle[0] + 1, &set, 0, 0, &t, 0);
	case 8: return epoll_wait(epoll_create1(0), &ev, 1, MS);
	case 9: return epoll_pwait(epoll_create1(0), &ev, 1, MS, 0);
	case 10: return syscall(SYS_futex, &word, FUTEX_WAIT, 0, &t, 0, 0);
	case 11: return syscall(SYS_futex, &word, FUTEX_WAIT_BITSET, 0, &abs, 0, -1);
	case 12: return sigtimedwait(&s, 0, &t);
	case 13: return semtimedop(sem, &sb, 1, &t);
	case 14: pairs(p, SO_RCVTIMEO, 0); return recv(p[0], b, 1, 0);
	case 15: pairs(p, SO_RCVTIMEO, 0); return read(p[0], b, 1);
	case 16: pairs(p, SO_RCVTIMEO, 0); { struct iovec i = {b, 1}; return readv(p[0], &i, 1); }
	case 17: pairs(p, SO_RCVTIMEO, 0); { struct iovec i = {b, 1}; struct msghdr h = {.msg_iov = &i, .msg_iovlen = 1}; return recvmsg(p[0], &h, 0); }
	case 18: pairs(p, SO_RCVTIMEO, 0); { struct iovec i = {b, 1}; struct mmsghdr h = {.msg_hdr = {.msg_iov = &i, .msg_iovlen = 1}}; return recvmmsg(p[0], &h, 1, 0, 0); }
	case 19: pairs(p, SO_SNDTIMEO, 1); return send(p[0], b, 64, 0);
	case 20: pairs(p, SO_SNDTIMEO, 1); return write(p[0], b, 64);
	case 21: pairs(p, SO_SNDTIMEO, 1); { struct iovec i = {b, 64}; return writev(p[0], &i, 1); }
	case 22: pairs(p, SO_SNDTIMEO, 1); { struct iovec i = {b, 64}; struct msghdr h = {.msg_iov = &i, .msg_iovlen = 1}; return sendmsg(p[0], &h, 0); }
	// From here on main ends the wait.
	case 23: return read(data[0], b, 1);
	case 24: return accept(listener, 0, 0) < 0 ? -1 : 0;
	case 25: return waitpid(child, 0, 0) == child ? 0 : -1;
	case 26: return msgrcv(msgq, &m, 8, 0, 0);
	case 27: fd = open(path, O_RDWR); return flock(fd, LOCK_EX);
	case 28: { struct flock f = {.l_type = F_WRLCK}; fd = open(path2, O_RDWR); return fcntl(fd, F_SETLKW, &f); }
	case 29: { uint64_t n; return read(efd, &n, 8); }
	case 30: return read(inof, b, 64) > 0 ? 0 : -1;
	case 31: return semop(sem, &sb1, 1);
	case 32: { uint64_t n; struct itimerspec it = {.it_value = ts}; fd = timerfd_create(CLOCK_MONOTONIC, 0); timerfd_settime(fd, 0, &it, 0); return read(fd, &n, 8); }
	case 33: return poll(&(struct pollfd){data[0], 0, 0}, 0, MS);
	case 34: pipe(p); return splice(idle[0], 0, p[1], 0, 1, 0) < 0 ? -1 : 0;
	case 35: { aio_context_t c = 0; struct io_event e; syscall(SYS_io_setup, 1, &c); return syscall(SYS_io_getevents, c, 1, 1, &e, &t); }
	case 36: { struct mq_attr a = {.mq_maxmsg = 1, .mq_msgsize = 64}; mqd_t q; char n[32]; sprintf(n, "/blocked-%d", getpid());
		q = mq_open(n, O_RDWR | O_CREAT, 0600, &a); mq_unlink(n);
		clock_gettime(CLOCK_REALTIME, &t); t.tv_nsec += MS * 1000000L; if (t.tv_nsec >= 1000000000L) { t.tv_sec++; t.tv_nsec -= 1000000000L; }
		return mq_timedreceive(q, b, 64, 0, &t); }
	case 37: return sigsuspend(&s);
	case 38: { struct signalfd_siginfo si; return read(sfd, &si, sizeof si) > 0 ? 0 : -1; }
	}
	return -2;
}

static const char *names[] = {"nanosleep", "nanosleep_rem", "clock_nanosleep", "clock_nanosleep_abs", "poll", "ppoll", "select", "pselect",
	"epoll_wait", "epoll_pwait", "futex", "futex_bitset", "sigtimedwait", "semtimedop", "recv_timeo", "read_timeo", "readv_timeo",
	"recvmsg_timeo", "recvmmsg_timeo", "send_timeo", "write_timeo", "writev_timeo", "sendmsg_timeo",
	"read_pipe", "accept", "waitpid", "msgrcv", "flock", "setlkw", "read_eventfd", "read_inotify", "semop", "read_timerfd", "poll_none", "splice",
	"io_getevents", "mq_timedreceive", "sigsuspend", "read_signalfd"};
enum { N = sizeof names / sizeof *names };
static pthread_t threads[N];

static void on_usr2(int sig) { (void)sig; }

static void *thread(void *arg)
{
	int k = (int)(long)arg;
	struct timespec a, b;
	pthread_barrier_wait(&ready);
	clock_gettime(CLOCK_MONOTONIC, &a);
	errno = 0;
	long r = run(k);
	int e = errno;
	clock_gettime(CLOCK_MONOTONIC, &b);
	printf("%s %ld %d %ld\n", names[k], r, e, (b.tv_sec - a.tv_sec) * 1000 + (b.tv_nsec - a.tv_nsec) / 1000000);
	return 0;
}

int main(void)
{
	char c;
	setvbuf(stdout, 0, _IOLBF, 0);
	sigset_t s;
	sigemptyset(&s);
	sigaddset(&s, SIGRTMAX);
	sigaddset(&s, SIGUSR1);
	sigaddset(&s, SIGUSR2);
	sigprocmask(SIG_BLOCK, &s, 0);
	signal(SIGUSR2, on_usr2);
	sigset_t one;
	sigemptyset(&one);
	sigaddset(&one, SIGUSR1);
	if (pipe(data) || pipe(idle))
		return 2;
	efd = eventfd(0, 0);
	sfd = signalfd(-1, &one, 0);
	inof = inotify_init();
	inotify_add_watch(inof, mkdtemp(dir), IN_CREATE);
	msgq = msgget(IPC_PRIVATE, 0600);
	sem = semget(IPC_PRIVATE, 2, 0600);
	lockfile = mkstemp(path);
	flock(lockfile, LOCK_EX);
	posixlock = mkstemp(path2);
	struct flock f = {.l_type = F_WRLCK}; // of another process
	int up[2], down[2];
	if (pipe(up) || pipe(down))
		return 2;
	int owner = fork();
	if (!owner) {
		fcntl(posixlock, F_SETLKW, &f);
		write(up[1], "x", 1);
		close(down[1]);
		read(down[0], &c, 1);
		_exit(0);
	}
	read(up[0], &c, 1);
	child = fork();
	if (!child) {
		close(down[1]);
		read(down[0], &c, 1);
		_exit(0);
	}
	listener = socket(AF_UNIX, SOCK_STREAM, 0);
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	bind(listener, (void *)&un, sizeof(sa_family_t)); // autobind
	listen(listener, 1);
	socklen_t len = sizeof un;
	getsockname(listener, (void *)&un, &len);
	pthread_barrier_init(&ready, 0, N + 1);
	for (long k = 0; k < N; k++)
		pthread_create(&threads[k], 0, thread, (void *)k);
	pthread_barrier_wait(&ready);
	printf("ready\n");
	int early = read(0, &c, 1); // the test tells when
	if (early < 0)
		printf("main -1 %d 0\n", errno);
	write(data[1], "x", 1);
	write(idle[1], "x", 1);
	close(down[1]);
	connect(socket(AF_UNIX, SOCK_STREAM, 0), (void *)&un, len);
	struct { long type; char text[8]; } m = {1, "x"};
	msgsnd(msgq, &m, 8, 0);
	flock(lockfile, LOCK_UN);
	uint64_t n = 1;
	write(efd, &n, 8);
	char file[64];
	sprintf(file, "%s/x", dir);
	close(open(file, O_CREAT | O_WRONLY, 0600));
	struct sembuf up1 = {1, 1, 0};
	semop(sem, &up1, 1);
	pthread_kill(threads[37], SIGUSR2);
	pthread_kill(threads[38], SIGUSR1);
	for (int k = 0; k < N; k++)
		pthread_join(threads[k], 0);
	waitpid(owner, 0, 0);
	unlink(path), unlink(path2), unlink(file), rmdir(dir);
	msgctl(msgq, IPC_RMID, 0), semctl(sem, 0, IPC_RMID);
	printf("PASS\n");
	return 0;
}
