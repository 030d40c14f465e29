// Two threads on one CPU's counter: each adds to it in restartable sequences,
// which whoever stops them must abort. A sequence that was stopped and then
// finished loses the other's additions.
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/rseq.h>
#include <unistd.h>

static volatile int stop;
static volatile long counter __attribute__((aligned(64)));
static long added[2], aborts[2];

static int add(struct rseq *rs, long *count, long *aborted)
{
	long ok = 0;
	asm volatile goto(
		".pushsection __rseq_cs, \"aw\"\n.balign 32\n"
		"3: .long 0, 0\n .quad 1f, 2f-1f, 4f\n.popsection\n"
		"leaq 3b(%%rip), %%rax\n movq %%rax, 8(%[rs])\n"
		"1: movq %[counter], %%rcx\n"
		"mov $200, %%edx\n 5: dec %%edx\n jnz 5b\n"
		"incq %%rcx\n movq %%rcx, %[counter]\n"
		"2: jmp %l[done]\n"
		".pushsection __rseq_failure, \"ax\"\n"
		".byte 0x0f, 0xb9, 0x3d\n .long 0x53053053\n"
		"4: jmp %l[failed]\n.popsection\n"
		: : [rs] "r"(rs), [counter] "m"(counter) : "rax", "rcx", "rdx", "memory", "cc" : done, failed);
done:
	(*count)++;
	return (int)ok;
failed:
	(*aborted)++;
	return 1;
}

static void *work(void *arg)
{
	long i = (long)arg;
	cpu_set_t one;
	CPU_ZERO(&one);
	CPU_SET(0, &one);
	if (sched_setaffinity(0, sizeof one, &one))
		_exit(4);
	struct rseq *rs = (void *)((char *)__builtin_thread_pointer() + __rseq_offset);
	while (!stop)
		add(rs, &added[i], &aborts[i]);
	return 0;
}

int main(void)
{
	pthread_t t[2];
	setvbuf(stdout, 0, _IONBF, 0);
	if (!__rseq_size)
		return 77;
	for (long i = 0; i < 2; i++)
		pthread_create(&t[i], 0, work, (void *)i);
	printf("ready\n");
	char c;
	if (read(0, &c, 1) != 0)
		return 3;
	stop = 1;
	for (int i = 0; i < 2; i++)
		pthread_join(t[i], 0);
	printf("counter %ld added %ld aborts %ld\n", counter, added[0] + added[1], aborts[0] + aborts[1]);
	if (counter != added[0] + added[1])
		return 3;
	printf("PASS\n");
	return 0;
}
