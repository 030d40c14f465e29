// Main answers every letter by a line with the count of SIGCONT that its handler
// has seen. The other thread only is there to be stopped too.
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

static volatile int continued;

static void on_cont(int sig) { (void)sig; continued++; }
static pthread_barrier_t set_up;

static void *idle(void *arg)
{
	sigset_t s;
	sigfillset(&s);
	pthread_sigmask(SIG_SETMASK, &s, 0);
	pthread_barrier_wait(&set_up);
	for (;;)
		sleep(1);
	return arg;
}

int main(void)
{
	pthread_t t;
	struct sigaction sa = {.sa_handler = on_cont, .sa_flags = SA_RESTART};
	sigaction(SIGCONT, &sa, 0);
	pthread_barrier_init(&set_up, 0, 2);
	pthread_create(&t, 0, idle, 0);
	pthread_barrier_wait(&set_up);
	setvbuf(stdout, 0, _IONBF, 0);
	printf("ready\n");
	char c;
	while (read(0, &c, 1) > 0)
		printf("continued %d\n", continued);
	printf("PASS\n");
	return 0;
}
