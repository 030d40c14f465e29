// test: TCP between processes, v4, v6 and v4 over v6: same ports, bytes in both queues, options, half-closed and closed ends, a connection that waits to be accepted.
#include "family.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

enum { WAYS = 3, AHEAD = 2000, BUFFER = 40000 };
static const struct way {
	int server, client; // families
} ways[WAYS] = {{AF_INET, AF_INET}, {AF_INET6, AF_INET6}, {AF_INET6, AF_INET}};
static int listener[WAYS], server[WAYS], client[WAYS];
static int half[2], closed, pending; // half[0] sends no more
static struct sockaddr_in6 names[WAYS][2];

static struct sockaddr_in6 loopback(int family, int port)
{
	struct sockaddr_in6 a = {.sin6_family = AF_INET6, .sin6_port = htons(port), .sin6_addr = IN6ADDR_LOOPBACK_INIT};
	if (family == AF_INET) {
		struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
		memset(&a, 0, sizeof a);
		memcpy(&a, &v4, sizeof v4);
	}
	return a;
}

static int port_of(int fd)
{
	struct sockaddr_in6 a;
	socklen_t n = sizeof a;
	CHECK_EQ(getsockname(fd, (void *)&a, &n), 0);
	return ntohs(a.sin6_port); // where sockaddr_in has it too
}

static struct sockaddr_in6 name(int fd, int (*get)(int, struct sockaddr *, socklen_t *))
{
	struct sockaddr_in6 a;
	socklen_t n = sizeof a;
	memset(&a, 0, sizeof a);
	CHECK_EQ(get(fd, (void *)&a, &n), 0);
	return a;
}

static int dial(int family, int port)
{
	struct sockaddr_in6 a = loopback(family, port);
	int fd = socket(family, SOCK_STREAM, 0);
	CHECK_EQ(connect(fd, (void *)&a, family == AF_INET ? sizeof(struct sockaddr_in) : sizeof a), 0);
	return fd;
}

static int taken(int fd)
{
	int c = accept(fd, NULL, NULL);
	CHECK(c >= 0);
	return c;
}

static int option(int fd, int level, int opt)
{
	int v = -1;
	socklen_t n = sizeof v;
	CHECK_EQ(getsockopt(fd, level, opt, &v, &n), 0);
	return v;
}

static void trade(int fd, long step, int sign)
{
	int64_t got, mine = sign * (step + AHEAD);
	CHECK_EQ(recv(fd, &got, sizeof got, MSG_WAITALL), sizeof got);
	CHECK_EQ(got, -sign * step);
	CHECK_EQ(send(fd, &mine, sizeof mine, 0), sizeof mine);
}

static void check_end(int fd, int way, int end)
{
	struct sockaddr_in6 own = name(fd, getsockname), other = name(fd, getpeername);
	CHECK(memcmp(&own, &names[way][end], sizeof own) == 0);
	if (ways[way].server == ways[way].client)
		CHECK(memcmp(&other, &names[way][1 - end], sizeof other) == 0);
	CHECK_EQ(option(fd, IPPROTO_TCP, TCP_NODELAY), way == 1);
	CHECK_EQ(option(fd, SOL_SOCKET, SO_KEEPALIVE), way == 2);
	if (way == 0 && end == 1)
		CHECK_EQ(option(fd, SOL_SOCKET, SO_RCVBUF), 2 * BUFFER);
}

static void serve_step(long step)
{
	for (int i = 0; i < WAYS; i++) {
		check_end(server[i], i, 0);
		trade(server[i], step, 1);
	}
}

static void listen_on(int i)
{
	struct sockaddr_in6 a = loopback(ways[i].server, 0);
	if (ways[i].server != ways[i].client)
		a.sin6_addr = in6addr_any;
	listener[i] = socket(ways[i].server, SOCK_STREAM, 0);
	CHECK_EQ(bind(listener[i], (void *)&a, ways[i].server == AF_INET ? sizeof(struct sockaddr_in) : sizeof a), 0);
	CHECK_EQ(listen(listener[i], 5), 0);
}

static void set_options(int fd, int way)
{
	int one = 1;
	if (way == 1)
		CHECK_EQ(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one), 0);
	if (way == 2)
		CHECK_EQ(setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof one), 0);
}

