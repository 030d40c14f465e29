// test: what processes share: descriptions with their offsets, pipes and socket pairs with data in flight, memory, locks, semaphores, an epoll; and what they do not.
#include "family.h"
#include <pthread.h>
#include <semaphore.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/socket.h>

enum { KIDS = 3, PRIVATE = 1 << 20, RING = 100 };

// shared lies in a deleted file whose descriptor is closed.
static struct {
	pthread_mutex_t mutex; // robust, between processes
	sem_t sem;
	long under_lock;
} *shared;
static int file, ring[KIDS][2], pairs[KIDS][2], memory, epoll, tock[2], locked;
static int64_t *private;
static int self_slot;

static off_t offset(int fd) { return lseek(fd, 0, SEEK_CUR); }

// count_up adds one to what all processes count under a lock.
static void count_up(void)
{
	CHECK_EQ(pthread_mutex_lock(&shared->mutex), 0);
	shared->under_lock++;
	CHECK_EQ(pthread_mutex_unlock(&shared->mutex), 0);
	CHECK_EQ(sem_post(&shared->sem), 0);
}

// check_private: memory that was copied at birth stays its own.
static void check_private(long asked)
{
	CHECK_EQ(private[0], 1000 * self_slot + asked - 1);
	private[0]++;
	verify("memory of before the birth", private + 512, PRIVATE - 4096, 7);
	if (self_slot == 1) // this one has changed a page in the middle
		CHECK_EQ(private[PRIVATE / 8 + 5], 11);
	else
		CHECK_EQ(private[PRIVATE / 8 + 5], 0);
}

// kid does its part of a step: takes from its pipe what was written RING steps
// ago, answers a message, appends to the file, counts.
static void kid(long step)
{
	int64_t got, asked = step;
	check_private(asked);
	CHECK_EQ(read(ring[self_slot][0], &got, sizeof got), sizeof got);
	CHECK_EQ(got, asked);
	CHECK_EQ(recv(pairs[self_slot][1], &got, sizeof got, 0), sizeof got);
	CHECK_EQ(got, -asked);
	got *= 3;
	CHECK_EQ(send(pairs[self_slot][1], &got, sizeof got, 0), sizeof got);
	CHECK_EQ(pread(memory, &got, sizeof got, 8 * self_slot), sizeof got);
	CHECK_EQ(got, asked - 1);
	CHECK_EQ(pwrite(memory, &asked, sizeof asked, 8 * self_slot), sizeof asked);
	CHECK_EQ(write(file, "x", 1), 1);
	struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 10};
	CHECK_EQ(fcntl(locked, F_GETLK, &l), 0);
	CHECK_EQ(l.l_type, F_WRLCK);
	CHECK_EQ(l.l_pid, getppid());
	struct epoll_event e = {0};
	CHECK_EQ(epoll_wait(epoll, &e, 1, 0), 1);
	CHECK_EQ(e.data.u64, 0x1234567890ULL);
	count_up();
}

static void set_up_memory(void)
{
	int fd = open("deleted", O_RDWR | O_CREAT | O_EXCL, 0600);
	CHECK(fd >= 0);
	CHECK_EQ(ftruncate(fd, 8192), 0);
	shared = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK(shared != MAP_FAILED);
	CHECK_EQ(unlink("deleted"), 0);
	close(fd);
	pthread_mutexattr_t a;
	pthread_mutexattr_init(&a);
	pthread_mutexattr_setpshared(&a, PTHREAD_PROCESS_SHARED);
	pthread_mutexattr_setrobust(&a, PTHREAD_MUTEX_ROBUST);
	CHECK_EQ(pthread_mutex_init(&shared->mutex, &a), 0);
	CHECK_EQ(sem_init(&shared->sem, 1, 0), 0);
	memory = memfd_create("between", MFD_CLOEXEC);
	CHECK(memory >= 0);
	CHECK_EQ(ftruncate(memory, 8 * KIDS), 0);
	private = mmap(NULL, 2 * PRIVATE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	fill(private + 512, PRIVATE - 4096, 7);
}

static void set_up_files(void)
{
	file = open("common", O_RDWR | O_CREAT | O_EXCL, 0600);
	CHECK(file >= 0);
	CHECK_EQ(link("common", "opened-for-a-moment"), 0);
	locked = open("locked", O_RDWR | O_CREAT | O_EXCL, 0600);
	struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 5, .l_len = 10};
	CHECK_EQ(fcntl(locked, F_SETLK, &l), 0);
	CHECK_EQ(flock(file, LOCK_EX), 0);
	CHECK_EQ(pipe(tock), 0);
	CHECK_EQ(write(tock[1], "t", 1), 1);
	epoll = epoll_create1(0);
	struct epoll_event e = {.events = EPOLLIN, .data.u64 = 0x1234567890ULL};
	CHECK_EQ(epoll_ctl(epoll, EPOLL_CTL_ADD, tock[0], &e), 0);
}

