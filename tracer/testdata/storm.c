// Counts signals. Real-time signals carry numbers that must come in order,
// none missing, none twice; SIGUSR1 is answered by a letter each time. Two
// threads compute, one sleeps, main reads.
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static volatile int next_value, faults, stop;
static volatile long usr1;
static pthread_barrier_t set_up;

static void on_realtime(int sig, siginfo_t *si, void *u)
{
	(void)sig, (void)u;
	if (si->si_value.sival_int != next_value)
		faults++;
	next_value = si->si_value.sival_int + 1;
}

static void on_usr1(int sig)
{
	(void)sig;
	usr1++;
	if (write(1, "u\n", 2) != 2)
		faults++;
}

static void *compute(void *arg)
{
	(void)arg;
	sigset_t s;
	sigfillset(&s);
	pthread_sigmask(SIG_SETMASK, &s, 0);
	pthread_barrier_wait(&set_up);
	while (!stop) {
		double a = 1;
		for (int i = 0; i < 100000; i++)
			a = a * 1.0000001 + 0.5;
		if (a < 1)
			faults++;
	}
	return 0;
}

static void *sleeper(void *arg)
{
	(void)arg;
	sigset_t s;
	sigfillset(&s);
	pthread_sigmask(SIG_SETMASK, &s, 0);
	pthread_barrier_wait(&set_up);
	while (!stop) {
		struct timespec t = {0, 5000000};
		if (nanosleep(&t, 0))
			faults++;
	}
	return 0;
}

int main(void)
{
	pthread_t t[3];
	struct sigaction rt = {.sa_sigaction = on_realtime, .sa_flags = SA_SIGINFO | SA_RESTART};
	struct sigaction us = {.sa_handler = on_usr1, .sa_flags = SA_RESTART};
	sigaction(SIGRTMIN + 2, &rt, 0);
	sigaction(SIGUSR1, &us, 0);
	pthread_barrier_init(&set_up, 0, 4);
	pthread_create(&t[0], 0, compute, 0);
	pthread_create(&t[1], 0, compute, 0);
	pthread_create(&t[2], 0, sleeper, 0);
	pthread_barrier_wait(&set_up);
	setvbuf(stdout, 0, _IONBF, 0);
	printf("ready\n");
	char c;
	if (read(0, &c, 1) != 0)
		faults++;
	stop = 1;
	for (int i = 0; i < 3; i++)
		pthread_join(t[i], 0);
	printf("counted %d %ld\n", next_value, usr1);
	if (faults)
		return 3;
	printf("PASS\n");
	return 0;
}
