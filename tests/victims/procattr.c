// test: what a process is beside its memory: directory, limits, priorities, prctl settings, names, environment.
#include "victim.h"
#include <sched.h>
#include <signal.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>

enum { LIMITS = 16, TEXT = 4096 };
static const char *proc_files[] = {"/proc/self/cmdline", "/proc/self/environ",	  "/proc/self/auxv",
				   "/proc/self/comm",	 "/proc/self/oom_score_adj", "/proc/self/coredump_filter",
				   "/proc/self/timerslack_ns"};
static const char *links[] = {"/proc/self/exe", "/proc/self/root"};
enum { FILES = sizeof proc_files / sizeof *proc_files, LINKS = sizeof links / sizeof *links };

// Everything that is compared, as one block of bytes.
static struct state {
	char files[FILES][TEXT], links[LINKS][256], cwd[512];
	struct rlimit limits[LIMITS];
	int umask, dumpable, no_new_privs, thp, persona, slack, pdeathsig, nice, policy, subreaper, keepcaps;
	uid_t uids[3], gids[3];
	pid_t pid, pgid, sid;
	int groups;
	gid_t group[64];
	cpu_set_t affinity;
	sigset_t blocked;
} want, now;

static void read_text(const char *path, char *out, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	CHECK(fd >= 0);
	CHECK(read(fd, out, size) >= 0);
	close(fd);
}

static void look(struct state *s)
{
	memset(s, 0, sizeof *s);
	for (int i = 0; i < FILES; i++)
		read_text(proc_files[i], s->files[i], TEXT);
	for (int i = 0; i < LINKS; i++)
		CHECK(readlink(links[i], s->links[i], 255) > 0);
	CHECK(readlink("/proc/self/cwd", s->cwd, 511) > 0);
	for (int i = 0; i < LIMITS; i++)
		CHECK_EQ(getrlimit(i, &s->limits[i]), 0);
	s->umask = umask(0);
	umask(s->umask);
	s->dumpable = prctl(PR_GET_DUMPABLE);
	s->no_new_privs = prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0);
	s->thp = prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0);
	s->persona = personality(0xffffffff);
	s->slack = prctl(PR_GET_TIMERSLACK);
	prctl(PR_GET_PDEATHSIG, &s->pdeathsig);
	prctl(PR_GET_CHILD_SUBREAPER, &s->subreaper);
	s->keepcaps = prctl(PR_GET_KEEPCAPS);
	s->nice = getpriority(PRIO_PROCESS, 0);
	s->policy = sched_getscheduler(0);
	CHECK_EQ(getresuid(&s->uids[0], &s->uids[1], &s->uids[2]), 0);
	CHECK_EQ(getresgid(&s->gids[0], &s->gids[1], &s->gids[2]), 0);
	s->pid = getpid(), s->pgid = getpgrp(), s->sid = getsid(0);
	s->groups = getgroups(64, s->group);
	CHECK_EQ(sched_getaffinity(0, sizeof s->affinity, &s->affinity), 0);
	sigprocmask(0, NULL, &s->blocked);
}

