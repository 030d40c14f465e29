// test: descriptors in flight in unix sockets: files, ends of pipes, sockets with queues of their own, the same one several times, between plain bytes.
#include "family.h"
#include <stddef.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>

enum { WAYS = 4, NAMED = 3, MOST = 4, RECEIVER = 1, SENDER = 2 };
static const int types[WAYS] = {SOCK_STREAM, SOCK_SEQPACKET, SOCK_DGRAM, SOCK_DGRAM}; // the last one has a name
static int tx[WAYS], rx[WAYS];
static int held[WAYS];   // also in flight, twice in a message and once in the next
static int reader[WAYS]; // of a pipe whose writing end is in flight
static int lone[2], both[2], watched[2], ep;
static int numbers; // how many descriptors this process has

// What a load may lack, as after a bad restore.
enum damage { NONE, NO_RIGHTS, OFFSET, EMPTY_PIPE, NO_WRITER, EMPTY_NEST, OTHER, COUNT, MEMORY, GLUED };

static int put(int fd, const void *data, int size, int n, ...)
{
	union {
		char bytes[CMSG_SPACE(MOST * sizeof(int))];
		struct cmsghdr align;
	} control;
	memset(&control, 0, sizeof control);
	struct iovec v = {(void *)data, size};
	struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1};
	if (n > 0) {
		va_list ap;
		m.msg_control = control.bytes, m.msg_controllen = CMSG_SPACE(n * sizeof(int));
		struct cmsghdr *h = CMSG_FIRSTHDR(&m);
		h->cmsg_level = SOL_SOCKET, h->cmsg_type = SCM_RIGHTS, h->cmsg_len = CMSG_LEN(n * sizeof(int));
		va_start(ap, n);
		for (int i = 0; i < n; i++)
			((int *)(void *)CMSG_DATA(h))[i] = va_arg(ap, int);
		va_end(ap);
	}
	return sendmsg(fd, &m, 0) == size ? 0 : -1;
}

// take receives up to room bytes and checks how many bytes and descriptors came.
static void take(int fd, char *data, int room, int size, int *fds, int n)
{
	union {
		char bytes[CMSG_SPACE(2 * MOST * sizeof(int))];
		struct cmsghdr align;
	} control;
	struct iovec v = {data, room};
	struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes};
	CHECK_EQ(recvmsg(fd, &m, MSG_DONTWAIT), size);
	CHECK_EQ(m.msg_flags & (MSG_TRUNC | MSG_CTRUNC), 0);
	struct cmsghdr *h = CMSG_FIRSTHDR(&m);
	if (n == 0) {
		CHECK(h == NULL);
		return;
	}
	CHECK(h && h->cmsg_level == SOL_SOCKET && h->cmsg_type == SCM_RIGHTS);
	CHECK_EQ(h->cmsg_len, CMSG_LEN(n * sizeof(int)));
	memcpy(fds, CMSG_DATA(h), n * sizeof(int));
}

static void nothing_left(int fd)
{
	char c;
	CHECK_EQ(recv(fd, &c, 1, MSG_DONTWAIT), -1);
	CHECK_EQ(errno, EAGAIN);
}