static void give_birth(void)
{
	for (int k = 0; k < KIDS; k++) {
		CHECK_EQ(pipe(ring[k]), 0);
		CHECK_EQ(socketpair(AF_UNIX, k == 1 ? SOCK_SEQPACKET : k == 2 ? SOCK_DGRAM : SOCK_STREAM, 0, pairs[k]), 0);
		for (int64_t v = 1; v <= RING; v++)
			CHECK_EQ(write(ring[k][1], &v, sizeof v), sizeof v);
		pid_t pid = fork();
		CHECK(pid >= 0);
		if (pid == 0) {
			self_slot = k;
			close(ring[k][1]), close(pairs[k][0]);
			if (k == 0) // only the root holds these any more
				close(tock[1]);
			private[0] = 1000 * k;
			if (k == 1)
				private[PRIVATE / 8 + 5] = 11;
			enroll(k);
			serve(k, kid);
		}
		close(ring[k][0]), close(pairs[k][1]);
		await_enrolled(k);
	}
}

static void feed(void)
{
	for (int k = 0; k < KIDS; k++) {
		int64_t v = victim_step + RING, m = -victim_step;
		CHECK_EQ(write(ring[k][1], &v, sizeof v), sizeof v);
		CHECK_EQ(send(pairs[k][0], &m, sizeof m, 0), sizeof m);
	}
}

static void collect(void)
{
	for (int k = 0; k < KIDS; k++) {
		int64_t m;
		CHECK_EQ(recv(pairs[k][0], &m, sizeof m, 0), sizeof m);
		CHECK_EQ(m, -3 * victim_step);
		CHECK_EQ(sem_trywait(&shared->sem), 0);
	}
	CHECK_EQ(sem_trywait(&shared->sem), -1);
	CHECK_EQ(shared->under_lock, KIDS * victim_step);
	CHECK_EQ(offset(file), KIDS * victim_step);
	int other = open("opened-for-a-moment", O_RDONLY);
	CHECK_EQ(flock(other, LOCK_SH | LOCK_NB), -1);
	close(other);
	verify("memory of before the birth", private + 512, PRIVATE - 4096, 7);
	CHECK_EQ(private[0], 0);
}

static void tamper(void)
{
	if (tampering(1))
		shared->under_lock--;
	if (tampering(2)) { // as if a child had got a description of its own
		int again = open("common", O_RDWR);
		lseek(again, offset(file), SEEK_SET), dup2(again, file);
	}
	if (tampering(3))
		write(ring[1][1], "12345678", 8), read(tock[0], &(char){0}, 1);
	if (tampering(4))
		flock(file, LOCK_UN);
	if (tampering(5))
		private[0] = 5;
	if (tampering(6)) {
		struct flock l = {.l_type = F_UNLCK, .l_whence = SEEK_SET};
		fcntl(locked, F_SETLK, &l);
	}
	if (tampering(7))
		send(pairs[2][0], "extra", 5, 0);
	if (tampering(8))
		sem_post(&shared->sem);
}

int main(int argc, char **argv)
{
	victim_init(argc, argv, 8);
	signal(SIGPIPE, SIG_IGN);
	family_init();
	set_up_memory();
	set_up_files();
	give_birth();
	ready();
	while (step()) {
		tamper();
		feed();
		ask_all();
		collect();
		nap(4);
	}
	for (int k = 0; k < KIDS; k++) {
		dismiss(k, 20 + k);
		wait_exit(family[k].pid, 20 + k);
		CHECK_EQ(write(ring[k][1], "x", 1), -1); // SIGPIPE is ignored: nobody reads any more
		CHECK_EQ(errno, EPIPE);
	}
	return pass();
}
