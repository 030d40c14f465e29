// A user of io_uring: each step is an empty request that goes through the rings.
#include <linux/io_uring.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	struct io_uring_params p = {0};
	int fd = syscall(SYS_io_uring_setup, 4, &p);
	if (fd < 0) {
		perror("io_uring_setup");
		return 1;
	}
	char *sq = mmap(NULL, p.sq_off.array + p.sq_entries * 4, PROT_READ | PROT_WRITE, MAP_SHARED, fd, IORING_OFF_SQ_RING);
	char *cq = mmap(NULL, p.cq_off.cqes + p.cq_entries * sizeof(struct io_uring_cqe), PROT_READ | PROT_WRITE, MAP_SHARED, fd,
			IORING_OFF_CQ_RING);
	struct io_uring_sqe *entries = mmap(NULL, p.sq_entries * sizeof(*entries), PROT_READ | PROT_WRITE, MAP_SHARED, fd,
					    IORING_OFF_SQES);
	if (sq == MAP_FAILED || cq == MAP_FAILED || entries == MAP_FAILED) {
		perror("mmap");
		return 1;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("ready\n");
	for (unsigned n = 1; argc > 1 && access(argv[1], F_OK) != 0; n++) {
		unsigned *tail = (unsigned *)(sq + p.sq_off.tail), *head = (unsigned *)(cq + p.cq_off.head);
		unsigned slot = *tail & (p.sq_entries - 1);
		entries[slot] = (struct io_uring_sqe){.opcode = IORING_OP_NOP, .user_data = n};
		((unsigned *)(sq + p.sq_off.array))[slot] = slot;
		__atomic_store_n(tail, *tail + 1, __ATOMIC_RELEASE);
		int done = syscall(SYS_io_uring_enter, fd, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0);
		struct io_uring_cqe *answers = (struct io_uring_cqe *)(cq + p.cq_off.cqes);
		if (done != 1 || answers[*head & (p.cq_entries - 1)].user_data != n) {
			fprintf(stderr, "FAIL step %u: %d requests done\n", n, done);
			return 1;
		}
		__atomic_store_n(head, *head + 1, __ATOMIC_RELEASE);
		printf("step %u\n", n);
		usleep(10000);
	}
	printf("PASS\n");
	return 0;
}
