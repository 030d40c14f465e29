// test: System V IPC of several processes: segments shared at several addresses, read-only, in parts, marked for removal, unattached; semaphores with SEM_UNDO and waiters; message queues with messages.
#include "family.h"
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>

enum { KIDS = 2, SEMWAITER = KIDS, MSGWAITER, PAGE = 4096, SIZE = 20 * PAGE - 100, PARTS = 8 };

static int named, removed, idle, parts; // segments
static int set, unused;                 // semaphore sets
static int queue, waited, empty, latest; // message queues

// clean_up removes what would outlive a victim that fails.
static void clean_up(void)
{
	for (int i = 0; i < 3; i++)
		shmctl((int[]){named, idle, parts}[i], IPC_RMID, NULL);
	for (int i = 0; i < 4; i++)
		msgctl((int[]){queue, waited, empty, latest}[i], IPC_RMID, NULL);
	semctl(set, 0, IPC_RMID), semctl(unused, 0, IPC_RMID);
}
#undef FAIL
#define FAIL(...)                         \
	do {                              \
		clean_up();               \
		say("FAIL " __VA_ARGS__); \
		_exit(1);                 \
	} while (0)

static key_t named_key;
static char *whole, *readonly, *gone, *moved;
static long *counter; // in the segment that is marked for removal

static struct shmid_ds stat_of(int id)
{
	struct shmid_ds d;
	CHECK_EQ(shmctl(id, IPC_STAT, &d), 0);
	return d;
}

static int segment(key_t key, size_t size, int mode)
{
	int id = shmget(key, size, IPC_CREAT | IPC_EXCL | mode);
	if (id < 0 && errno == ENOSYS)
		unsupported("shmget");
	CHECK(id >= 0);
	return id;
}

static char *attach(int id, int flags)
{
	char *p = shmat(id, NULL, flags);
	CHECK(p != (void *)-1);
	return p;
}

// access_of tells what the kernel allows for a page: 0 nothing, 1 reading, 2 writing.
static int probe[2];
static int access_of(const char *p)
{
	char c;
	if (write(probe[1], p, 1) != 1)
		return 0;
	if (read(probe[0], (void *)(uintptr_t)p, 1) == 1)
		return 2;
	CHECK_EQ(read(probe[0], &c, 1), 1);
	return 1;
}

