// test: unix connections by name between processes: names on both ends, data in flight, listeners that are bound, abstract, or removed from the file system.
#include "family.h"
#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>

enum { WAYS = 5, AHEAD = 5 };
static const struct way {
	int type, abstract, unlinked, bound; // bound: the client has a name too
	const char *name;
} ways[WAYS] = {
	{SOCK_STREAM, 0, 0, 0, "stream.sock"}, // relative to the working directory
	{SOCK_STREAM, 1, 0, 0, "abstract"},
	{SOCK_SEQPACKET, 0, 0, 1, "packets.sock"},
	{SOCK_STREAM, 0, 1, 0, "removed.sock"},
	{SOCK_SEQPACKET, 1, 0, 1, "abstract-packets"},
};
static int listener[WAYS], server[WAYS], client[WAYS];

static socklen_t address(struct sockaddr_un *a, const struct way *w, const char *suffix)
{
	memset(a, 0, sizeof *a);
	a->sun_family = AF_UNIX;
	int n = w->abstract ? snprintf(a->sun_path + 1, sizeof a->sun_path - 1, "%s-%d%s", w->name, family[0].pid, suffix)
			    : snprintf(a->sun_path, sizeof a->sun_path, "%s%s", w->name, suffix);
	return offsetof(struct sockaddr_un, sun_path) + n + 1;
}

// is compares a name with what it must be; empty: no name.
static void is(const struct sockaddr_un *a, socklen_t size, const struct way *w, const char *suffix)
{
	struct sockaddr_un want;
	socklen_t want_size = suffix ? address(&want, w, suffix) : (want.sun_family = AF_UNIX, sizeof(sa_family_t));
	CHECK_EQ(size, want_size);
	CHECK(memcmp(a, &want, size) == 0);
}

static void check_names(int fd, const struct way *w, const char *own, const char *others)
{
	struct sockaddr_un a;
	socklen_t size = sizeof a;
	CHECK_EQ(getsockname(fd, (void *)&a, &size), 0);
	is(&a, size, w, own);
	size = sizeof a;
	CHECK_EQ(getpeername(fd, (void *)&a, &size), 0);
	is(&a, size, w, others);
	struct ucred c;
	size = sizeof c;
	CHECK_EQ(getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &c, &size), 0);
	CHECK_EQ(c.uid, getuid());
}

// trade takes what the other end has sent AHEAD steps ago and sends something.
static void trade(int fd, long step, int sign)
{
	int64_t got, mine = sign * (step + AHEAD);
	CHECK_EQ(recv(fd, &got, sizeof got, 0), sizeof got);
	CHECK_EQ(got, -sign * step);
	CHECK_EQ(send(fd, &mine, sizeof mine, 0), sizeof mine);
}

static void serve_step(long step)
{
	for (int i = 0; i < WAYS; i++) {
		check_names(server[i], &ways[i], "", ways[i].bound ? ".client" : NULL);
		trade(server[i], step, 1);
	}
}

// try_listener makes a new connection through a listener and ends it.
static void try_listener(int i)
{
	struct sockaddr_un a;
	socklen_t size = address(&a, &ways[i], "");
	int c = socket(AF_UNIX, ways[i].type, 0);
	if (ways[i].unlinked) {
		CHECK_EQ(connect(c, (void *)&a, size), -1);
		CHECK_EQ(errno, ENOENT);
	} else {
		CHECK_EQ(connect(c, (void *)&a, size), 0);
		int s = accept(listener[i], NULL, NULL);
		CHECK(s >= 0);
		close(s);
	}
	close(c);
}

static void set_up(void)
{
	family[0].pid = getpid(), family[0].quiet = 1; // makes abstract names unique
	for (int i = 0; i < WAYS; i++) {
		struct sockaddr_un a;
		socklen_t size = address(&a, &ways[i], "");
		listener[i] = socket(AF_UNIX, ways[i].type, 0);
		CHECK_EQ(bind(listener[i], (void *)&a, size), 0);
		CHECK_EQ(listen(listener[i], 5), 0);
		client[i] = socket(AF_UNIX, ways[i].type, 0);
		if (ways[i].bound) {
			struct sockaddr_un own;
			socklen_t own_size = address(&own, &ways[i], ".client");
			CHECK_EQ(bind(client[i], (void *)&own, own_size), 0);
		}
		CHECK_EQ(connect(client[i], (void *)&a, size), 0);
		server[i] = accept(listener[i], NULL, NULL);
		CHECK(server[i] >= 0);
		if (ways[i].unlinked)
			CHECK_EQ(unlink(a.sun_path), 0);
		for (int64_t v = 1; v <= AHEAD; v++) {
			CHECK_EQ(send(server[i], &v, sizeof v, 0), sizeof v);
			CHECK_EQ(send(client[i], &(int64_t){-v}, sizeof v, 0), sizeof v);
		}
	}
}

static void tamper(void)
{
	int64_t got;
	if (tampering(1))
		recv(client[0], &got, sizeof got, 0);
	if (tampering(2)) { // as if a pair without names had come back
		int pair[2];
		socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair);
		dup2(pair[0], client[2]);
	}
	if (tampering(3))
		unlink("stream.sock");
	if (tampering(4))
		close(listener[1]);
	if (tampering(5))
		rename("packets.sock", "removed.sock");
}

int main(int argc, char **argv)
{
	victim_init(argc, argv, 5);
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
			check_names(client[i], &ways[i], ways[i].bound ? ".client" : NULL, "");
			trade(client[i], victim_step, -1);
		}
		nap(4);
	}
	int64_t got;
	for (int i = 0; i < WAYS; i++)
		try_listener(i);
	for (int i = 0; i < WAYS; i++)
		for (int n = 0; n < AHEAD; n++)
			CHECK_EQ(recv(client[i], &got, sizeof got, 0), sizeof got);
	dismiss(1, 4);
	wait_exit(pid, 4);
	for (int i = 0; i < WAYS; i++) {
		CHECK_EQ(recv(client[i], &got, sizeof got, 0), -1);
		CHECK_EQ(errno, ECONNRESET); // the other end had messages of ours
		CHECK_EQ(recv(client[i], &got, sizeof got, 0), 0);
	}
	return pass();
}
