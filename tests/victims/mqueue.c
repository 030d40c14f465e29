// test: POSIX message queues of several processes: shared descriptions, several ways of opening, queues without a name, one name for two queues, notifications, a receiver that waits.
#include "family.h"
#include <mqueue.h>

enum { KIDS = 2, WAITER = KIDS, MOST = 5, LENGTH = 64 };

static mqd_t jobs, reading, nameless, second, quiet, results, waited;
static char name[32], other[32], told[32];
static volatile sig_atomic_t signals;

static void count_signal(int sig)
{
	(void)sig;
	signals++;
}

// clean_up removes what would outlive a victim that fails.
static void clean_up(void) { mq_unlink(name), mq_unlink(other), mq_unlink(told); }
#undef FAIL
#define FAIL(...)                         \
	do {                              \
		clean_up();               \
		say("FAIL " __VA_ARGS__); \
		_exit(1);                 \
	} while (0)

static mqd_t make(const char *as, int flags, int mode, long most, long length)
{
	struct mq_attr a = {.mq_maxmsg = most, .mq_msgsize = length};
	mqd_t q = mq_open(as, flags | O_CREAT | O_EXCL, mode, &a);
	if (q == (mqd_t)-1 && errno == ENOSYS)
		unsupported("mq_open");
	CHECK(q >= 0);
	return q;
}

static void send_number(mqd_t q, long n) { CHECK_EQ(mq_send(q, (char *)&n, sizeof n, 0), 0); }

static long receive_number(mqd_t q)
{
	long n;
	char b[LENGTH];
	CHECK_EQ(mq_receive(q, b, sizeof b, NULL), sizeof n);
	memcpy(&n, b, sizeof n);
	return n;
}

static struct mq_attr attributes(mqd_t q)
{
	struct mq_attr a;
	CHECK_EQ(mq_getattr(q, &a), 0);
	return a;
}

static void be_told(void)
{
	struct sigevent e = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
	CHECK_EQ(mq_notify(second, &e), 0);
}

static void set_up(void)
{
	snprintf(name, sizeof name, "/victim-%d", getpid());
	snprintf(other, sizeof other, "/victim-%d-other", getpid());
	snprintf(told, sizeof told, "/victim-%d-told", getpid());
	clean_up(); // a victim that was killed may have had this id
	nameless = make(name, O_RDWR, 0600, 3, LENGTH);
	CHECK_EQ(mq_unlink(name), 0);
	waited = make(name, O_RDWR, 0600, 1, LENGTH);
	CHECK_EQ(mq_unlink(name), 0);
	jobs = make(name, O_RDWR, 0640, MOST, LENGTH); // another queue of the same name
	reading = mq_open(name, O_RDONLY | O_NONBLOCK);
	CHECK(reading >= 0);
	results = make(other, O_RDWR, 0600, MOST, LENGTH);
	CHECK_EQ(fchmod(results, 0400), 0);
	second = make(told, O_RDWR | O_NONBLOCK, 0600, 1, LENGTH);
	quiet = dup(nameless);
	struct sigaction act = {.sa_handler = count_signal, .sa_flags = SA_RESTART};
	CHECK_EQ(sigaction(SIGUSR1, &act, NULL), 0);
}

// A queue is the same one if what goes in here comes out there.
static void same(mqd_t in, mqd_t out, long n)
{
	CHECK_EQ(attributes(out).mq_curmsgs, 0);
	send_number(in, n);
	CHECK_EQ(attributes(out).mq_curmsgs, 1);
	CHECK_EQ(receive_number(out), n);
}

static void check(void)
{
	struct mq_attr a = attributes(jobs);
	CHECK_EQ(a.mq_maxmsg, MOST);
	CHECK_EQ(a.mq_msgsize, LENGTH);
	CHECK_EQ(a.mq_curmsgs, 0);
	CHECK_EQ(a.mq_flags, 0);
	CHECK_EQ(attributes(reading).mq_flags, O_NONBLOCK);
	CHECK_EQ(mq_send(reading, "x", 1, 0), -1);
	CHECK_EQ(errno, EBADF);
	same(jobs, reading, victim_step);
	CHECK_EQ(attributes(nameless).mq_maxmsg, 3);
	same(quiet, nameless, -victim_step);
	struct stat s, t;
	CHECK_EQ(fstat(jobs, &s), 0);
	CHECK_EQ(fstat(nameless, &t), 0);
	CHECK_EQ(s.st_mode & 07777, 0640);
	CHECK_EQ(s.st_nlink, 1);
	CHECK_EQ(t.st_nlink, 0);
	CHECK(s.st_ino != t.st_ino);
	CHECK_EQ(fstat(results, &s), 0);
	CHECK_EQ(s.st_mode & 07777, 0400);
	mqd_t again = mq_open(name, O_RDWR);
	CHECK(again >= 0);
	same(again, jobs, 5);
	CHECK_EQ(mq_close(again), 0);
}

// check_notification lets the root be told of a message that a child sends.
static void check_notification(void)
{
	struct sigevent e = {.sigev_notify = SIGEV_NONE};
	CHECK_EQ(mq_notify(second, &e), -1); // we are registered, and nobody else can be
	CHECK_EQ(errno, EBUSY);
	CHECK_EQ(signals, victim_step - 1);
	send_number(second, 1);
	CHECK_EQ(signals, victim_step);
	CHECK_EQ(receive_number(second), 1);
	be_told();
}

static void kid(long step)
{
	CHECK_EQ(attributes(jobs).mq_maxmsg, MOST);
	send_number(results, step * 10 + receive_number(jobs));
}

static void waiter(void)
{
	enroll(WAITER);
	CHECK_EQ(receive_number(waited), 4711);
	_exit(30);
}

static void give_birth(void)
{
	for (int k = 0; k <= WAITER; k++) {
		pid_t pid = fork();
		CHECK(pid >= 0);
		if (pid == 0) {
			if (k == WAITER)
				waiter();
			enroll(k), serve(k, kid);
		}
		await_enrolled(k);
	}
	family[WAITER].quiet = 1;
}

static void tamper(void)
{
	if (tampering(1)) { // as if the queue had been made again for somebody alone
		struct mq_attr a = attributes(jobs);
		mq_unlink(name);
		mqd_t q = mq_open(name, O_RDWR | O_CREAT, 0640, &a);
		CHECK(dup2(q, reading) >= 0);
	}
	if (tampering(2))
		CHECK_EQ(mq_setattr(reading, &(struct mq_attr){.mq_flags = 0}, NULL), 0);
	if (tampering(3))
		CHECK_EQ(mq_notify(second, NULL), 0);
	if (tampering(4))
		CHECK_EQ(fchmod(results, 0600), 0);
	if (tampering(5))
		send_number(jobs, 3);
	if (tampering(6))
		CHECK(dup2(jobs, nameless) >= 0);
}

int main(int argc, char **argv)
{
	victim_init(argc, argv, 6);
	family_init();
	setsid(); // session and group go along into a namespace; a leader has its own anyway
	set_up();
	give_birth();
	be_told();
	ready();
	while (step()) {
		tamper();
		for (int k = 0; k < KIDS; k++)
			send_number(jobs, k);
		ask_all();
		long sum = receive_number(results) + receive_number(results);
		CHECK_EQ(sum, 20 * victim_step + 1);
		check_notification();
		nap(4);
		check();
	}
	send_number(waited, 4711);
	wait_exit(family[WAITER].pid, 30);
	for (int k = 0; k < KIDS; k++) {
		dismiss(k, 20 + k);
		wait_exit(family[k].pid, 20 + k);
	}
	clean_up();
	return pass();
}
