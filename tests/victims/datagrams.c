// test: datagram sockets between processes, of UDP and unix: addresses, peers, queues with senders, one of whom has gone.
#include "family.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>

enum { WAYS = 5, AHEAD = 4 };
static const struct way {
	int family, connected; // connected: the receiver takes messages from its sender only
	const char *name;      // of a unix socket; '@' for an abstract one
} ways[WAYS] = {
	{AF_INET, 0, NULL}, {AF_INET, 1, NULL}, {AF_INET6, 0, NULL}, {AF_UNIX, 0, "in.sock"}, {AF_UNIX, 0, "@in"},
};
struct address {
	socklen_t size;
	union {
		struct sockaddr any;
		struct sockaddr_in in;
		struct sockaddr_in6 in6;
		struct sockaddr_un un;
		char bytes[128];
	};
};
static int in[WAYS], out[WAYS];
static struct address in_at[WAYS], out_at[WAYS], gone_at;

static void own(int fd, struct address *a)
{
	memset(a, 0, sizeof *a);
	a->size = sizeof a->bytes;
	CHECK_EQ(getsockname(fd, &a->any, &a->size), 0);
}

static void others(int fd, struct address *a)
{
	memset(a, 0, sizeof *a);
	a->size = sizeof a->bytes;
	CHECK_EQ(getpeername(fd, &a->any, &a->size), 0);
}

static void same(const struct address *a, const struct address *b)
{
	CHECK_EQ(a->size, b->size);
	CHECK(memcmp(a->bytes, b->bytes, a->size) == 0);
}

// bind_to gives a socket an address of its way: a free port, or a name.
static void bind_to(int fd, const struct way *w, const char *suffix)
{
	struct address a = {0};
	a.any.sa_family = w->family;
	a.size = w->family == AF_INET ? sizeof a.in : sizeof a.in6;
	if (w->family == AF_INET)
		a.in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	else if (w->family == AF_INET6)
		a.in6.sin6_addr = in6addr_loopback;
	else {
		int n = snprintf(a.un.sun_path, sizeof a.un.sun_path, w->name[0] == '@' ? "@%s-%d%s" : "%s", w->name, (int)getpid(), suffix);
		if (w->name[0] != '@')
			n = snprintf(a.un.sun_path, sizeof a.un.sun_path, "%s%s", w->name, suffix);
		else
			a.un.sun_path[0] = 0;
		a.size = offsetof(struct sockaddr_un, sun_path) + n + 1;
	}
	CHECK_EQ(bind(fd, &a.any, a.size), 0);
}

// expect receives a message and checks it and its sender.
static void expect(int fd, int64_t value, const struct address *from)
{
	struct {
		int64_t value;
		char more[8];
	} m;
	struct address a = {.size = sizeof a.bytes};
	CHECK_EQ(recvfrom(fd, &m, sizeof m, MSG_DONTWAIT, &a.any, &a.size), sizeof m.value + (value & 7));
	CHECK_EQ(m.value, value);
	same(&a, from);
}

// put sends a message whose length depends on its value.
static void put(int fd, int64_t value)
{
	struct {
		int64_t value;
		char more[8];
	} m = {.value = value};
	CHECK_EQ(send(fd, &m, sizeof m.value + (value & 7), 0), sizeof m.value + (value & 7));
}

static void send_step(long step)
{
	for (int i = 0; i < WAYS; i++) {
		struct address a;
		own(out[i], &a), same(&a, &out_at[i]);
		others(out[i], &a), same(&a, &in_at[i]);
		put(out[i], step + AHEAD);
	}
}

static void receive_step(long step)
{
	for (int i = 0; i < WAYS; i++) {
		struct address a;
		own(in[i], &a), same(&a, &in_at[i]);
		if (ways[i].connected)
			others(in[i], &a), same(&a, &out_at[i]);
		else
			CHECK(getpeername(in[i], &a.any, &a.size) == -1 && errno == ENOTCONN);
		expect(in[i], step, &out_at[i]);
	}
}

static void set_up(void)
{
	for (int i = 0; i < WAYS; i++) {
		in[i] = socket(ways[i].family, SOCK_DGRAM, 0);
		if (in[i] < 0)
			unsupported("a socket");
		out[i] = socket(ways[i].family, SOCK_DGRAM, 0);
		bind_to(in[i], &ways[i], "");
		bind_to(out[i], &ways[i], ".out");
		own(in[i], &in_at[i]), own(out[i], &out_at[i]);
		CHECK_EQ(connect(out[i], &in_at[i].any, in_at[i].size), 0);
		if (ways[i].connected)
			CHECK_EQ(connect(in[i], &out_at[i].any, out_at[i].size), 0);
		for (int64_t v = 1; v <= AHEAD; v++)
			put(out[i], v);
	}
}

// one_more sends a message that is read at the end from a socket that nobody has by then.
static int one_more(void)
{
	struct address at = {0};
	int fd = socket(AF_INET, SOCK_DGRAM, 0), gone = socket(AF_INET, SOCK_DGRAM, 0);
	bind_to(fd, &ways[0], ""), bind_to(gone, &ways[0], "");
	own(fd, &at), own(gone, &gone_at);
	CHECK_EQ(connect(gone, &at.any, at.size), 0);
	put(gone, 4711), put(gone, 0);
	close(gone);
	return fd;
}

static void tamper(void)
{
	int64_t got;
	if (tampering(1))
		recv(in[0], &got, sizeof got, 0);
	if (tampering(2)) { // as if the peer had been forgotten
		struct sockaddr none = {AF_UNSPEC};
		connect(in[1], &none, sizeof none);
	}
	if (tampering(3)) { // as if a message had come from somebody else
		int fd = socket(AF_INET6, SOCK_DGRAM, 0);
		while (recv(in[2], &got, sizeof got, MSG_DONTWAIT) > 0)
			;
		got = victim_step;
		sendto(fd, &got, sizeof got, 0, &in_at[2].any, in_at[2].size);
	}
	if (tampering(4)) { // as if the order were another
		recv(in[3], &got, sizeof got, 0);
		sendto(in[4], &got, sizeof got, 0, &in_at[3].any, in_at[3].size);
	}
	if (tampering(5))
		close(in[4]);
}

int main(int argc, char **argv)
{
	victim_init(argc, argv, 5);
	family_init();
	set_up();
	int last = one_more();
	int pid = fork();
	if (pid == 0) {
		for (int i = 0; i < WAYS; i++)
			close(in[i]);
		enroll(1);
		serve(1, send_step);
	}
	await_enrolled(1);
	for (int i = 0; i < WAYS; i++)
		close(out[i]);
	ready();
	while (step()) {
		tamper();
		ask_all();
		receive_step(victim_step);
		nap(4);
	}
	expect(last, 4711, &gone_at);
	expect(last, 0, &gone_at);
	dismiss(1, 4);
	wait_exit(pid, 4);
	for (int64_t v = 1; v <= AHEAD; v++)
		for (int i = 0; i < WAYS; i++)
			expect(in[i], victim_step + v, &out_at[i]);
	return pass();
}
