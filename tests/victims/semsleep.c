// test: a thread in semtimedop on a System V semaphore never sees EINTR and keeps its time limit.
#include "victim.h"
#include <pthread.h>
#include <sys/ipc.h>
#include <sys/sem.h>

static int set;
static volatile int stopping;

static void *wait_for_semaphore(void *arg)
{
	(void)arg;
	while (!stopping) {
		int64_t t0 = now_ms();
		struct sembuf down = {0, -1, 0};
		int r = semtimedop(set, &down, 1, &(struct timespec){0, 400000000}), e = errno;
		int64_t took = now_ms() - t0;
		if (r != -1 || e != EAGAIN)
			FAIL("semtimedop: %d (%s)", r, strerror(e));
		if (took < 399 || took > 1400 + victim_slack_ms)
			FAIL("semtimedop took %ld ms of 400", (long)took);
	}
	return NULL;
}

int main(int argc, char **argv)
{
	victim_init(argc, argv, 1);
	set = semget(IPC_PRIVATE, 1, 0600);
	if (set < 0)
		unsupported("semget");
	pthread_t t;
	CHECK_EQ(pthread_create(&t, NULL, wait_for_semaphore, NULL), 0);
	ready();
	while (step()) {
		if (tampering(1))
			semctl(set, 0, SETVAL, 1);
		CHECK_EQ(semctl(set, 0, GETVAL), 0);
		nap(5);
	}
	stopping = 1;
	CHECK_EQ(pthread_join(t, NULL), 0);
	CHECK_EQ(semctl(set, 0, IPC_RMID), 0);
	return pass();
}