static void set_up(void)
{
	for (int i = 0; i < WAYS; i++) {
		listen_on(i);
		client[i] = dial(ways[i].client, port_of(listener[i]));
		server[i] = taken(listener[i]);
		set_options(client[i], i), set_options(server[i], i);
		names[i][0] = name(server[i], getsockname), names[i][1] = name(client[i], getsockname);
		for (int64_t v = 1; v <= AHEAD; v++) {
			CHECK_EQ(send(server[i], &v, sizeof v, 0), sizeof v);
			CHECK_EQ(send(client[i], &(int64_t){-v}, sizeof v, 0), sizeof v);
		}
	}
	int size = BUFFER;
	CHECK_EQ(setsockopt(client[0], SOL_SOCKET, SO_RCVBUF, &size, sizeof size), 0);
	half[0] = dial(AF_INET, port_of(listener[0]));
	half[1] = taken(listener[0]);
	CHECK_EQ(send(half[0], "last words", 10, 0), 10);
	CHECK_EQ(shutdown(half[0], SHUT_WR), 0);
	closed = dial(AF_INET, port_of(listener[0]));
	int gone = taken(listener[0]);
	CHECK_EQ(send(gone, "farewell", 8, 0), 8);
	close(gone);
	pending = dial(AF_INET6, port_of(listener[1]));
}

// see_half: what was sent before the end is there, the end behind it, and the
// other way is open.
static void see_half(void)
{
	char buf[64];
	CHECK_EQ(recv(half[1], buf, sizeof buf, MSG_PEEK), 10);
	CHECK(memcmp(buf, "last words", 10) == 0);
	struct pollfd p = {.fd = half[1], .events = POLLRDHUP};
	CHECK_EQ(poll(&p, 1, 0), 1);
	CHECK_EQ(send(half[1], "x", 1, 0), 1);
	CHECK_EQ(recv(half[0], buf, sizeof buf, 0), 1);
	CHECK_EQ(send(half[0], "y", 1, MSG_NOSIGNAL), -1);
	CHECK_EQ(errno, EPIPE);
	CHECK_EQ(recv(closed, buf, sizeof buf, MSG_PEEK), 8);
	CHECK(memcmp(buf, "farewell", 8) == 0);
	p = (struct pollfd){.fd = listener[1], .events = POLLIN};
	CHECK_EQ(poll(&p, 1, 0), 1);
}

static void tamper(void)
{
	int64_t got;
	if (tampering(1))
		recv(client[1], &got, 1, 0);
	if (tampering(2)) { // as if another port had come back
		int fd = dial(AF_INET, port_of(listener[0]));
		dup2(fd, client[0]);
	}
	if (tampering(3))
		close(taken(listener[1]));
	if (tampering(4))
		recv(half[1], &got, 3, 0);
	if (tampering(5))
		recv(closed, &got, 8, 0);
	if (tampering(6))
		setsockopt(client[2], SOL_SOCKET, SO_KEEPALIVE, &(int){0}, sizeof(int));
	if (tampering(7))
		shutdown(half[1], SHUT_WR);
}

static void finish(int pid)
{
	char buf[64];
	int64_t got;
	CHECK_EQ(recv(half[1], buf, sizeof buf, 0), 10);
	CHECK_EQ(recv(half[1], buf, sizeof buf, 0), 0);
	CHECK_EQ(recv(closed, buf, sizeof buf, 0), 8);
	CHECK_EQ(recv(closed, buf, sizeof buf, 0), 0);
	int late = taken(listener[1]);
	CHECK_EQ(send(pending, "hello", 5, 0), 5);
	CHECK_EQ(recv(late, buf, sizeof buf, 0), 5);
	for (int i = 0; i < WAYS; i++)
		for (int n = 0; n < AHEAD; n++)
			CHECK_EQ(recv(client[i], &got, sizeof got, MSG_WAITALL), sizeof got);
	dismiss(1, 4);
	wait_exit(pid, 4);
}

int main(int argc, char **argv)
{
	victim_init(argc, argv, 7);
	family_init();
	set_up();
	int pid = fork();
	if (pid == 0) {
		for (int i = 0; i < WAYS; i++)
			close(client[i]), close(listener[i]);
		enroll(1);
		serve(1, serve_step);
	}
	await_enrolled(1);
	for (int i = 0; i < WAYS; i++)
		close(server[i]);
	ready();
	while (step()) {
		tamper();
		ask_all();
		for (int i = 0; i < WAYS; i++) {
			check_end(client[i], i, 1);
			trade(client[i], victim_step, -1);
		}
		see_half();
		nap(4);
	}
	finish(pid);
	return pass();
}