static int count_numbers(void)
{
	int n = 0;
	for (int fd = 0; fd < 512; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

static long place_of(long step, int way) { return (step * 8 + way * 104) % 3000; }

static int open_at(long offset)
{
	int fd = open("rights.dat", O_RDONLY);
	CHECK(fd >= 0);
	CHECK_EQ(lseek(fd, offset, SEEK_SET), offset);
	return fd;
}

// is_at checks that a descriptor leads to the file at an offset.
static void is_at(int fd, long offset)
{
	uint64_t w[2], want[512];
	CHECK_EQ(lseek(fd, 0, SEEK_CUR), offset);
	CHECK_EQ(read(fd, w, sizeof w), sizeof w);
	fill(want, sizeof want, 5);
	CHECK(memcmp(w, (char *)want + offset, sizeof w) == 0);
}

// nest returns a socket whose other end is closed and in whose queue a file is in flight.
static int nest(int type, long offset, enum damage d)
{
	int s[2], file = open_at(offset);
	CHECK_EQ(socketpair(AF_UNIX, type, 0, s), 0);
	CHECK_EQ(put(s[0], "inside", 6, d != EMPTY_NEST, file), 0);
	close(file), close(s[0]);
	return s[1];
}

// send_load sends all messages of a step. Of most of what is in them no process has
// a descriptor then.
static void send_load(int way, long step, enum damage d)
{
	int in[2], on = tx[way];
	char pipe_of[32];
	int64_t v = step;
	long at = place_of(step, way);
	int file = open_at(d == OFFSET ? at + 8 : at);
	int nested = nest(way == NAMED ? SOCK_STREAM : types[way], at + 16, d);
	int event = eventfd(d == COUNT ? step + 1 : step, 0), memory = memfd_create("flying", 0);
	snprintf(pipe_of, sizeof pipe_of, "/proc/self/fd/%d", reader[way]);
	int out = open(pipe_of, O_WRONLY);
	CHECK(pipe(in) == 0 && out >= 0);
	if (d != EMPTY_PIPE)
		CHECK_EQ(write(in[1], &v, sizeof v), sizeof v);
	v += d == MEMORY;
	CHECK_EQ(pwrite(memory, &v, sizeof v, 0), sizeof v);
	v = step;
	CHECK_EQ(lseek(held[way], at, SEEK_SET), at);
	int same = d == OTHER ? open_at(at) : dup(held[way]);
	CHECK_EQ(put(on, &v, sizeof v, d == GLUED ? 2 : 0, file, in[0]), 0);
	CHECK_EQ(put(on, "two", 3, d == GLUED || d == NO_RIGHTS ? 0 : 2, file, in[0]), 0);
	CHECK_EQ(put(on, "w", 1, 1, d == NO_WRITER ? in[1] : out), 0);
	CHECK_EQ(put(on, "nest", 4, 1, nested), 0);
	CHECK_EQ(put(on, "same!", 5, 4, same, held[way], event, memory), 0);
	CHECK_EQ(put(on, "again.", 6, 1, held[way]), 0);
	CHECK_EQ(put(on, "the end", 7, 0), 0);
	close(same), close(file), close(in[0]), close(in[1]), close(out), close(nested), close(event), close(memory);
}

static void take_load(int way, long step)
{
	char data[64];
	int fds[MOST], from = rx[way];
	int64_t v = step, got;
	long at = place_of(step, way);
	if (types[way] == SOCK_STREAM && step % 2) { // plain bytes and those with descriptors, as far as these go
		take(from, data, sizeof data, 8 + 3, fds, 2);
	} else {
		take(from, data, 8, 8, NULL, 0);
		take(from, data + 8, sizeof data - 8, 3, fds, 2);
	}
	CHECK(memcmp(data, &v, 8) == 0 && memcmp(data + 8, "two", 3) == 0);
	is_at(fds[0], at);
	CHECK_EQ(fcntl(fds[1], F_SETFL, O_NONBLOCK), 0);
	CHECK_EQ(read(fds[1], &got, sizeof got), sizeof got);
	CHECK_EQ(got, step);
	CHECK_EQ(read(fds[1], &got, sizeof got), 0);
	close(fds[0]), close(fds[1]);
	take(from, data, sizeof data, 1, fds, 1);
	CHECK_EQ(write(fds[0], &v, sizeof v), sizeof v);
	close(fds[0]);
	take(from, data, sizeof data, 4, fds, 1);
	take(fds[0], data, sizeof data, 6, fds + 1, 1);
	is_at(fds[1], at + 16);
	if (types[way] != SOCK_DGRAM)
		CHECK_EQ(recv(fds[0], data, 1, MSG_DONTWAIT), 0);
	close(fds[0]), close(fds[1]);
	take(from, data, sizeof data, 5, fds, 4);
	CHECK_EQ(lseek(fds[0], 1, SEEK_CUR), at + 1);
	CHECK_EQ(lseek(fds[1], 1, SEEK_CUR), at + 2);
	CHECK_EQ(fcntl(fds[2], F_SETFL, O_NONBLOCK), 0);
	CHECK(read(fds[2], &got, sizeof got) == sizeof got && got == step);
	CHECK(pread(fds[3], &got, sizeof got, 0) == sizeof got && got == step);
	for (int i = 0; i < 4; i++)
		close(fds[i]);
	take(from, data, sizeof data, 6, fds, 1);
	CHECK_EQ(lseek(fds[0], 1, SEEK_CUR), at + 3);
	close(fds[0]);
	take(from, data, sizeof data, 7, NULL, 0);
	nothing_left(from);
}

// The receiver takes the load of a step.
static void receive_step(long step)
{
	CHECK_EQ(count_numbers(), numbers);
	for (int i = 0; i < WAYS; i++)
		take_load(i, step);
	CHECK_EQ(count_numbers(), numbers);
}

// not_ended: the writing ends fly, so that the pipes have no end.
static void not_ended(void)
{
	CHECK_EQ(count_numbers(), numbers);
	for (int i = 0; i < WAYS; i++) {
		struct pollfd p = {.fd = reader[i], .events = POLLIN};
		CHECK_EQ(poll(&p, 1, 0), 0);
	}
}

// after_load checks what the receiver has done.
static void after_load(int way, long step)
{
	int64_t got;
	CHECK_EQ(fcntl(reader[way], F_SETFL, O_NONBLOCK), 0);
	CHECK_EQ(read(reader[way], &got, sizeof got), sizeof got);
	CHECK_EQ(got, step);
	CHECK_EQ(read(reader[way], &got, sizeof got), 0);
	CHECK_EQ(lseek(held[way], 0, SEEK_CUR), place_of(step, way) + 3);
}

// turn takes the sockets that are in flight in their own queues and sends them again.
static void turn(void)
{
	char data[16];
	int fd;
	struct stat a, b;
	take(lone[1], data, sizeof data, 4, &fd, 1); // the other end, which nobody has
	CHECK(write(fd, "x", 1) == 1 && read(lone[1], data, 1) == 1);
	CHECK_EQ(put(fd, "self", 4, 1, fd), 0);
	close(fd);
	take(both[1], data, sizeof data, 4, &fd, 1); // itself
	CHECK(fstat(fd, &a) == 0 && fstat(both[1], &b) == 0 && a.st_ino == b.st_ino);
	CHECK_EQ(fcntl(fd, F_SETFL, O_RDWR | (victim_step % 2 ? O_NONBLOCK : 0)), 0);
	CHECK_EQ(!!(fcntl(both[1], F_GETFL) & O_NONBLOCK), victim_step % 2);
	CHECK_EQ(put(both[0], "self", 4, 1, fd), 0);
	close(fd);
	struct epoll_event e[2];
	CHECK_EQ(epoll_wait(ep, e, 2, 0), 1); // watches what nobody has
	CHECK_EQ(e[0].data.u64, 77);
}

static void set_up_loops(void)
{
	struct epoll_event e = {.events = EPOLLIN, .data.u64 = 77};
	int event = eventfd(1, 0);
	CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, lone), 0);
	CHECK_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, both), 0);
	CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, watched), 0);
	ep = epoll_create1(0);
	CHECK_EQ(epoll_ctl(ep, EPOLL_CTL_ADD, event, &e), 0);
	CHECK_EQ(put(watched[0], "event", 5, 1, event), 0);
	CHECK_EQ(put(lone[0], "self", 4, 1, lone[0]), 0);
	CHECK_EQ(put(both[0], "self", 4, 1, both[1]), 0);
	close(lone[0]), close(event);
}

