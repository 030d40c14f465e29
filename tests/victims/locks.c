// test: flock, POSIX and open-file-description locks are held, one by a mapping alone, seen through another open of the same file.
#include "victim.h"
#include <sys/file.h>

static int held_flock, held_posix, held_ofd, probe_flock, probe_posix, probe_ofd;

static int opened(const char *name)
{
	int fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	CHECK(fd >= 0);
	return fd;
}

static struct flock range(short type, off_t start, off_t len)
{
	return (struct flock){.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = len};
}

static void set(int fd, int cmd, short type, off_t start, off_t len)
{
	struct flock l = range(type, start, len);
	CHECK_EQ(fcntl(fd, cmd, &l), 0);
}

// see checks which lock a stranger would run into at [start, start+len).
static void see(int fd, off_t start, off_t len, short type, off_t got_start, off_t got_len, pid_t owner)
{
	struct flock l = range(F_WRLCK, start, len);
	CHECK_EQ(fcntl(fd, F_OFD_GETLK, &l), 0);
	CHECK_EQ(l.l_type, type);
	if (type != F_UNLCK) {
		CHECK_EQ(l.l_start, got_start);
		CHECK_EQ(l.l_len, got_len);
		CHECK_EQ(l.l_pid, owner);
	}
}

int main(int argc, char **argv)
{
	victim_init(argc, argv, 5);
	held_flock = opened("flock"), probe_flock = opened("flock");
	held_posix = opened("posix"), probe_posix = opened("posix");
	held_ofd = opened("ofd"), probe_ofd = opened("ofd");
	CHECK_EQ(flock(held_flock, LOCK_EX), 0);
	set(held_posix, F_SETLK, F_WRLCK, 10, 20);
	set(held_posix, F_SETLK, F_RDLCK, 100, 0);
	set(held_ofd, F_OFD_SETLK, F_WRLCK, 5, 7);
	set(held_ofd, F_OFD_SETLK, F_RDLCK, (off_t)1 << 40, 9);
	int mapped = opened("opened-for-a-moment");
	CHECK_EQ(ftruncate(mapped, 4096), 0);
	char *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, mapped, 0);
	CHECK(page != MAP_FAILED);
	CHECK_EQ(flock(mapped, LOCK_EX), 0);
	close(mapped);
	ready();
	while (step()) {
		if (tampering(5))
			munmap(page, 4096);
		if (tampering(1))
			flock(held_flock, LOCK_UN);
		if (tampering(2))
			close(opened("posix"));
		if (tampering(3))
			set(held_ofd, F_OFD_SETLK, F_UNLCK, 5, 7);
		if (tampering(4))
			set(held_posix, F_SETLK, F_WRLCK, 100, 0);
		CHECK(flock(probe_flock, LOCK_SH | LOCK_NB) == -1 && errno == EWOULDBLOCK);
		int probe_mapped = opened("opened-for-a-moment"); // no descriptor stays open: the mapping alone holds the lock
		CHECK(flock(probe_mapped, LOCK_SH | LOCK_NB) == -1 && errno == EWOULDBLOCK);
		close(probe_mapped);
		see(probe_posix, 0, 50, F_WRLCK, 10, 20, getpid());
		see(probe_posix, 60, 0, F_RDLCK, 100, 0, getpid());
		see(probe_posix, 30, 70, F_UNLCK, 0, 0, 0);
		see(probe_ofd, 0, 50, F_WRLCK, 5, 7, -1);
		see(probe_ofd, 60, 0, F_RDLCK, (off_t)1 << 40, 9, -1);
		nap(4);
	}
	return pass();
}
