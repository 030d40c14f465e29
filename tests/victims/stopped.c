// test: a program that stopped itself is still stopped after a checkpoint and after a restore; SIGCONT wakes it.
#include "victim.h"
#include <signal.h>

static volatile sig_atomic_t continued;
static void on_cont(int sig) { (void)sig, continued++; }

int main(int argc, char **argv)
{
	victim_init(argc, argv, 1);
	int stop = victim_steps > 1L << 20 || victim_tamper; // an uninterrupted run has nobody to send SIGCONT
	struct sigaction sa = {.sa_handler = on_cont, .sa_flags = SA_RESTART};
	CHECK_EQ(sigaction(SIGCONT, &sa, NULL), 0);
	ready();
	while (step()) {
		if (victim_step == 10 && stop) {
			say("stopping");
			raise(SIGSTOP);
			CHECK_EQ(continued, 1);
			say("continued");
		}
		if (tampering(1)) { // what a restore does that forgets the stop: no SIGCONT
			CHECK_EQ(continued, 1);
		}
		nap(3);
	}
	return pass();
}