static void close_loops(void)
{
	close(lone[1]), close(both[0]), close(both[1]), close(watched[0]), close(watched[1]), close(ep);
}

static void set_up(void)
{
	uint64_t content[512];
	int fd = open("rights.dat", O_CREAT | O_TRUNC | O_WRONLY, 0600);
	fill(content, sizeof content, 5);
	CHECK_EQ(write(fd, content, sizeof content), sizeof content);
	close(fd);
	for (int i = 0; i < WAYS; i++) {
		int s[2];
		if (i != NAMED) {
			CHECK_EQ(socketpair(AF_UNIX, types[i], 0, s), 0);
		} else {
			struct sockaddr_un a = {.sun_family = AF_UNIX, .sun_path = "rights.sock"};
			s[0] = socket(AF_UNIX, types[i], 0), s[1] = socket(AF_UNIX, types[i], 0);
			CHECK_EQ(bind(s[1], (void *)&a, sizeof a), 0);
			CHECK_EQ(connect(s[0], (void *)&a, sizeof a), 0);
		}
		tx[i] = s[0], rx[i] = s[1];
		held[i] = open_at(0);
		CHECK_EQ(pipe(s), 0);
		reader[i] = s[0];
		send_load(i, 1, NONE);
		close(s[1]);
	}
	set_up_loops();
}

