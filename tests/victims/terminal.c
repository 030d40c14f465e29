// test: a terminal in raw mode with settings of its own; told of its new window after it has come back.
// Its standard input is a terminal, its output is not.
#include "victim.h"
#include <signal.h>
#include <sys/ioctl.h>
#include <termios.h>

static volatile sig_atomic_t resized;
static void on_resize(int sig) { (void)sig, resized = 1; }

int main(int argc, char **argv)
{
	victim_init(argc, argv, 2);
	if (!isatty(0))
		unsupported("no terminal");
	struct sigaction sa = {.sa_handler = on_resize, .sa_flags = SA_RESTART};
	CHECK_EQ(sigaction(SIGWINCH, &sa, NULL), 0);
	struct termios want, now;
	CHECK_EQ(tcgetattr(0, &want), 0);
	cfmakeraw(&want);
	want.c_lflag |= ISIG;
	want.c_cc[VMIN] = 0, want.c_cc[VTIME] = 3, want.c_cc[VINTR] = 'k' & 31;
	CHECK_EQ(tcsetattr(0, TCSANOW, &want), 0);
	ready();
	while (step()) {
		if (tampering(1))
			now = want, now.c_lflag |= ECHO, tcsetattr(0, TCSANOW, &now);
		if (tampering(2))
			now = want, now.c_cc[VTIME] = 1, tcsetattr(0, TCSANOW, &now);
		CHECK_EQ(tcgetattr(0, &now), 0);
		CHECK_EQ(now.c_iflag, want.c_iflag);
		CHECK_EQ(now.c_oflag, want.c_oflag);
		CHECK_EQ(now.c_lflag, want.c_lflag);
		CHECK_EQ(memcmp(now.c_cc, want.c_cc, sizeof now.c_cc), 0);
		if (resized) {
			struct winsize w;
			resized = 0;
			CHECK_EQ(ioctl(0, TIOCGWINSZ, &w), 0);
			say("slept window %d %d", w.ws_row, w.ws_col);
		}
		struct timespec t = {0, 4000000};
		while (nanosleep(&t, &t) != 0)
			CHECK_EQ(errno, EINTR); // by SIGWINCH
	}
	return pass();
}
