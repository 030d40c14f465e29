// test: parents, groups, sessions (also of dead leaders), orphans below a subreaper, zombies, a stopped child, a parent blocked in wait.
#include "family.h"

// The relatives. DEAD ones are not asked.
enum {
	PLAIN, LEADER, FOLLOWER, LATE, // groups: LATE is in one whose leader is gone
	SESSION, BORN_BEFORE, BORN_AFTER, // BORN_BEFORE is in the root's session, below a parent that has left it
	ORPHAN, DAEMON, // taken over by the root; DAEMON in a session whose leader is gone
	WAITING, WAITED_FOR, STOPPED, OF_ZOMBIE, // OF_ZOMBIE is in a group that a zombie leads
};
static int exited, killed; // zombies

// born forks a child that serves in a slot after setting up.
static int born(int slot, void (*set_up)(void), void (*extra)(long))
{
	int pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		if (set_up)
			set_up();
		enroll(slot);
		serve(slot, extra);
	}
	await_enrolled(slot);
	return pid;
}

static void own_group(void) { CHECK_EQ(setpgid(0, 0), 0); }
static void leaders_group(void) { CHECK_EQ(setpgid(0, family[LEADER].pid), 0); }

// in_dead_group leaves a process in a group whose leader has ended.
static void in_dead_group(void)
{
	int leader = fork();
	if (leader == 0) {
		setpgid(0, 0);
		pause();
	}
	setpgid(leader, leader);
	CHECK_EQ(setpgid(0, leader), 0);
	kill(leader, SIGKILL);
	CHECK_EQ(waitpid(leader, NULL, 0), leader);
}

static void new_session(void)
{
	born(BORN_BEFORE, NULL, NULL);
	CHECK_EQ(setsid(), getpid());
	born(BORN_AFTER, NULL, NULL);
	int between = fork();
	if (between == 0) {
		int before = getpid();
		if (fork() == 0) {
			while (getppid() == before)
				nap(1);
			enroll(ORPHAN);
			serve(ORPHAN, NULL);
		}
		_exit(0);
	}
	CHECK_EQ(waitpid(between, NULL, 0), between);
	await_enrolled(ORPHAN);
}

static void daemonise(void)
{
	int between = fork();
	if (between == 0) {
		int before = setsid();
		if (fork() == 0) {
			while (getppid() == before)
				nap(1);
			enroll(DAEMON);
			serve(DAEMON, NULL);
		}
		_exit(0);
	}
	CHECK_EQ(waitpid(between, NULL, 0), between);
	await_enrolled(DAEMON);
}

// wait_below blocks in wait for its own child and ends with the status of that.
static int wait_below(void)
{
	int pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		enroll(WAITING);
		int below = born(WAITED_FOR, NULL, NULL), status;
		CHECK_EQ(waitpid(below, &status, 0), below);
		CHECK(WIFEXITED(status));
		_exit(WEXITSTATUS(status) + 1);
	}
	family[WAITING].quiet = 1;
	await_enrolled(WAITED_FOR);
	return pid;
}

static void make_zombies(void)
{
	if ((exited = fork()) == 0) {
		setpgid(0, 0);
		_exit(3);
	}
	if ((killed = fork()) == 0)
		pause();
	kill(killed, SIGUSR1);
	siginfo_t si;
	CHECK_EQ(waitid(P_PID, exited, &si, WEXITED | WNOWAIT), 0);
	CHECK_EQ(waitid(P_PID, killed, &si, WEXITED | WNOWAIT), 0);
}

static void zombies_group(void) { CHECK_EQ(setpgid(0, exited), 0); }

static void see_zombie(int pid, int code, int status)
{
	siginfo_t si = {0};
	CHECK_EQ(waitid(P_PID, pid, &si, WEXITED | WNOHANG | WNOWAIT), 0);
	CHECK_EQ(si.si_pid, pid);
	CHECK_EQ(si.si_code, code);
	CHECK_EQ(si.si_status, status);
}

// see_stopped checks that a child is stopped, and that this is no news.
static void see_stopped(void)
{
	char path[64], line[256] = "";
	snprintf(path, sizeof path, "/proc/%d/stat", family[STOPPED].pid);
	int fd = open(path, O_RDONLY);
	CHECK(fd >= 0);
	CHECK(read(fd, line, sizeof line - 1) > 0);
	close(fd);
	CHECK(strstr(line, ") T ") != NULL);
	siginfo_t si = {0};
	CHECK_EQ(waitid(P_PID, family[STOPPED].pid, &si, WSTOPPED | WNOHANG), 0);
	CHECK_EQ(si.si_pid, 0);
}

// quiet_signals checks that nothing has happened to a child meanwhile.
static void quiet_signals(void)
{
	sigset_t p;
	CHECK_EQ(sigpending(&p), 0);
	CHECK(!sigismember(&p, SIGCHLD));
}

static int waiting;

static void set_up(void)
{
	family_init();
	CHECK_EQ(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
	born(PLAIN, NULL, NULL);
	born(LEADER, own_group, NULL);
	born(FOLLOWER, leaders_group, NULL);
	born(LATE, in_dead_group, NULL);
	born(SESSION, new_session, NULL);
	daemonise();
	waiting = wait_below();
	make_zombies();
	born(OF_ZOMBIE, zombies_group, NULL);
	born(STOPPED, NULL, NULL);
	family[STOPPED].quiet = 1;
	kill(family[STOPPED].pid, SIGSTOP);
	CHECK_EQ(waitpid(family[STOPPED].pid, NULL, WUNTRACED), family[STOPPED].pid);
	sigset_t chld;
	sigemptyset(&chld);
	sigaddset(&chld, SIGCHLD);
	CHECK_EQ(sigprocmask(SIG_BLOCK, &chld, NULL), 0);
}

static void tamper(void)
{
	if (tampering(1))
		kill(family[PLAIN].pid, SIGKILL);
	if (tampering(2))
		setpgid(family[FOLLOWER].pid, getpgrp());
	if (tampering(3))
		family[ORPHAN].ppid = family[SESSION].pid;
	if (tampering(4))
		waitpid(exited, NULL, 0);
	if (tampering(5))
		kill(family[STOPPED].pid, SIGCONT);
	if (tampering(6))
		family[BORN_BEFORE].sid = family[SESSION].pid;
	if (tampering(7))
		family[DAEMON].answered--, family[DAEMON].asked--; // as if the page were not shared
	if (tampering(8))
		kill(getpid(), SIGCHLD);
}

int main(int argc, char **argv)
{
	victim_init(argc, argv, 8);
	set_up();
	ready();
	while (step()) {
		tamper();
		see_zombie(exited, CLD_EXITED, 3);
		see_zombie(killed, CLD_KILLED, SIGUSR1);
		see_stopped();
		quiet_signals();
		ask_all();
		nap(4);
	}
	kill(family[STOPPED].pid, SIGCONT);
	family[STOPPED].quiet = 0;
	ask_all();
	dismiss(WAITED_FOR, 41);
	wait_exit(waiting, 42);
	static const int own[] = {PLAIN, LEADER, FOLLOWER, LATE, ORPHAN, DAEMON, STOPPED, OF_ZOMBIE};
	for (unsigned i = 0; i < sizeof own / sizeof *own; i++) {
		dismiss(own[i], 10 + i);
		wait_exit(family[own[i]].pid, 10 + i);
	}
	wait_exit(exited, 3);
	dismiss(BORN_BEFORE, 1), dismiss(BORN_AFTER, 1), dismiss(SESSION, 5);
	wait_exit(family[SESSION].pid, 5);
	return pass();
}
