// test: connections whose other end has sent something and gone before they were accepted; nothing of it may be lost.
#include "victim.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

static int listener[2];
static union {
	struct sockaddr any;
	struct sockaddr_in in;
	struct sockaddr_un un;
} at[2];
static socklen_t size[2] = {sizeof at[0].in, sizeof at[0].un};

static void set_up(void)
{
	at[0].in.sin_family = AF_INET, at[0].in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	at[1].un.sun_family = AF_UNIX;
	strcpy(at[1].un.sun_path, "waiting.sock");
	for (int i = 0; i < 2; i++) {
		listener[i] = socket(at[i].any.sa_family, SOCK_STREAM, 0);
		CHECK_EQ(bind(listener[i], &at[i].any, size[i]), 0);
		CHECK_EQ(getsockname(listener[i], &at[i].any, &size[i]), 0);
		CHECK_EQ(listen(listener[i], 5), 0);
		struct timeval limit = {5, 0};
		CHECK_EQ(setsockopt(listener[i], SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit), 0);
	}
}

// call connects, says something and is gone.
static void call(int i, long value)
{
	int fd = socket(at[i].any.sa_family, SOCK_STREAM, 0);
	CHECK_EQ(connect(fd, &at[i].any, size[i]), 0);
	CHECK_EQ(write(fd, &value, sizeof value), sizeof value);
	CHECK_EQ(close(fd), 0);
}

static void hear(int i, long want)
{
	long got = 0;
	int fd = accept(listener[i], NULL, NULL);
	CHECK(fd >= 0);
	CHECK_EQ(read(fd, &got, sizeof got), sizeof got);
	CHECK_EQ(got, want);
	CHECK_EQ(read(fd, &got, sizeof got), 0);
	close(fd);
}

int main(int argc, char **argv)
{
	victim_init(argc, argv, 1);
	set_up();
	ready();
	while (step()) {
		call(0, victim_step), call(1, -victim_step);
		nap(4);
		if (tampering(1)) // as if a connection had been reset
			close(accept(listener[1], NULL, NULL));
		hear(0, victim_step), hear(1, -victim_step);
		nap(8);
	}
	return pass();
}
