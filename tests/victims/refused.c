// test: objects that no unprivileged restore can bring back; a checkpoint must refuse them and leave the program unharmed.
// With the kind "tcp-again" it connects again when its connection is reset, as often as RESETS says.
// It is called as "refused STOPFILE STEPS SLACK TAMPER KIND [ADDRESS PORT [RESETS]]".
#include "victim.h"
#include <arpa/inet.h>
#include <linux/io_uring.h>
#include <linux/perf_event.h>
#include <linux/userfaultfd.h>
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
