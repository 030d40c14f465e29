// test: sixteen threads with every kind of mutex held and waited for, condition variables, rwlock, TLS, names, tids.
#include "victim.h"
#include <linux/futex.h>
#include <pthread.h>

enum { KINDS = 8 };
static const char *kind_names[KINDS] = {"normal", "recursive", "errorcheck", "adaptive",
					"robust", "pi",	       "pshared",    "robust-pi-pshared"};

// One holder owns the mutex from before "ready" to the end, one waiter blocks
// in pthread_mutex_lock all that time.
struct lock {
	pthread_mutex_t mutex;
	int holder, waiter; // tids
	long ticks, handed;
};
static struct lock *locks; // in shared memory, for the process-shared kinds
static pthread_t holders[KINDS], waiters[KINDS];
static pthread_rwlock_t rw = PTHREAD_RWLOCK_INITIALIZER;
static pthread_mutex_t tick_mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t tick_cond = PTHREAD_COND_INITIALIZER, done_cond = PTHREAD_COND_INITIALIZER;
static long tick, done;
static int finishing;
static __thread uint64_t tls[64];

static int gettid_(void) { return (int)syscall(SYS_gettid); }

static void make_mutex(int kind)
{
	pthread_mutexattr_t a;
	pthread_mutexattr_init(&a);
	if (kind == 1)
		pthread_mutexattr_settype(&a, PTHREAD_MUTEX_RECURSIVE);
	if (kind == 2)
		pthread_mutexattr_settype(&a, PTHREAD_MUTEX_ERRORCHECK);
	if (kind == 3)
		pthread_mutexattr_settype(&a, PTHREAD_MUTEX_ADAPTIVE_NP);
	if (kind == 4 || kind == 7)
		pthread_mutexattr_setrobust(&a, PTHREAD_MUTEX_ROBUST);
	if (kind == 5 || kind == 7)
		pthread_mutexattr_setprotocol(&a, PTHREAD_PRIO_INHERIT);
	if (kind == 6 || kind == 7)
		pthread_mutexattr_setpshared(&a, PTHREAD_PROCESS_SHARED);
	CHECK_EQ(pthread_mutex_init(&locks[kind].mutex, &a), 0);
}

// check_self compares what belongs to the calling thread.
static void check_self(int kind, int tid, const char *name, void *robust_head)
{
	char got[32];
	CHECK_EQ(gettid_(), tid);
	CHECK_EQ(pthread_getname_np(pthread_self(), got, sizeof got), 0);
	if (strcmp(got, name) != 0)
		FAIL("thread name is %s, want %s", got, name);
	verify("thread-local storage", tls, sizeof tls, kind + 100);
	void *head;
	size_t len;
	CHECK_EQ(syscall(SYS_get_robust_list, 0, &head, &len), 0);
	CHECK(head == robust_head);
}

static void check_held(int kind)
{
	struct lock *l = &locks[kind];
	CHECK_EQ(l->mutex.__data.__owner & 0x3fffffff, l->holder);
	if (kind == 1) {
		CHECK_EQ(pthread_mutex_lock(&l->mutex), 0);
		CHECK_EQ(pthread_mutex_unlock(&l->mutex), 0);
	}
	if (kind == 2)
		CHECK_EQ(pthread_mutex_lock(&l->mutex), EDEADLK);
}

static void *hold(void *arg)
{
	int kind = (int)(intptr_t)arg, tid = gettid_();
	struct lock *l = &locks[kind];
	char name[16];
	snprintf(name, sizeof name, "hold-%d-\xc3\xa9 )", kind);
	CHECK_EQ(pthread_setname_np(pthread_self(), name), 0);
	fill(tls, sizeof tls, kind + 100);
	void *head;
	size_t len;
	CHECK_EQ(syscall(SYS_get_robust_list, 0, &head, &len), 0);
	CHECK_EQ(pthread_rwlock_rdlock(&rw), 0);
	CHECK_EQ(pthread_mutex_lock(&l->mutex), 0);
	l->holder = tid;
	pthread_mutex_lock(&tick_mutex);
	for (long seen = 0; !finishing;) {
		done++;
		pthread_cond_signal(&done_cond);
		while (tick == seen && !finishing)
			CHECK_EQ(pthread_cond_wait(&tick_cond, &tick_mutex), 0);
		seen = tick;
		l->ticks++;
		check_self(kind, tid, name, head);
		check_held(kind);
	}
	pthread_mutex_unlock(&tick_mutex);
	CHECK_EQ(pthread_rwlock_unlock(&rw), 0);
	if (kind != 4 && kind != 7) // a robust one dies with its owner
		CHECK_EQ(pthread_mutex_unlock(&l->mutex), 0);
	return NULL;
}

