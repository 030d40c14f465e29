// test: a thousand threads, each with its own stack content and tid, all going on.
#include "victim.h"
#include <pthread.h>

enum { THREADS = 1000, STACK = 128 << 10 };
static volatile long progress[THREADS];
static volatile int tids[THREADS];
static volatile int stopping;

static void *work(void *arg)
{
	int self = (int)(intptr_t)arg, tid = (int)syscall(SYS_gettid);
	uint64_t pattern[256];
	fill(pattern, sizeof pattern, self);
	tids[self] = tid;
	for (long n = 0; !stopping; n++) {
		CHECK_EQ(progress[self], n);
		CHECK_EQ(syscall(SYS_gettid), tid);
		CHECK_EQ(tids[self], tid);
		verify("thread stack", pattern, sizeof pattern, self);
		progress[self] = n + 1;
		nap(150 + self % 100);
	}
	return NULL;
}

int main(int argc, char **argv)
{
	victim_init(argc, argv, 2);
	static pthread_t threads[THREADS];
	pthread_attr_t attr;
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK);
	for (intptr_t i = 0; i < THREADS; i++) {
		int r = pthread_create(&threads[i], &attr, work, (void *)i);
		if (r == EAGAIN)
			unsupported("a thousand threads");
		CHECK_EQ(r, 0);
	}
	for (int i = 0; i < THREADS; i++)
		while (progress[i] == 0)
			nap(1);
	ready();
	while (step()) {
		long before[THREADS];
		for (int i = 0; i < THREADS; i++)
			before[i] = progress[i];
		if (tampering(1))
			tids[500]++;
		if (tampering(2))
			progress[999]--;
		int64_t until = now_ms() + 10000 + victim_slack_ms;
		for (int i = 0; i < THREADS; i++)
			while (progress[i] == before[i]) {
				if (now_ms() > until)
					FAIL("thread %d does not go on", i);
				nap(5);
			}
	}
	stopping = 1;
	for (int i = 0; i < THREADS; i++)
		CHECK_EQ(pthread_join(threads[i], NULL), 0);
	return pass();
}
