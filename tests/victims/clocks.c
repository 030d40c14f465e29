// test: clock_gettime, gettimeofday, time and getcpu, which the vdso answers: they agree with the kernel and never go back.
#include "victim.h"
#include <sched.h>
#include <sys/time.h>

static int64_t nanoseconds(struct timespec t) { return t.tv_sec * 1000000000LL + t.tv_nsec; }

static int64_t by_kernel(clockid_t c)
{
	long t[2]; // struct timespec as the kernel has it for this call
	CHECK_EQ(syscall(SYS_clock_gettime, c, t), 0);
	return t[0] * 1000000000LL + t[1];
}

int main(int argc, char **argv)
{
	static const clockid_t clocks[] = {CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_BOOTTIME};
	int64_t last[3] = {0};
	victim_init(argc, argv, 1);
	ready();
	while (step()) {
		for (int i = 0; i < 3; i++) {
			struct timespec t;
			int64_t before = by_kernel(clocks[i]);
			CHECK_EQ(clock_gettime(clocks[i], &t), 0);
			int64_t after = by_kernel(clocks[i]), now = nanoseconds(t);
			if (tampering(1))
				last[i] += 3600 * 1000000000LL;
			CHECK(before <= now && now <= after);
			CHECK(i == 0 || now >= last[i]);
			last[i] = now;
		}
		struct timeval tv;
		time_t seconds = time(NULL);
		CHECK_EQ(gettimeofday(&tv, NULL), 0);
		CHECK(tv.tv_sec - seconds >= 0 && tv.tv_sec - seconds <= 60);
		CHECK(llabs(tv.tv_sec - last[0] / 1000000000LL) <= 60);
		CHECK(sched_getcpu() >= 0);
		say("slept monotonic %lld %lld", (long long)(last[1] / 1000000000LL), (long long)(last[2] / 1000000000LL));
		nap(5);
	}
	return pass();
}
