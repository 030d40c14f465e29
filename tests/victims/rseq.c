// test: restartable sequences: per-CPU counters incremented in critical sections lose no update.
#include "victim.h"
#include <pthread.h>
#include <sched.h>
#include <sys/rseq.h>

enum { THREADS = 4, CPUS = 1024 };
struct slot {
	long count, pad[7];
};
static struct slot counters[CPUS];
static volatile int stopping;
static volatile long done[THREADS];

// increment adds one to the counter of the CPU that it runs on. Between load and
// store it spins, so that a stop very probably hits the critical section. It
// returns 0 if the kernel aborted the sequence.
static int increment(void)
{
	long offset = (long)__rseq_offset;
	asm goto(".pushsection __rseq_cs, \"aw\"\n"
		 ".balign 32\n"
		 "3: .long 0, 0\n"
		 ".quad 1f, 2f-1f, 4f\n"
		 ".popsection\n"
		 "leaq 3b(%%rip), %%rax\n"
		 "movq %%rax, %%fs:8(%[offset])\n" // rseq_cs
		 "1: movl %%fs:4(%[offset]), %%eax\n" // cpu_id
		 "shlq $6, %%rax\n"
		 "addq %[base], %%rax\n"
		 "movq (%%rax), %%rcx\n"
		 "movl $1500, %%edx\n"
		 "5: pause\n"
		 "decl %%edx\n"
		 "jnz 5b\n"
		 "incq %%rcx\n"
		 "movq %%rcx, (%%rax)\n" // the commit
		 "2:\n"
		 ".pushsection __rseq_failure, \"ax\"\n"
		 ".byte 0x0f, 0xb9, 0x3d\n"
		 ".long 0x53053053\n" // the signature in front of the abort handler
		 "4: jmp %l[aborted]\n"
		 ".popsection\n"
		 :
		 : [offset] "r"(offset), [base] "r"(counters)
		 : "rax", "rcx", "rdx", "memory", "cc"
		 : aborted);
	return 1;
aborted:
	return 0;
}

static void *work(void *arg)
{
	int self = (int)(intptr_t)arg;
	while (!stopping)
		if (increment())
			done[self]++;
	return NULL;
}

static long total(void)
{
	long sum = 0;
	for (int c = 0; c < CPUS; c++)
		sum += __atomic_load_n(&counters[c].count, __ATOMIC_RELAXED);
	return sum;
}

static long finished(void)
{
	long sum = 0;
	for (int t = 0; t < THREADS; t++)
		sum += done[t];
	return sum;
}

// check_registered: the kernel must know the area of this thread, or cpu_id is stale.
static void check_registered(void)
{
	volatile struct rseq *area = (void *)((char *)__builtin_thread_pointer() + __rseq_offset);
	cpu_set_t old, one;
	CHECK_EQ(sched_getaffinity(0, sizeof old, &old), 0);
	for (int c = 0; c < CPUS; c++) {
		if (!CPU_ISSET(c, &old))
			continue;
		CPU_ZERO(&one);
		CPU_SET(c, &one);
		CHECK_EQ(sched_setaffinity(0, sizeof one, &one), 0);
		CHECK_EQ(area->cpu_id, c);
	}
	CHECK_EQ(sched_setaffinity(0, sizeof old, &old), 0);
}

int main(int argc, char **argv)
{
	victim_init(argc, argv, 3);
	if (__rseq_size == 0)
		unsupported("rseq");
	pthread_t t[THREADS];
	for (intptr_t i = 0; i < THREADS; i++)
		CHECK_EQ(pthread_create(&t[i], NULL, work, (void *)i), 0);
	ready();
	while (step()) {
		if (tampering(1)) // as if a section went on instead of starting again
			counters[CPUS - 1].count -= 50;
		if (tampering(2))
			syscall(SYS_rseq, (char *)__builtin_thread_pointer() + __rseq_offset, 32, 1, 0x53053053);
		if (tampering(3))
			for (int i = 0; i < THREADS; i++)
				done[i] += 10;
		check_registered();
		long before = finished(), lost = finished() - total();
		if (lost > 0 || lost < -THREADS * 4)
			FAIL("%ld updates of %ld are lost", lost, before);
		for (int64_t until = now_ms() + 5000 + victim_slack_ms; finished() == before; nap(1))
			if (now_ms() > until)
				FAIL("the threads do not go on");
		nap(3);
	}
	stopping = 1;
	for (int i = 0; i < THREADS; i++)
		CHECK_EQ(pthread_join(t[i], NULL), 0);
	CHECK_EQ(total(), finished());
	return pass();
}