// spoil replaces the load of a way by one that lacks something.
static void spoil(int way, enum damage d)
{
	char data[64];
	while (recv(rx[way], data, sizeof data, MSG_DONTWAIT) >= 0)
		;
	send_load(way, victim_step + 1, d);
}

static void tamper(void)
{
	char data[64];
	int fd;
	for (enum damage d = NO_RIGHTS; d <= GLUED; d++) // 1 to 9
		if (tampering(d))
			spoil(d == GLUED ? 0 : d % WAYS, d);
	if (tampering(10)) // as if something in flight had got a number
		CHECK(dup(0) >= 0);
	if (tampering(11))
		recv(rx[2], data, sizeof data, 0);
	if (tampering(12)) { // as if another socket were in flight
		take(both[1], data, sizeof data, 4, &fd, 1);
		put(both[0], "self", 4, 1, both[0]);
		close(fd);
	}
	if (tampering(13)) { // as if the other end were not in flight
		take(lone[1], data, sizeof data, 4, &fd, 1);
		put(fd, "self", 4, 0);
		close(fd);
	}
	if (tampering(14)) { // as if it were not watched any more
		take(watched[1], data, sizeof data, 5, &fd, 1);
		close(fd);
	}
}

// The sender checks what the receiver has done and sends the load of the next step.
static void send_step(long step)
{
	victim_step = step;
	CHECK_EQ(count_numbers(), numbers);
	for (int i = 0; i < WAYS; i++) {
		after_load(i, step);
		send_load(i, step + 1, NONE);
	}
	turn();
	CHECK_EQ(count_numbers(), numbers);
	tamper();
}

static int enlist(int slot, void (*work)(long))
{
	int pid = fork();
	if (pid == 0) {
		for (int i = 0; i < WAYS && slot == RECEIVER; i++)
			close(tx[i]), close(held[i]), close(reader[i]);
		if (slot == RECEIVER)
			close_loops();
		numbers = count_numbers();
		enroll(slot);
		serve(slot, work);
	}
	await_enrolled(slot);
	return pid;
}

// ask_both has the receiver work first.
static void ask_both(void)
{
	not_ended();
	for (int slot = RECEIVER; slot <= SENDER; slot++) {
		family[RECEIVER].quiet = slot != RECEIVER, family[SENDER].quiet = slot != SENDER;
		ask_all();
	}
}

// bereaved: a relative has failed, and said why.
static void bereaved(int signal)
{
	_exit(signal == SIGCHLD ? 1 : 3);
}

int main(int argc, char **argv)
{
	victim_init(argc, argv, 14);
	family_init();
	set_up();
	int pids[] = {enlist(RECEIVER, receive_step), enlist(SENDER, send_step)};
	for (int i = 0; i < WAYS; i++)
		close(tx[i]), close(rx[i]), close(held[i]);
	close_loops();
	numbers = count_numbers();
	CHECK_EQ(sigaction(SIGCHLD, &(struct sigaction){.sa_handler = bereaved, .sa_flags = SA_NOCLDSTOP}, NULL), 0);
	ready();
	while (step()) {
		ask_both();
		nap(4);
	}
	ask_both();
	signal(SIGCHLD, SIG_DFL);
	for (int slot = RECEIVER; slot <= SENDER; slot++) {
		dismiss(slot, 4);
		wait_exit(pids[slot - RECEIVER], 4);
	}
	return pass();
}
