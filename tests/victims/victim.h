/*
 * victim.h: the protocol between a victim program and the test harness.
 *
 * A victim is called as "victim STOPFILE STEPS SLACK_MS TAMPER". It sets up its
 * state, prints "ready PID", and then works in numbered steps. At every step it
 * compares its whole state with what it must be; the first difference prints
 * "FAIL why" and ends it with status 1. When STOPFILE exists, or after STEPS
 * steps, it makes the checks that consume its state, prints "PASS" and ends
 * with status 0. A gap, a repeat or a second "ready" in the joined output is a
 * checkpoint that was not faithful.
 *
 * TAMPER is 0, or the number of a damage that the victim does to itself at step
 * 3, in the way a bad restore would: then it must FAIL. A number that it
 * does not know ends it with status 2, so a test can try them all. Status 77
 * means that this machine cannot do what the victim is about.
 */
#ifndef VICTIM_H
#define VICTIM_H
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static const char *victim_stopfile;
static long victim_steps, victim_slack_ms, victim_step;
static int victim_tamper;

/* say writes one line with one write, so that lines of threads never mix. */
__attribute__((format(printf, 1, 2), unused)) static void say(const char *fmt, ...)
{
	char line[600];
	va_list ap;
	va_start(ap, fmt);
	int n = vsnprintf(line, sizeof line - 1, fmt, ap);
	va_end(ap);
	if (n < 0 || n >= (int)sizeof line - 1)
		_exit(3);
	line[n++] = '\n';
	if (write(1, line, n) != n)
		_exit(3);
}

#define FAIL(...)                                                   \
	do {                                                        \
		say("FAIL " __VA_ARGS__);                           \
		_exit(1);                                           \
	} while (0)

#define CHECK(cond)                                                                          \
	do {                                                                                 \
		if (!(cond))                                                                 \
			FAIL("%s:%d: %s (errno %d)", __FILE_NAME__, __LINE__, #cond, errno); \
	} while (0)

#define CHECK_EQ(got, want)                                                                              \
	do {                                                                                             \
		long long got_ = (long long)(got), want_ = (long long)(want);                            \
		if (got_ != want_)                                                                       \
			FAIL("%s:%d: %s is %#llx, want %#llx (errno %d)", __FILE_NAME__, __LINE__, #got, got_, want_, errno); \
	} while (0)

#ifndef __FILE_NAME__
#define __FILE_NAME__ __FILE__
#endif

/* unsupported ends the victim: the machine lacks what it needs. */
__attribute__((unused)) static void unsupported(const char *what)
{
	say("UNSUPPORTED %s (errno %d)", what, errno);
	_exit(77);
}

__attribute__((unused)) static void victim_init(int argc, char **argv, int tampers)
{
	if (argc < 2) {
		fprintf(stderr, "usage: %s STOPFILE [STEPS [SLACK_MS [TAMPER]]]\n", argv[0]);
		_exit(2);
	}
	victim_stopfile = argv[1];
	victim_steps = argc > 2 ? atol(argv[2]) : 1L << 30;
	victim_slack_ms = argc > 3 ? atol(argv[3]) : 60000;
	victim_tamper = argc > 4 ? atoi(argv[4]) : 0;
	if (victim_tamper < 0 || victim_tamper > tampers)
		_exit(2);
}

__attribute__((unused)) static void ready(void) { say("ready %d", (int)getpid()); }

/* step announces the next step; it returns 0 when it is time to finish. */
__attribute__((unused)) static int step(void)
{
	if (victim_step >= victim_steps || access(victim_stopfile, F_OK) == 0)
		return 0;
	say("step %ld", ++victim_step);
	return 1;
}

/* tampering says whether damage number k has to be done now. */
__attribute__((unused)) static int tampering(int k) { return victim_tamper == k && victim_step == 3; }

__attribute__((unused)) static int pass(void)
{
	say("PASS");
	return 0;
}

__attribute__((unused)) static int64_t now_ms(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000LL + ts.tv_nsec / 1000000;
}

/* nap sleeps; a checkpoint must never show up as EINTR. */
__attribute__((unused)) static void nap(long ms)
{
	struct timespec ts = {ms / 1000, ms % 1000 * 1000000L};
	int r = nanosleep(&ts, NULL);
	if (r != 0)
		FAIL("nanosleep: %s", strerror(errno));
}

/* mix is a small hash: the content of byte or word i under a seed. */
__attribute__((unused)) static uint64_t mix(uint64_t seed, uint64_t i)
{
	uint64_t x = seed * 0x9e3779b97f4a7c15ULL + i + 0x632be59bd9b4e019ULL;
	x ^= x >> 32, x *= 0xd6e8feb86659fd93ULL, x ^= x >> 32;
	return x;
}

__attribute__((unused, noipa)) static void fill(void *p, size_t n, uint64_t seed)
{
	uint64_t *w = p;
	for (size_t i = 0; i < n / 8; i++)
		w[i] = mix(seed, i);
}

/* verify compares n bytes with what fill wrote; the name goes into the report. */
__attribute__((unused, noipa)) static void verify(const char *name, const void *p, size_t n, uint64_t seed)
{
	const uint64_t *w = p;
	for (size_t i = 0; i < n / 8; i++)
		if (w[i] != mix(seed, i))
			FAIL("%s: word %zu of %zu is %#llx, want %#llx", name, i, n / 8,
			     (unsigned long long)w[i], (unsigned long long)mix(seed, i));
}

#endif
