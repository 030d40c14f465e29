// test: TCP streams with slow readers and full buffers: the writer waits, goes on when it can, has shut down or has closed its end behind bytes that did not get through.
#include "family.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

// How a writer has left its stream. That of WAITS is the child, in send all the time.
enum { WAITS, PUSHES, ENDS, CLOSES, WAYS };
enum { MARK = 5, WORDS = 64, SIOCINQ_ = 0x541b, SIOCOUTQ_ = 0x5411, AT_LEAST = 200000, ROOM = 100000 };

static int reader[WAYS], writer[WAYS];
static uint64_t bytes_out[WAYS], bytes_in[WAYS]; // of words that count up

// words makes the next words of a stream, from any byte on.
static const char *words(uint64_t from)
{
	static uint64_t w[WORDS + 1];
	for (int i = 0; i <= WORDS; i++)
		w[i] = from / 8 + i;
	return (char *)w + from % 8;
}

// put sends until the buffers are full, or for ever.
static void put(int way, int flags)
{
	for (;;) {
		ssize_t n = send(writer[way], words(bytes_out[way]), WORDS * 8, flags | MSG_NOSIGNAL);
		if (n < 0) {
			CHECK(flags ? errno == EAGAIN : errno == ECONNRESET || errno == EPIPE);
			return;
		}
		bytes_out[way] += n;
	}
}

// take receives some bytes and checks that they are the next.
static void take(int way, size_t most)
{
	char buf[WORDS * 8];
	ssize_t n = recv(reader[way], buf, most < sizeof buf ? most : sizeof buf, MSG_WAITALL);
	CHECK(n > 0);
	if (memcmp(buf, words(bytes_in[way]), n) != 0)
		FAIL("stream %d is wrong after %llu bytes", way, (unsigned long long)bytes_in[way]);
	bytes_in[way] += n;
}

static int queue(int fd, int which)
{
	int n = -1;
	CHECK_EQ(ioctl(fd, which, &n), 0);
	return n;
}

static int mark_of(int fd)
{
	int v = -1;
	socklen_t n = sizeof v;
	CHECK_EQ(getsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &v, &n), 0);
	return v;
}

static void set_mark(int fd, int mark) { CHECK_EQ(setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &mark, sizeof mark), 0); }

// stuff fills the buffers of both ends; the kernel gives the sender more room by and by.
static void stuff(int way)
{
	for (int64_t end = now_ms() + 100; now_ms() < end; nap(5))
		put(way, MSG_DONTWAIT);
	CHECK(bytes_out[way] > AT_LEAST);
	CHECK(queue(writer[way], SIOCOUTQ_) > 0);
}

static void set_up(void)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t n = sizeof a;
	int l = socket(AF_INET, SOCK_STREAM, 0);
	CHECK_EQ(bind(l, (void *)&a, sizeof a), 0);
	CHECK_EQ(getsockname(l, (void *)&a, &n), 0);
	CHECK_EQ(listen(l, WAYS), 0);
	for (int i = 0; i < WAYS; i++) {
		reader[i] = socket(AF_INET, SOCK_STREAM, 0);
		CHECK_EQ(connect(reader[i], (void *)&a, sizeof a), 0);
		CHECK((writer[i] = accept(l, NULL, NULL)) >= 0);
	}
	close(l);
	for (int i = 0; i < WAYS; i++) { // what WAITS and PUSHES hold back grows with each checkpoint
		int room = i <= PUSHES ? ROOM : 4 * ROOM;
		CHECK_EQ(setsockopt(writer[i], SOL_SOCKET, SO_SNDBUF, &room, sizeof room), 0);
	}
	set_mark(reader[PUSHES], MARK);
	stuff(PUSHES), stuff(ENDS), stuff(CLOSES);
	CHECK_EQ(shutdown(writer[ENDS], SHUT_WR), 0);
	CHECK_EQ(close(writer[CLOSES]), 0);
}

static void tamper(void)
{
	char c[8];
	for (int i = 0; i < WAYS; i++)
		if (tampering(i + 1))
			recv(reader[i], c, sizeof c, 0);
	if (tampering(WAYS + 1))
		set_mark(reader[PUSHES], 1);
	if (tampering(WAYS + 2))
		shutdown(writer[PUSHES], SHUT_WR);
}

// finish reads to the end what has one, and nothing may come behind it.
static void finish(int pid)
{
	char c;
	CHECK_EQ(shutdown(writer[PUSHES], SHUT_WR), 0);
	for (int i = PUSHES; i < WAYS; i++) {
		while (bytes_in[i] < bytes_out[i])
			take(i, bytes_out[i] - bytes_in[i]);
		CHECK_EQ(recv(reader[i], &c, 1, 0), 0);
	}
	close(reader[WAITS]);
	wait_exit(pid, 4);
}

int main(int argc, char **argv)
{
	victim_init(argc, argv, WAYS + 2);
	set_up();
	int pid = fork();
	if (pid == 0) {
		CHECK_EQ(prctl(PR_SET_PDEATHSIG, SIGKILL), 0);
		for (int i = 0; i < WAYS; i++) {
			close(reader[i]);
			if (i == PUSHES || i == ENDS)
				close(writer[i]);
		}
		put(WAITS, 0);
		_exit(4);
	}
	close(writer[WAITS]);
	for (int64_t end = now_ms() + 2000; queue(reader[WAITS], SIOCINQ_) < ROOM && now_ms() < end;)
		nap(1);
	ready();
	while (step()) {
		tamper();
		for (int i = 0; i < WAYS; i++)
			take(i, WORDS * 8);
		CHECK_EQ(mark_of(reader[PUSHES]), MARK);
		CHECK_EQ(mark_of(reader[WAITS]), 1);
		CHECK_EQ(mark_of(reader[CLOSES]), 1);
		put(PUSHES, MSG_DONTWAIT);
		nap(4);
	}
	finish(pid);
	return pass();
}
