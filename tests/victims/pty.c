// test: pseudo terminals of the program's own: settings, window, controlling terminal, foreground group, keys that are signals, packet mode, a side that hung up.
#include "family.h"
#include <sys/ioctl.h>
#include <termios.h>

enum { SHELL = 1, JOB = 2 }; // SHELL leads the session, JOB is in the foreground
static int master, packets, hung, slave, control, closing, kept; // closing: O_CLOEXEC is among the flags of both
static struct termios settings;
static sigset_t interrupt;

static int open_master(int *number)
{
	int fd = posix_openpt(O_RDWR | O_NOCTTY), n;
	CHECK(fd >= 0);
	CHECK_EQ(unlockpt(fd), 0);
	CHECK_EQ(ioctl(fd, TIOCGPTN, &n), 0);
	if (number)
		*number = n;
	return fd;
}

static int open_slave(int fd)
{
	int s = ioctl(fd, TIOCGPTPEER, O_RDWR | O_NOCTTY);
	CHECK(s >= 0);
	return s;
}

static void check_settings(int fd)
{
	struct termios t;
	CHECK_EQ(tcgetattr(fd, &t), 0);
	CHECK_EQ(t.c_iflag, settings.c_iflag);
	CHECK_EQ(t.c_oflag, settings.c_oflag);
	CHECK_EQ(t.c_lflag, settings.c_lflag);
	CHECK_EQ(t.c_cflag, settings.c_cflag);
	CHECK(memcmp(t.c_cc, settings.c_cc, 17) == 0);
	struct winsize w;
	CHECK_EQ(ioctl(fd, TIOCGWINSZ, &w), 0);
	CHECK(w.ws_row == 33 && w.ws_col == 101 && w.ws_xpixel == 7 && w.ws_ypixel == 9);
}

static void check_terminal(void)
{
	check_settings(slave);
	check_settings(control);
	CHECK_EQ(fcntl(slave, F_GETFD), 0);
	CHECK_EQ(tcgetsid(control), family[SHELL].pid);
	CHECK_EQ(tcgetpgrp(control), family[JOB].pid);
}

static void shell_step(long step)
{
	(void)step;
	check_terminal();
}

// job_step answers a line that the root has typed.
static void job_step(long step)
{
	check_terminal();
	char line[64], want[64];
	ssize_t n = read(step % 2 ? slave : control, line, sizeof line - 1);
	CHECK(n > 0);
	line[n] = 0;
	snprintf(want, sizeof want, "typed %ld\n", step);
	CHECK(strcmp(line, want) == 0);
	sigset_t pending;
	CHECK_EQ(sigpending(&pending), 0);
	CHECK_EQ(sigismember(&pending, SIGINT), step % 4 == 0);
	if (step % 4 == 0)
		CHECK_EQ(sigwaitinfo(&interrupt, NULL), SIGINT);
	n = snprintf(line, sizeof line, "answer %ld\n", step);
	CHECK_EQ(write(control, line, n), n);
}

static void job(void)
{
	sigemptyset(&interrupt), sigaddset(&interrupt, SIGINT);
	CHECK_EQ(sigprocmask(SIG_BLOCK, &interrupt, NULL), 0);
	CHECK_EQ(setpgid(0, 0), 0);
	signal(SIGTTOU, SIG_IGN);
	CHECK_EQ(tcsetpgrp(control, getpid()), 0);
	enroll(JOB);
	serve(JOB, job_step);
}

static void shell(void)
{
	CHECK_EQ(setsid(), getpid());
	slave = open_slave(master);
	CHECK_EQ(ioctl(slave, TIOCSCTTY, 0), 0);
	close(master);
	control = open("/dev/tty", O_RDWR);
	CHECK(control >= 0);
	int pid = fork();
	if (pid == 0)
		job();
	await_enrolled(JOB);
	enroll(SHELL);
	serve(SHELL, shell_step);
}

static void set_up(void)
{
	master = open_master(NULL);
	int s = open_slave(master);
	CHECK_EQ(tcgetattr(s, &settings), 0);
	settings.c_lflag &= ~(ECHO | ECHOE | ECHOK);
	settings.c_iflag |= IXANY;
	settings.c_oflag = 0;
	settings.c_cc[VINTR] = 'K' & 31;
	settings.c_cc[VERASE] = 'Q' & 31;
	CHECK_EQ(tcsetattr(s, TCSANOW, &settings), 0);
	CHECK_EQ(ioctl(s, TIOCSWINSZ, &(struct winsize){33, 101, 7, 9}), 0);
	CHECK_EQ(tcgetattr(s, &settings), 0);
	packets = open_master(NULL);
	CHECK_EQ(ioctl(packets, TIOCPKT, &(int){1}), 0);
	hung = open_master(NULL);
	close(open_slave(hung));
	int pid = fork();
	if (pid == 0)
		shell();
	close(s);
	await_enrolled(SHELL);
}

static void type(const char *keys)
{
	CHECK_EQ(write(master, keys, strlen(keys)), (ssize_t)strlen(keys));
}

// hear reads the answer of the job, all of it.
static void hear(void)
{
	char line[64] = "", want[64];
	snprintf(want, sizeof want, "answer %ld\n", victim_step);
	for (size_t n = 0; n < strlen(want);) {
		ssize_t got = read(master, line + n, sizeof line - 1 - n);
		CHECK(got > 0);
		n += got;
	}
	CHECK(strcmp(line, want) == 0);
}

static void see_others(void)
{
	int on = 0;
	CHECK_EQ(ioctl(packets, TIOCGPKT, &on), 0);
	CHECK_EQ(on, 1);
	CHECK_EQ(fcntl(kept, F_GETFD), 0);
	CHECK_EQ(fcntl(closing, F_GETFD), FD_CLOEXEC);
	CHECK_EQ(fcntl(kept, F_GETFL), fcntl(closing, F_GETFL));
	struct pollfd p = {.fd = packets, .events = POLLIN};
	CHECK_EQ(poll(&p, 1, 0), 0); // nothing to read, and it did not hang up
	p = (struct pollfd){.fd = hung, .events = POLLIN};
	CHECK_EQ(poll(&p, 1, 0), 1);
	CHECK(p.revents & POLLHUP);
}

static void tamper(void)
{
	struct termios t = settings;
	t.c_iflag ^= IXANY;
	if (tampering(1))
		tcsetattr(master, TCSANOW, &t);
	if (tampering(2))
		ioctl(master, TIOCSWINSZ, &(struct winsize){33, 102, 7, 9});
	if (tampering(3))
		type("more\n");
	if (tampering(4))
		ioctl(packets, TIOCPKT, &(int){0});
	if (tampering(5))
		close(hung), hung = open_master(NULL);
	if (tampering(7)) // as if it were closed at the next execve
		fcntl(kept, F_SETFD, FD_CLOEXEC);
	if (tampering(6))
		type((char[]){'K' & 31, 0});
}

int main(int argc, char **argv)
{
	victim_init(argc, argv, 7);
	family_init();
	set_up();
	closing = ioctl(packets, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC), kept = dup(closing);
	CHECK(fcntl(kept, F_GETFL) & O_CLOEXEC);
	ready();
	while (step()) {
		char line[64];
		tamper();
		if (victim_step % 4 == 0)
			type((char[]){'K' & 31, 0});
		snprintf(line, sizeof line, "typed %ld\n", victim_step);
		type(line);
		ask_all();
		hear();
		see_others();
		nap(4);
	}
	dismiss(JOB, 3), dismiss(SHELL, 4);
	wait_exit(family[SHELL].pid, 4);
	return pass();
}
