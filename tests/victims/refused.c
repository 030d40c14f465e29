// test: objects that no unprivileged restore can bring back; a checkpoint must refuse them and leave the program unharmed.
// With the kind "tcp-again" it connects again when its connection is reset, as often as RESETS says.
// It is called as "refused STOPFILE STEPS SLACK TAMPER KIND [ADDRESS PORT [RESETS] | ID]".
#include "victim.h"
#include <arpa/inet.h>
#include <linux/io_uring.h>
#include <linux/perf_event.h>
#include <linux/userfaultfd.h>
#include <mqueue.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/ipc.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/socket.h>

static int open_uring(void)
{
	struct io_uring_params p;
	memset(&p, 0, sizeof p);
	return (int)syscall(SYS_io_uring_setup, 4, &p);
}

static int open_userfaultfd(void)
{
	return (int)syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);
}

static int open_perf(void)
{
	struct perf_event_attr a;
	memset(&a, 0, sizeof a);
	a.type = PERF_TYPE_SOFTWARE, a.size = sizeof a, a.config = PERF_COUNT_SW_TASK_CLOCK, a.exclude_kernel = 1;
	return (int)syscall(SYS_perf_event_open, &a, 0, -1, -1, 0);
}

static int open_tcp(char **arg)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(atoi(arg[1]))};
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	CHECK(fd >= 0 && inet_pton(AF_INET, arg[0], &a.sin_addr) == 1);
	CHECK_EQ(connect(fd, (void *)&a, sizeof a), 0);
	return fd;
}

// talk sends one byte to the peer, which echoes it.
static int talk(int fd)
{
	char c = 'a' + victim_step % 26, back = 0;
	if (send(fd, &c, 1, MSG_NOSIGNAL) != 1 || recv(fd, &back, 1, 0) != 1)
		return -1;
	CHECK_EQ(back, c);
	return 0;
}

// open_queue opens a queue without a name that holds a message, or tells a process with a
// value that only the kernel knows.
static int open_queue(int message)
{
	struct mq_attr a = {.mq_maxmsg = 1, .mq_msgsize = 8};
	char name[32];
	snprintf(name, sizeof name, "/refused-%d", getpid());
	int q = mq_open(name, O_RDWR | O_CREAT | O_EXCL, 0600, &a);
	if (q < 0)
		return -1;
	CHECK_EQ(mq_unlink(name), 0);
	if (message) {
		CHECK_EQ(mq_send(q, "wait", 4, 0), 0);
		return q;
	}
	sigset_t blocked;
	sigemptyset(&blocked), sigaddset(&blocked, SIGUSR1);
	CHECK_EQ(sigprocmask(SIG_BLOCK, &blocked, NULL), 0);
	struct sigevent e = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1, .sigev_value.sival_int = 7};
	CHECK_EQ(mq_notify(q, &e), 0);
	return q;
}

// open_ipc uses an object that a process outside uses too, whose id is the argument.
static int open_ipc(const char *kind, const char *id)
{
	int n = atoi(id);
	if (strcmp(kind, "segment") == 0)
		CHECK(shmat(n, NULL, 0) != (void *)-1);
	else
		CHECK_EQ(semop(n, &(struct sembuf){0, 1, 0}, 1), 0);
	return dup(0);
}

// open_flying leaves a descriptor in flight that nobody has and that only a process could
// make again, or through which a lock is held.
static int open_flying(int lock)
{
	int s[2], fd = lock ? open("refused.lock", O_RDWR | O_CREAT, 0600) : (int)syscall(SYS_pidfd_open, getpid(), 0);
	if (fd < 0)
		return -1;
	CHECK(!lock || flock(fd, LOCK_EX) == 0);
	CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, s), 0);
	union {
		char bytes[CMSG_SPACE(sizeof fd)];
		struct cmsghdr h;
	} control = {.h = {.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof fd)}};
	memcpy(CMSG_DATA(&control.h), &fd, sizeof fd);
	struct iovec v = {"x", 1};
	struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes};
	CHECK_EQ(sendmsg(s[0], &m, 0), 1);
	close(fd);
	return s[1];
}

int main(int argc, char **argv)
{
	victim_init(argc, argv, 0);
	if (argc < 6)
		return 2;
	const char *kind = argv[5];
	int fd = -1, resets = argc > 8 ? atoi(argv[8]) : 0;
	errno = 0;
	if (strncmp(kind, "tcp", 3) == 0 && argc >= 8)
		fd = open_tcp(argv + 6);
	else if (strcmp(kind, "io_uring") == 0)
		fd = open_uring();
	else if (strcmp(kind, "userfaultfd") == 0)
		fd = open_userfaultfd();
	else if (strcmp(kind, "perf") == 0)
		fd = open_perf();
	else if (strcmp(kind, "messages") == 0 || strcmp(kind, "notification") == 0)
		fd = open_queue(kind[0] == 'm');
	else if (strncmp(kind, "flying-", 7) == 0)
		fd = open_flying(kind[7] == 'l');
	else if (argc == 7)
		fd = open_ipc(kind, argv[6]);
	else
		return 2;
	if (fd < 0)
		unsupported(kind);
	ready();
	while (step()) {
		CHECK(fcntl(fd, F_GETFD) >= 0);
		if (strncmp(kind, "tcp", 3) == 0 && talk(fd) < 0) {
			CHECK_EQ(errno, ECONNRESET);
			if (--resets < 0)
				FAIL("the connection was reset");
			close(fd);
			fd = open_tcp(argv + 6);
			CHECK_EQ(talk(fd), 0);
		}
		nap(4);
	}
	CHECK_EQ(resets, 0);
	return pass();
}
