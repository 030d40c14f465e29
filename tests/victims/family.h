/*
 * family.h: a victim of several processes.
 *
 * The root is the victim of victim.h. Every relative has a slot in a shared
 * anonymous page; at every step the root asks each one, and a relative answers
 * only when it has checked all that it knows of itself. So an answer proves that
 * it lives, that it is the one it was, and that the page is shared.
 */
#ifndef FAMILY_H
#define FAMILY_H
#include "victim.h"
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

enum { RELATIVES = 32 };
struct relative {
	volatile long asked, answered; // steps; asked < 0: end with status -asked
	int pid, ppid, pgid, sid;      // as they must be; pid 0: nobody
	volatile int quiet;            // it can't answer now
};
static struct relative *family;

__attribute__((unused)) static void family_init(void)
{
	family = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(family != MAP_FAILED);
}

// who_am_i compares this process with its slot.
__attribute__((unused)) static void who_am_i(int slot)
{
	struct relative *r = &family[slot];
	if (getpid() != r->pid || getppid() != r->ppid || getpgrp() != r->pgid || getsid(0) != r->sid)
		FAIL("relative %d: process %d, parent %d, group %d, session %d; want %d %d %d %d", slot, getpid(), getppid(),
		     getpgrp(), getsid(0), r->pid, r->ppid, r->pgid, r->sid);
}

// serve answers until it is told to end. extra, which may be null, checks more.
__attribute__((unused)) static void serve(int slot, void (*extra)(long))
{
	struct relative *r = &family[slot];
	for (long done = r->answered;;) {
		long asked = r->asked;
		if (asked < 0)
			_exit((int)-asked);
		if (asked == done) {
			nap(1);
			continue;
		}
		if (asked != done + 1)
			FAIL("relative %d: asked for step %ld after %ld", slot, asked, done);
		who_am_i(slot);
		if (extra)
			extra(asked);
		r->answered = done = asked;
	}
}

// enroll fills the slot of a relative, which calls it.
__attribute__((unused)) static void enroll(int slot)
{
	struct relative *r = &family[slot];
	CHECK_EQ(prctl(PR_SET_PDEATHSIG, SIGKILL), 0); // nobody is left of a killed victim
	r->ppid = getppid(), r->pgid = getpgrp(), r->sid = getsid(0);
	__atomic_store_n(&r->pid, getpid(), __ATOMIC_RELEASE);
}

// await_enrolled waits for the relative in a slot.
__attribute__((unused)) static int await_enrolled(int slot)
{
	for (int64_t end = now_ms() + 5000 + victim_slack_ms; !__atomic_load_n(&family[slot].pid, __ATOMIC_ACQUIRE);) {
		if (now_ms() > end)
			FAIL("relative %d did not come", slot);
		nap(1);
	}
	return family[slot].pid;
}

// ask_all asks every relative for one more step and waits for the answers.
__attribute__((unused)) static void ask_all(void)
{
	for (int i = 0; i < RELATIVES; i++)
		if (family[i].pid && !family[i].quiet)
			family[i].asked++;
	int64_t end = now_ms() + 5000 + victim_slack_ms;
	for (int i = 0; i < RELATIVES; i++)
		while (family[i].pid && !family[i].quiet && family[i].answered != family[i].asked) {
			if (now_ms() > end)
				FAIL("relative %d (process %d) does not answer", i, family[i].pid);
			nap(1);
		}
}

// dismiss ends a relative with a status.
__attribute__((unused)) static void dismiss(int slot, int status)
{
	family[slot].quiet = 1;
	family[slot].asked = -status;
}

// wait_exit waits for a child and checks its status.
__attribute__((unused)) static void wait_exit(int pid, int status)
{
	int got = 0;
	CHECK_EQ(waitpid(pid, &got, 0), pid);
	CHECK(WIFEXITED(got));
	CHECK_EQ(WEXITSTATUS(got), status);
}
#endif
