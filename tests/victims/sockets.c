// test: listening TCP, UDP and unix sockets with options; they accept and receive after a restore.
#include "victim.h"
#include "fdtable.h"
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/un.h>

static int tcp, tcp6, udp, path_listener, abstract_listener;
static struct sockaddr_in tcp_addr, udp_addr;
static struct sockaddr_in6 tcp6_addr;
static struct sockaddr_un path_addr, abstract_addr;
static socklen_t abstract_len;

static int must(int fd)
{
	CHECK(fd >= 0);
	return fd;
}

static void option(int fd, int level, int name, int value)
{
	CHECK_EQ(setsockopt(fd, level, name, &value, sizeof value), 0);
}

static int get_option(int fd, int level, int name)
{
	int value = -1;
	socklen_t n = sizeof value;
	CHECK_EQ(getsockopt(fd, level, name, &value, &n), 0);
	return value;
}

static void open_inet(void)
{
	socklen_t n = sizeof tcp_addr;
	tcp_addr = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	udp_addr = tcp_addr;
	tcp = must(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
	option(tcp, SOL_SOCKET, SO_REUSEADDR, 1);
	option(tcp, SOL_SOCKET, SO_KEEPALIVE, 1);
	option(tcp, IPPROTO_TCP, TCP_NODELAY, 1);
	option(tcp, IPPROTO_TCP, TCP_KEEPIDLE, 77);
	CHECK_EQ(bind(tcp, (void *)&tcp_addr, n) | listen(tcp, 17), 0);
	CHECK_EQ(getsockname(tcp, (void *)&tcp_addr, &n), 0);
	udp = must(socket(AF_INET, SOCK_DGRAM, 0));
	option(udp, SOL_SOCKET, SO_BROADCAST, 1);
	CHECK_EQ(bind(udp, (void *)&udp_addr, n), 0);
	CHECK_EQ(getsockname(udp, (void *)&udp_addr, &n), 0);
	tcp6 = socket(AF_INET6, SOCK_STREAM, 0);
	tcp6_addr = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
	n = sizeof tcp6_addr;
	if (tcp6 >= 0)
		option(tcp6, IPPROTO_IPV6, IPV6_V6ONLY, 1);
	if (tcp6 >= 0 && bind(tcp6, (void *)&tcp6_addr, n) == 0) {
		CHECK_EQ(listen(tcp6, 5) | getsockname(tcp6, (void *)&tcp6_addr, &n), 0);
	} else if (tcp6 >= 0)
		close(tcp6), tcp6 = -1;
}

static void open_unix(void)
{
	path_addr = (struct sockaddr_un){.sun_family = AF_UNIX, .sun_path = "listener.sock"};
	path_listener = must(socket(AF_UNIX, SOCK_STREAM, 0));
	CHECK_EQ(bind(path_listener, (void *)&path_addr, sizeof path_addr) | listen(path_listener, 9), 0);
	abstract_addr.sun_family = AF_UNIX;
	int n = snprintf(abstract_addr.sun_path + 1, 90, "crtrace-victim-%d", (int)getpid());
	abstract_len = sizeof(sa_family_t) + 1 + n;
	abstract_listener = must(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
	CHECK_EQ(bind(abstract_listener, (void *)&abstract_addr, abstract_len) | listen(abstract_listener, 3), 0);
}

static void check_each_step(void)
{
	struct sockaddr_storage a;
	socklen_t n = sizeof a;
	CHECK(getsockname(tcp, (void *)&a, &n) == 0 && memcmp(&a, &tcp_addr, sizeof tcp_addr) == 0);
	n = sizeof a;
	CHECK(getsockname(udp, (void *)&a, &n) == 0 && memcmp(&a, &udp_addr, sizeof udp_addr) == 0);
	n = sizeof a;
	CHECK(getsockname(abstract_listener, (void *)&a, &n) == 0 && n == abstract_len && memcmp(&a, &abstract_addr, n) == 0);
	CHECK_EQ(get_option(tcp, SOL_SOCKET, SO_ACCEPTCONN), 1);
	CHECK_EQ(get_option(tcp, SOL_SOCKET, SO_REUSEADDR), 1);
	CHECK_EQ(get_option(tcp, SOL_SOCKET, SO_KEEPALIVE), 1);
	CHECK_EQ(get_option(tcp, IPPROTO_TCP, TCP_NODELAY), 1);
	CHECK_EQ(get_option(tcp, IPPROTO_TCP, TCP_KEEPIDLE), 77);
	CHECK_EQ(get_option(udp, SOL_SOCKET, SO_BROADCAST), 1);
}

static void call(int listener, const void *addr, socklen_t len, int type)
{
	char text[8];
	int c = must(socket(((const struct sockaddr *)addr)->sa_family, type, 0));
	CHECK_EQ(connect(c, addr, len), 0);
	struct pollfd p = {listener, POLLIN, 0};
	CHECK_EQ(poll(&p, 1, 5000), 1);
	int s = must(accept(listener, NULL, NULL));
	CHECK(write(c, "hello", 5) == 5 && read(s, text, 8) == 5 && memcmp(text, "hello", 5) == 0);
	close(c), close(s);
}

static void finish(void)
{
	char text[64];
	call(tcp, &tcp_addr, sizeof tcp_addr, SOCK_STREAM);
	if (tcp6 >= 0)
		call(tcp6, &tcp6_addr, sizeof tcp6_addr, SOCK_STREAM);
	call(path_listener, &path_addr, sizeof path_addr, SOCK_STREAM);
	call(abstract_listener, &abstract_addr, abstract_len, SOCK_SEQPACKET);
	CHECK_EQ(sendto(udp, "datagram", 8, 0, (void *)&udp_addr, sizeof udp_addr), 8);
	CHECK_EQ(recv(udp, text, sizeof text, 0), 8);
}

static void tamper(void)
{
	if (tampering(1)) {
		close(tcp);
		CHECK_EQ(must(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)), tcp);
	}
	if (tampering(2))
		option(tcp, IPPROTO_TCP, TCP_KEEPIDLE, 7200);
	if (tampering(3))
		CHECK_EQ(unlink("listener.sock"), 0);
	if (tampering(4))
		close(abstract_listener);
}

int main(int argc, char **argv)
{
	victim_init(argc, argv, 4);
	open_inet();
	open_unix();
	fd_remember(-1, -1, -1, -1, -1);
	ready();
	while (step()) {
		tamper();
		fd_compare();
		check_each_step();
		nap(4);
	}
	finish();
	return pass();
}