#define SAME(field)                                                   \
	if (memcmp(&want.field, &now.field, sizeof want.field) != 0)  \
	FAIL(#field " differs")

static void compare(void)
{
	look(&now);
	for (int i = 0; i < FILES; i++)
		if (memcmp(want.files[i], now.files[i], TEXT) != 0)
			FAIL("%s differs: %.80s, want %.80s", proc_files[i], now.files[i], want.files[i]);
	for (int i = 0; i < LINKS; i++)
		if (strcmp(want.links[i], now.links[i]) != 0)
			FAIL("%s is %s, want %s", links[i], now.links[i], want.links[i]);
	// A removed directory is made anew and removed again: another name is legal.
	if (strstr(want.cwd, "(deleted)") ? !strstr(now.cwd, "(deleted)") : strcmp(want.cwd, now.cwd) != 0)
		FAIL("cwd is %s, want %s", now.cwd, want.cwd);
	for (int i = 0; i < LIMITS; i++)
		if (memcmp(&want.limits[i], &now.limits[i], sizeof(struct rlimit)) != 0)
			FAIL("limit %d is %lu:%lu, want %lu:%lu", i, now.limits[i].rlim_cur, now.limits[i].rlim_max,
			     want.limits[i].rlim_cur, want.limits[i].rlim_max);
	SAME(umask);
	SAME(dumpable);
	SAME(no_new_privs);
	SAME(thp);
	SAME(persona);
	SAME(slack);
	SAME(pdeathsig);
	SAME(subreaper);
	SAME(keepcaps);
	SAME(nice);
	SAME(policy);
	SAME(uids);
	SAME(gids);
	SAME(pid);
	SAME(pgid);
	SAME(sid);
	SAME(groups);
	SAME(group);
	SAME(affinity);
	SAME(blocked);
}

static void put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	CHECK(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
	close(fd);
}

static void set_limit(int which, rlim_t soft)
{
	struct rlimit l;
	getrlimit(which, &l);
	l.rlim_cur = soft < l.rlim_max ? soft : l.rlim_max;
	CHECK_EQ(setrlimit(which, &l), 0);
}

static void set_up(void)
{
	umask(0137);
	set_limit(RLIMIT_NOFILE, 777);
	set_limit(RLIMIT_CORE, 123 << 10);
	set_limit(RLIMIT_STACK, 6 << 20);
	CHECK_EQ(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
	CHECK_EQ(prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0), 0);
	CHECK_EQ(prctl(PR_SET_TIMERSLACK, 123456), 0);
	CHECK_EQ(prctl(PR_SET_NAME, "a (b) c\xff d"), 0);
	CHECK_EQ(prctl(PR_SET_PDEATHSIG, SIGCONT), 0);
	CHECK_EQ(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
	CHECK(personality(PER_LINUX | ADDR_NO_RANDOMIZE | SHORT_INODE) != -1);
	CHECK_EQ(setpriority(PRIO_PROCESS, 0, 5), 0);
	put("/proc/self/coredump_filter", "0x25");
	put("/proc/self/oom_score_adj", "321");
	cpu_set_t all, one;
	CHECK_EQ(sched_getaffinity(0, sizeof all, &all), 0);
	CPU_ZERO(&one);
	for (int c = 0; c < CPU_SETSIZE && CPU_COUNT(&one) == 0; c++)
		if (CPU_ISSET(c, &all))
			CPU_SET(c, &one);
	CHECK_EQ(sched_setaffinity(0, sizeof one, &one), 0);
}

static void tamper(void)
{
	if (tampering(1))
		umask(022);
	if (tampering(2))
		set_limit(RLIMIT_NOFILE, 500);
	if (tampering(3))
		prctl(PR_SET_THP_DISABLE, 0, 0, 0, 0);
	if (tampering(4))
		prctl(PR_SET_TIMERSLACK, 50000);
	if (tampering(5))
		prctl(PR_SET_NAME, "procattr");
	if (tampering(6))
		prctl(PR_SET_PDEATHSIG, 0);
	if (tampering(7))
		setpriority(PRIO_PROCESS, 0, 7);
	if (tampering(8))
		put("/proc/self/coredump_filter", "0x33");
	if (tampering(9))
		CHECK_EQ(chdir("/"), 0);
	if (tampering(10))
		personality(PER_LINUX);
	if (tampering(11))
		put("/proc/self/oom_score_adj", "400");
	if (tampering(12))
		setsid() < 0 ? setpgid(0, 0) : 0;
	if (tampering(13))
		environ[0][0] ^= 1;
	if (tampering(14))
		prctl(PR_SET_CHILD_SUBREAPER, 0);
}

// main is called with a fifth argument "deleted" to work in a removed directory.
int main(int argc, char **argv)
{
	victim_init(argc, argv, 14);
	if (argc > 5) {
		CHECK(mkdir("gone", 0700) == 0 && chdir("gone") == 0 && rmdir("../gone") == 0);
	} else {
		CHECK(mkdir("here", 0700) == 0 && chdir("here") == 0);
	}
	set_up();
	look(&want);
	ready();
	while (step()) {
		tamper();
		compare();
		struct stat st;
		CHECK(stat(".", &st) == 0 && (st.st_nlink == 0) == (argc > 5));
		nap(4);
	}
	return pass();
}