static void set_up_memory(void)
{
	CHECK_EQ(pipe(probe), 0);
	named_key = 0x60000000 | (getpid() & 0xfffff);
	named = segment(named_key, SIZE, 0640);
	whole = attach(named, 0);
	readonly = attach(named, SHM_RDONLY);
	fill(whole, SIZE, 1);
	whole[19 * PAGE + PAGE - 1] = 77; // behind the end, in the last page

	removed = segment(IPC_PRIVATE, 4 * PAGE, 0600);
	gone = attach(removed, 0);
	counter = (long *)(gone + PAGE);
	CHECK_EQ(shmctl(removed, IPC_RMID, NULL), 0);
	fill(gone + 2 * PAGE, PAGE, 2);

	idle = segment(IPC_PRIVATE, 3 * PAGE, 0600);
	char *p = attach(idle, 0);
	fill(p + PAGE, PAGE, 3);
	CHECK_EQ(shmdt(p), 0);

	// In parts: a hole, a part that can only be read, one without any access, one that was moved away.
	parts = segment(IPC_PRIVATE, PARTS * PAGE, 0600);
	moved = attach(parts, 0);
	fill(moved, PARTS * PAGE, 4);
	void *away = mmap(NULL, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK_EQ(munmap(moved + PAGE, PAGE), 0);
	CHECK_EQ(mprotect(moved + 3 * PAGE, PAGE, PROT_READ), 0);
	CHECK_EQ(mprotect(moved + 5 * PAGE, PAGE, PROT_NONE), 0);
	CHECK(mremap(moved + 7 * PAGE, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, away) == away);
	memcpy(moved, &away, sizeof away);
}

static void check_memory(int processes)
{
	verify("segment", whole, SIZE - SIZE % 8, 1);
	verify("segment, read-only", readonly, SIZE - SIZE % 8, 1);
	CHECK_EQ(readonly[19 * PAGE + PAGE - 1], 77);
	CHECK_EQ(access_of(whole), 2);
	CHECK_EQ(access_of(readonly), 1);
	CHECK_EQ(mprotect(readonly, PAGE, PROT_READ | PROT_WRITE), -1);
	CHECK_EQ(shmget(named_key, 0, 0), named);
	struct shmid_ds d = stat_of(named);
	CHECK_EQ(d.shm_perm.mode, 0640);
	CHECK_EQ(d.shm_segsz, SIZE);
	CHECK_EQ(d.shm_nattch, 2 * processes);

	verify("removed segment", gone + 2 * PAGE, PAGE, 2);
	CHECK_EQ(gone[0] + gone[3 * PAGE], 0);
	d = stat_of(removed);
	CHECK_EQ(d.shm_perm.mode, 01600);
	CHECK_EQ(d.shm_nattch, processes);

	char *away;
	memcpy(&away, moved, sizeof away);
	CHECK_EQ(access_of(moved), 2);
	CHECK_EQ(access_of(moved + PAGE), 0);
	CHECK_EQ(access_of(moved + 3 * PAGE), 1);
	CHECK_EQ(access_of(moved + 5 * PAGE), 0);
	CHECK_EQ(*(uint64_t *)(moved + 3 * PAGE), mix(4, 3 * PAGE / 8));
	CHECK_EQ(*(uint64_t *)away, mix(4, 7 * PAGE / 8));

	d = stat_of(idle);
	CHECK_EQ(d.shm_nattch, 0);
}

// check_idle looks into segments that nobody has attached, or not all of.
static void check_idle(void)
{
	char *p = attach(idle, SHM_RDONLY);
	verify("idle segment", p + PAGE, PAGE, 3);
	CHECK_EQ(p[0] + p[2 * PAGE], 0);
	CHECK_EQ(shmdt(p), 0);
	p = attach(parts, SHM_RDONLY);
	verify("hidden page", p + 8, 0, 4);
	CHECK_EQ(*(uint64_t *)(p + PAGE), mix(4, PAGE / 8)); // unmapped everywhere
	CHECK_EQ(shmdt(p), 0);
}

// Semaphores of the set.
enum { LOCK, HELD, TOP, SPARE, STEPS, SEMAPHORES };
union semun {
	int val;
	struct semid_ds *buf;
	unsigned short *array;
};

static void operate(int id, int semaphore, int by, int flags)
{
	CHECK_EQ(semop(id, &(struct sembuf){semaphore, by, flags}, 1), 0);
}

static int value(int semaphore) { return semctl(set, semaphore, GETVAL); }

// eventually waits for what a process that was interrupted in a call does again at once.
static void eventually(int id, int command, int want)
{
	for (int64_t end = now_ms() + 5000 + victim_slack_ms; semctl(id, 0, command) != want; nap(1))
		if (now_ms() > end)
			FAIL("semctl(%d) is %d, want %d", command, semctl(id, 0, command), want);
}

static void set_up_semaphores(void)
{
	set = semget(named_key, SEMAPHORES, IPC_CREAT | IPC_EXCL | 0620);
	CHECK(set >= 0);
	unsigned short values[SEMAPHORES] = {1, 10, 32767, 5, 0};
	CHECK_EQ(semctl(set, 0, SETALL, (union semun){.array = values}), 0);
	unused = semget(IPC_PRIVATE, 3, 0600);
	CHECK(unused >= 0);
	operate(set, HELD, -2, SEM_UNDO);
}

// adjust leaves adjustments behind that show when the child ends.
static void adjust(int k)
{
	operate(set, HELD, k == 0 ? -3 : 4, SEM_UNDO); // the second one takes away at its end
	if (k == 0) {
		operate(set, TOP, -20000, SEM_UNDO);
		operate(set, TOP, 20000, 0);
	} else {
		for (int i = 0; i < 2; i++) { // as low as it goes: -32768
			operate(set, TOP, -16384, 0);
			operate(set, TOP, 16384, SEM_UNDO);
		}
		operate(set, SPARE, 0 - 5, 0), operate(set, SPARE, 5, 0);
	}
}

static void check_semaphores(void)
{
	struct semid_ds d;
	CHECK_EQ(semget(named_key, SEMAPHORES, 0), set);
	CHECK_EQ(semctl(set, 0, IPC_STAT, (union semun){.buf = &d}), 0);
	CHECK_EQ(d.sem_perm.mode, 0620);
	CHECK_EQ(d.sem_nsems, SEMAPHORES);
	CHECK_EQ(value(LOCK), 1);
	CHECK_EQ(value(HELD), 10 - 2 - 3 + 4);
	CHECK_EQ(value(TOP), 32767);
	CHECK_EQ(value(SPARE), 5);
	CHECK_EQ(semctl(set, SPARE, GETPID), family[1].pid);
	CHECK_EQ(semctl(unused, 1, GETVAL), 0);
	CHECK_EQ(semctl(unused, 2, GETPID), 0);
	eventually(unused, GETNCNT, 1);
}

struct message {
	long type;
	char text[100];
};

static void send_message(int id, long type, size_t length, char fill_with)
{
	struct message m = {.type = type};
	memset(m.text, fill_with, length);
	CHECK_EQ(msgsnd(id, &m, length, 0), 0);
}

static void receive_message(int id, long type, long want, size_t length, char filled_with)
{
	struct message m, same;
	memset(same.text, filled_with, sizeof same.text);
	CHECK_EQ(msgrcv(id, &m, sizeof m.text, type, 0), length);
	CHECK_EQ(m.type, want);
	CHECK_EQ(memcmp(m.text, same.text, length), 0);
}

static void set_up_queues(void)
{
	queue = msgget(named_key, IPC_CREAT | IPC_EXCL | 0660);
	waited = msgget(IPC_PRIVATE, 0600);
	empty = msgget(IPC_PRIVATE, 0600);
	latest = msgget(IPC_PRIVATE, 0600);
	CHECK(queue >= 0 && waited >= 0 && empty >= 0 && latest >= 0);
	send_message(latest, 9, 0, 's');
	struct msqid_ds d;
	CHECK_EQ(msgctl(queue, IPC_STAT, &d), 0);
	d.msg_perm.mode = 0640, d.msg_qbytes = 700;
	CHECK_EQ(msgctl(queue, IPC_SET, &d), 0);
	send_message(queue, 0x7fffffff, 0, 0); // these stay to the end
	send_message(queue, 500, 100, 'a');
	send_message(queue, 500, 3, 'b');
}

static void check_queues(void)
{
	struct msqid_ds d;
	CHECK_EQ(msgget(named_key, 0), queue);
	CHECK_EQ(msgctl(queue, IPC_STAT, &d), 0);
	CHECK_EQ(d.msg_perm.mode, 0640);
	CHECK_EQ(d.msg_qbytes, 700);
	CHECK_EQ(d.msg_qnum, 3);
	CHECK(d.msg_lspid == family[0].pid || d.msg_lspid == family[1].pid);
	CHECK_EQ(d.msg_lrpid, getpid());
	CHECK_EQ(msgctl(empty, IPC_STAT, &d), 0);
	CHECK_EQ(d.msg_qnum, 0);
	CHECK_EQ(d.msg_lspid, 0);
}

static void check_messages(void)
{
	receive_message(queue, 500, 500, 100, 'a');
	receive_message(queue, 0, 0x7fffffff, 0, 0);
	receive_message(queue, 0, 500, 3, 'b');
	CHECK_EQ(msgrcv(queue, &(struct message){0}, 100, 0, IPC_NOWAIT), -1);
	CHECK_EQ(errno, ENOMSG);
}

// kid counts under a lock that would open if it ended, and answers a message.
static int self_slot;
static void kid(long step)
{
	verify("segment in a child", whole, SIZE - SIZE % 8, 1);
	operate(set, LOCK, -1, SEM_UNDO);
	long before = *counter;
	if (step % 4 == self_slot)
		nap(3);
	*counter = before + 1;
	operate(set, LOCK, 1, SEM_UNDO);
	receive_message(queue, 1 + self_slot, 1 + self_slot, step % 100, 'q');
	send_message(queue, 100 + self_slot, step % 90, 'r');
}

static void exchange_messages(void)
{
	for (int k = 0; k < KIDS; k++)
		send_message(queue, 1 + k, victim_step % 100, 'q');
	ask_all();
	for (int k = 0; k < KIDS; k++)
		receive_message(queue, 100 + k, 100 + k, victim_step % 90, 'r');
}

// check_latest: what changes at every step is as it was left, although it lives longer than
// the processes. The segment has it behind its end.
static void check_latest(void)
{
	int64_t *latest_step = (int64_t *)(whole + 20 * PAGE - 16);
	CHECK_EQ(*latest_step, victim_step - 1);
	*latest_step = victim_step;
	CHECK_EQ(value(STEPS), (victim_step - 1) % 1000);
	int by = victim_step % 1000 - value(STEPS);
	if (by != 0) // zero would be to wait
		operate(set, STEPS, by, 0);
	receive_message(latest, 0, 9, (victim_step - 1) % 90, 's');
	send_message(latest, 9, victim_step % 90, 's');
}

// waiter waits in one call from the beginning to the end.
static void waiter(int slot)
{
	enroll(slot);
	if (slot == SEMWAITER)
		operate(unused, 0, -1, 0);
	else
		receive_message(waited, 0, 3, 5, 'w');
	_exit(30 + slot);
}

static void give_birth(void)
{
	for (int k = 0; k <= MSGWAITER; k++) {
		pid_t pid = fork();
		CHECK(pid >= 0);
		if (pid == 0) {
			self_slot = k;
			if (k >= KIDS)
				waiter(k);
			adjust(k);
			enroll(k), serve(k, kid);
		}
		await_enrolled(k);
		if (k >= KIDS)
			family[k].quiet = 1;
	}
}

// check_end ends the others one by one and looks at what their ends do.
static void check_end(void)
{
	check_messages();
	dismiss(0, 20);
	wait_exit(family[0].pid, 20);
	CHECK_EQ(value(HELD), 10 - 2 + 4);
	CHECK_EQ(value(TOP), 32767);
	operate(set, TOP, -20000, 0);
	dismiss(1, 21);
	wait_exit(family[1].pid, 21);
	CHECK_EQ(value(HELD), 10 - 2);
	CHECK_EQ(value(TOP), 0);
	CHECK_EQ(value(LOCK), 1);
	operate(unused, 0, 1, 0);
	wait_exit(family[SEMWAITER].pid, 30 + SEMWAITER);
	send_message(waited, 3, 5, 'w');
	wait_exit(family[MSGWAITER].pid, 30 + MSGWAITER);
}

static void tamper(void)
{
	if (tampering(1))
		*(uint64_t *)(whole + 8 * PAGE) += 1;
	if (tampering(2)) { // as if it had come back as ordinary memory
		CHECK_EQ(shmdt(readonly), 0);
		CHECK(mmap(readonly, 20 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == readonly);
		memcpy(readonly, whole, 20 * PAGE);
	}
	if (tampering(3)) { // as if a child had got a copy
		CHECK_EQ(shmdt(gone), 0);
		CHECK(mmap(gone, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == gone);
		fill(gone + 2 * PAGE, PAGE, 2);
	}
	if (tampering(4))
		CHECK_EQ(shmctl(named, IPC_SET, &(struct shmid_ds){.shm_perm = {.mode = 0600, .uid = getuid(), .gid = getgid()}}), 0);
	if (tampering(5)) {
		char *p = attach(idle, 0);
		p[PAGE + 5] ^= 1;
		CHECK_EQ(shmdt(p), 0);
	}
	if (tampering(6))
		CHECK_EQ(mprotect(moved + 3 * PAGE, PAGE, PROT_READ | PROT_WRITE), 0);
	if (tampering(7)) // as if the adjustments were lost
		CHECK_EQ(semctl(set, HELD, SETVAL, (union semun){.val = value(HELD)}), 0);
	if (tampering(8))
		CHECK_EQ(semctl(set, TOP, SETVAL, (union semun){.val = 32767}), 0);
	if (tampering(9)) // somebody else has used it
		operate(set, SPARE, 1, 0), operate(set, SPARE, -1, 0);
	if (tampering(10)) { // two messages have changed places
		receive_message(queue, 500, 500, 100, 'a');
		send_message(queue, 500, 100, 'a');
	}
	if (tampering(11))
		receive_message(queue, 0x7fffffff, 0x7fffffff, 0, 0);
	if (tampering(12))
		CHECK_EQ(msgctl(empty, IPC_RMID, NULL), 0);
	if (tampering(14))
		send_message(latest, 9, 4, 's');
	if (tampering(13))
		operate(unused, 1, 1, 0);
}

int main(int argc, char **argv)
{
	victim_init(argc, argv, 14);
	family_init();
	setsid(); // session and group go along into a namespace; a leader has its own anyway
	set_up_memory();
	set_up_semaphores();
	set_up_queues();
	give_birth();
	ready();
	while (step()) {
		tamper();
		exchange_messages();
		CHECK_EQ(*counter, KIDS * victim_step);
		check_memory(1 + MSGWAITER + 1);
		check_idle();
		check_semaphores();
		check_queues();
		check_latest();
		nap(4);
	}
	check_end();
	check_memory(1);
	CHECK_EQ(shmdt(whole), 0);
	CHECK_EQ(shmdt(readonly), 0);
	CHECK_EQ(shmdt(gone), 0);
	CHECK_EQ(shmctl(removed, IPC_STAT, &(struct shmid_ds){0}), -1);
	CHECK_EQ(shmdt(moved), 0); // all that was not moved away goes with it
	CHECK_EQ(stat_of(parts).shm_nattch, 1);
	clean_up();
	CHECK_EQ(semctl(set, 0, GETVAL), -1);
	return pass();
}
