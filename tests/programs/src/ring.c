// 200 processes in a ring of pipes. A number goes round; each process adds one to it and knows
// itself how often it has come by.
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

enum { COUNT = 200 };
struct token { long number, round; };

static void fail(const char *what, long step)
{
	fprintf(stderr, "FAIL %s in step %ld\n", what, step);
	exit(1);
}

// relay ends when nobody writes to its pipe any more.
static void relay(int from, int to)
{
	struct token t;
	long passed = 0;
	while (read(from, &t, sizeof t) == sizeof t) {
		if (t.round != ++passed)
			fail("a process counts differently", t.round);
		t.number++;
		if (write(to, &t, sizeof t) != sizeof t)
			fail("write", t.round);
	}
	_exit(passed % 100);
}

int main(int argc, char **argv)
{
	int first[2], next[2];
	if (pipe(first) != 0)
		fail("pipe", 0);
	int from = first[0];
	pid_t children[COUNT];
	for (int i = 0; i < COUNT; i++) {
		if (pipe(next) != 0 || (children[i] = fork()) < 0)
			fail("pipe or fork", 0);
		if (children[i] == 0) {
			close(first[1]);
			close(next[0]);
			relay(from, next[1]);
		}
		close(from);
		close(next[1]);
		from = next[0];
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("ready\n");
	long n = 0;
	while (argc > 1 && access(argv[1], F_OK) != 0) {
		n++;
		struct token t = {n, n};
		if (write(first[1], &t, sizeof t) != sizeof t || read(from, &t, sizeof t) != sizeof t)
			fail("pipe", n);
		if (t.number != n + COUNT || t.round != n)
			fail("the number after a round", n);
		usleep(10000);
		printf("step %ld\n", n);
	}
	close(first[1]);
	for (int i = 0; i < COUNT; i++) {
		int status;
		if (waitpid(children[i], &status, 0) < 0 || !WIFEXITED(status) || WEXITSTATUS(status) != n % 100)
			fail("status of a process", n);
	}
	printf("PASS\n");
	return 0;
}
