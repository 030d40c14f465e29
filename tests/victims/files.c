// test: a file that is written through a shared mapping, in a directory of its own, and a log; both must be as they were at the checkpoint.
#include "victim.h"

enum { WORDS = 4096 }; // 32 KB
static uint64_t *mapped, private[WORDS];
static int log_fd, data_fd;

static void same_file(int fd, const char *path)
{
	struct stat open, named;
	CHECK_EQ(fstat(fd, &open), 0);
	CHECK_EQ(stat(path, &named), 0);
	CHECK_EQ(open.st_ino, named.st_ino);
}

static void check(void)
{
	CHECK(memcmp(mapped, private, sizeof private) == 0);
	static uint64_t again[WORDS];
	CHECK_EQ(pread(data_fd, again, sizeof again, 0), sizeof again);
	CHECK(memcmp(again, private, sizeof private) == 0);
	same_file(data_fd, "data/mapped");
	same_file(log_fd, "data/log");
	struct stat st;
	CHECK_EQ(fstat(log_fd, &st), 0);
	CHECK_EQ(st.st_size, 8 * victim_step);
	CHECK_EQ(lseek(log_fd, 0, SEEK_CUR), 8 * victim_step);
}

int main(int argc, char **argv)
{
	victim_init(argc, argv, 4);
	CHECK_EQ(mkdir("data", 0700), 0);
	data_fd = open("data/mapped", O_RDWR | O_CREAT | O_EXCL, 0600);
	log_fd = open("data/log", O_WRONLY | O_CREAT | O_EXCL, 0600);
	CHECK(data_fd >= 0 && log_fd >= 0);
	CHECK_EQ(ftruncate(data_fd, sizeof private), 0);
	mapped = mmap(NULL, sizeof private, PROT_READ | PROT_WRITE, MAP_SHARED, data_fd, 0);
	CHECK(mapped != MAP_FAILED);
	ready();
	for (;;) {
		check();
		if (!step())
			break;
		for (int i = 0; i < 7; i++) {
			uint64_t at = mix(victim_step, i) % WORDS;
			mapped[at] = private[at] = mix(victim_step, 100 + i);
		}
		char line[16];
		snprintf(line, sizeof line, "%7ld\n", victim_step);
		CHECK_EQ(write(log_fd, line, 8), 8);
		if (tampering(1))
			mapped[mix(3, 0) % WORDS]++;
		if (tampering(2))
			unlink("data/mapped");
		if (tampering(3))
			CHECK_EQ(write(log_fd, line, 8), 8);
		if (tampering(4))
			lseek(log_fd, 0, SEEK_SET);
		nap(4);
	}
	return pass();
}
