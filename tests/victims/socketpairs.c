// test: connected unix sockets within the program: unread content, message boundaries, half-closed ends, options.
#include "victim.h"
#include "fdtable.h"
#include <sys/socket.h>

static int stream[2], datagram[2], seqpacket[2], turning[2];

static void set_up(void)
{
	int on = 1;
	CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, stream), 0);
	CHECK_EQ(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, datagram), 0);
	CHECK_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, seqpacket), 0);
	CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, turning), 0);
	CHECK_EQ(setsockopt(datagram[0], SOL_SOCKET, SO_TIMESTAMP, &on, sizeof on), 0);
	CHECK_EQ(write(stream[1], "unread stream bytes", 19), 19);
	CHECK(write(datagram[1], "one", 3) == 3 && write(datagram[1], "three", 5) == 5);
	CHECK_EQ(write(seqpacket[0], "record", 6), 6);
	CHECK_EQ(shutdown(stream[0], SHUT_WR), 0);
	for (long v = 1; v <= 20; v++)
		CHECK_EQ(write(turning[0], &v, sizeof v), sizeof v);
}

static void check_each_step(void)
{
	int queued, on = 0;
	socklen_t n = sizeof on;
	long v;
	CHECK_EQ(ioctl(stream[0], FIONREAD, &queued), 0);
	CHECK_EQ(queued, 19);
	struct pollfd p = {stream[0], POLLIN | POLLOUT | POLLHUP, 0};
	CHECK_EQ(poll(&p, 1, 0), 1);
	CHECK_EQ(p.revents, POLLIN | POLLOUT); // POLLHUP would mean that both directions are shut down
	CHECK(getsockopt(datagram[0], SOL_SOCKET, SO_TIMESTAMP, &on, &n) == 0 && on == 1);
	CHECK_EQ(read(turning[1], &v, sizeof v), sizeof v);
	CHECK_EQ(v, victim_step);
	v += 20;
	CHECK_EQ(write(turning[0], &v, sizeof v), sizeof v);
}

static void finish(void)
{
	char text[64];
	CHECK(read(stream[0], text, sizeof text) == 19 && memcmp(text, "unread stream bytes", 19) == 0);
	CHECK_EQ(read(stream[1], text, sizeof text), 0); // the other end shut its side down
	CHECK(read(datagram[0], text, sizeof text) == 3 && memcmp(text, "one", 3) == 0);
	CHECK(read(datagram[0], text, sizeof text) == 5 && memcmp(text, "three", 5) == 0);
	CHECK(read(datagram[0], text, sizeof text) == -1 && errno == EAGAIN);
	CHECK(read(seqpacket[1], text, sizeof text) == 6 && memcmp(text, "record", 6) == 0);
}

static void tamper(void)
{
	char c[8];
	if (tampering(1))
		CHECK_EQ(read(stream[0], c, 1), 1);
	if (tampering(2))
		CHECK_EQ(read(datagram[0], c, 1), 1);
	if (tampering(3))
		CHECK_EQ(shutdown(stream[0], SHUT_RD), 0);
	if (tampering(4))
		CHECK_EQ(read(turning[1], c, 8), 8);
	if (tampering(5))
		CHECK_EQ(read(seqpacket[1], c, 8), 6);
	if (tampering(6))
		CHECK_EQ(write(stream[1], "more", 4), 4);
}

int main(int argc, char **argv)
{
	victim_init(argc, argv, 6);
	set_up();
	fd_remember(-1, -1, -1, -1, -1);
	ready();
	while (step()) {
		tamper();
		fd_compare();
		check_each_step();
		nap(4);
	}
	fcntl(seqpacket[1], F_SETFL, O_NONBLOCK); // a lost record must not block for ever
	finish();
	return pass();
}