static void *wait_for_lock(void *arg)
{
	int kind = (int)(intptr_t)arg, tid = gettid_();
	struct lock *l = &locks[kind];
	fill(tls, sizeof tls, kind + 200);
	__atomic_store_n(&l->waiter, tid, __ATOMIC_RELEASE);
	int r = pthread_mutex_lock(&l->mutex);
	CHECK_EQ(finishing, 1);
	CHECK_EQ(r, kind == 4 || kind == 7 ? EOWNERDEAD : 0);
	if (r == EOWNERDEAD)
		CHECK_EQ(pthread_mutex_consistent(&l->mutex), 0);
	CHECK_EQ(l->mutex.__data.__owner & 0x3fffffff, tid);
	verify("thread-local storage", tls, sizeof tls, kind + 200);
	l->handed++;
	CHECK_EQ(gettid_(), tid);
	CHECK_EQ(pthread_mutex_unlock(&l->mutex), 0);
	return NULL;
}

// all_ticked waits until every holder has worked on this tick.
static void all_ticked(void)
{
	struct timespec until;
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += 30 + victim_slack_ms / 1000;
	while (done < KINDS)
		CHECK_EQ(pthread_cond_timedwait(&done_cond, &tick_mutex, &until), 0);
}

static void tamper(void)
{
	if (tampering(1))
		locks[2].mutex.__data.__owner++;
	if (tampering(2))
		locks[5].holder++;
	if (tampering(3))
		pthread_setname_np(holders[6], "other");
	if (tampering(4))
		tick--;
	if (tampering(5))
		locks[4].mutex.__data.__lock = 0;
}

static void set_up(void)
{
	locks = mmap(NULL, 4096 * 2, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(locks != MAP_FAILED);
	pthread_mutex_lock(&tick_mutex);
	for (intptr_t k = 0; k < KINDS; k++) {
		make_mutex(k);
		CHECK_EQ(pthread_create(&holders[k], NULL, hold, (void *)k), 0);
	}
	all_ticked();
	pthread_mutex_unlock(&tick_mutex);
	for (intptr_t k = 0; k < KINDS; k++) {
		CHECK_EQ(pthread_create(&waiters[k], NULL, wait_for_lock, (void *)k), 0);
		while (!__atomic_load_n(&locks[k].waiter, __ATOMIC_ACQUIRE))
			nap(1);
	}
}

static void finish(void)
{
	CHECK_EQ(pthread_rwlock_trywrlock(&rw), EBUSY);
	pthread_mutex_lock(&tick_mutex);
	finishing = 1;
	pthread_cond_broadcast(&tick_cond);
	pthread_mutex_unlock(&tick_mutex);
	for (int k = 0; k < KINDS; k++) {
		CHECK_EQ(pthread_join(holders[k], NULL), 0);
		CHECK_EQ(pthread_join(waiters[k], NULL), 0);
		CHECK_EQ(locks[k].handed, 1);
	}
	CHECK_EQ(pthread_rwlock_trywrlock(&rw), 0);
}

int main(int argc, char **argv)
{
	victim_init(argc, argv, 5);
	set_up();
	ready();
	while (step()) {
		for (int k = 0; k < KINDS; k++)
			if (pthread_mutex_trylock(&locks[k].mutex) != EBUSY)
				FAIL("the %s mutex is free", kind_names[k]);
		pthread_mutex_lock(&tick_mutex);
		done = 0;
		tick++;
		tamper();
		CHECK_EQ(tick, victim_step);
		pthread_cond_broadcast(&tick_cond);
		all_ticked();
		for (int k = 0; k < KINDS; k++)
			CHECK_EQ(locks[k].ticks, victim_step);
		pthread_mutex_unlock(&tick_mutex);
		nap(3);
	}
	finish();
	return pass();
}
