// Threads that start and end all the time, hundreds of them; with "vfork" also
// children by vfork. It ends well at the end of its input.
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static volatile int stop;

static void *leaf(void *arg) { return arg; }

static void *parent(void *arg)
{
	(void)arg;
	while (!stop) {
		pthread_t t[20];
		for (long i = 0; i < 20; i++)
			if (pthread_create(&t[i], 0, leaf, (void *)i))
				_exit(4);
		for (long i = 0; i < 20; i++) {
			void *got;
			if (pthread_join(t[i], &got) || got != (void *)i)
				_exit(5);
		}
	}
	return 0;
}

static void *forks(void *arg)
{
	(void)arg;
	while (!stop) {
		int status;
		pid_t p = vfork();
		if (p == 0) {
			execl("/bin/true", "true", (char *)0);
			_exit(9);
		}
		if (p < 0 || waitpid(p, &status, 0) != p || status)
			_exit(6);
	}
	return 0;
}

int main(int argc, char **argv)
{
	pthread_t t[2];
	int kind = argc > 1 && !strcmp(argv[1], "vfork");
	for (int i = 0; i < 2; i++)
		pthread_create(&t[i], 0, kind && i ? forks : parent, 0);
	setvbuf(stdout, 0, _IONBF, 0);
	printf("ready\n");
	char c;
	if (read(0, &c, 1) != 0)
		return 3;
	stop = 1;
	for (int i = 0; i < 2; i++)
		pthread_join(t[i], 0);
	printf("PASS\n");
	return 0;
}
