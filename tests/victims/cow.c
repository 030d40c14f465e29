// test: memory that parent, child and grandchild have in common since a fork: each sees its own changes, none those of others, and it does not multiply.
#include "family.h"

enum { SIZE = 24 << 20, PAGE = 4096, PAGES = SIZE / PAGE, CHILD = 1, GRANDCHILD = 2, NEIGHBOUR = 3, OWN = 64, LEAST = 20 << 20 };
static unsigned char *mem;
static uint64_t own_seed; // of the pages that this process has changed
static int lost_from, lost_to, gone_from, gone_to, read_from, read_to; // pages that read as zeros, are not mapped, can't be written

// mine tells whether a page is one of those that a process changes.
static int mine(int page, uint64_t seed)
{
	if ((page >= gone_from && page < gone_to) || (page >= read_from && page < read_to))
		return 0;
	return seed && page % (PAGES / OWN) == (int)(seed % 7);
}

static int untouched(int page) { return page % 1000 == 999; } // nobody has written there

static void write_page(int page, uint64_t seed) { fill(mem + (long)page * PAGE, PAGE, seed + page); }

static void change_own(void)
{
	for (int i = 0; i < PAGES; i++)
		if (mine(i, own_seed))
			write_page(i, own_seed << 32);
}

static void check_memory(void)
{
	static const unsigned char zeros[PAGE];
	for (int i = 0; i < PAGES; i++) {
		unsigned char *p = mem + (long)i * PAGE;
		if (i >= gone_from && i < gone_to)
			continue;
		if (mine(i, own_seed))
			verify("own page", p, PAGE, (own_seed << 32) + i);
		else if (untouched(i) || (i >= lost_from && i < lost_to))
			CHECK(memcmp(p, zeros, PAGE) == 0);
		else
			verify("common page", p, PAGE, 7 + i);
	}
	unsigned char there;
	if (gone_to)
		CHECK(mincore(mem + (long)gone_from * PAGE, PAGE, &there) == -1 && errno == ENOMEM);
}

// check_common looks at how much of the memory this process has to itself.
static void check_common(void)
{
	FILE *f = fopen("/proc/self/smaps_rollup", "r");
	char line[200];
	long kb, own = 0;
	CHECK(f != NULL);
	while (fgets(line, sizeof line, f))
		if (sscanf(line, "Private_Clean: %ld", &kb) == 1 || sscanf(line, "Private_Dirty: %ld", &kb) == 1)
			own += kb;
	fclose(f);
	if (own * 1024 > LEAST)
		FAIL("%ld KB are no more common with others", own);
}

static void relative_step(long step)
{
	check_memory();
	check_common();
	if (step % 3 == 0) // and writes its own pages again
		change_own();
}

static void child(void)
{
	own_seed = 11;
	change_own();
	if (fork() == 0) {
		own_seed = 17; // and keeps the changes of its parent
		for (int i = 0; i < PAGES; i++)
			if (mine(i, 11))
				write_page(i, 7);
		change_own();
		enroll(GRANDCHILD);
		serve(GRANDCHILD, relative_step);
	}
	enroll(CHILD);
	serve(CHILD, relative_step);
}

static void neighbour(void)
{
	own_seed = 12;
	lost_from = PAGES / 4, lost_to = PAGES / 4 + 300;
	gone_from = PAGES / 2, gone_to = PAGES / 2 + 200;
	read_from = 500, read_to = 600;
	CHECK_EQ(madvise(mem + (long)lost_from * PAGE, (lost_to - lost_from) * PAGE, MADV_DONTNEED), 0);
	CHECK_EQ(munmap(mem + (long)gone_from * PAGE, (gone_to - gone_from) * PAGE), 0);
	CHECK_EQ(mprotect(mem + (long)read_from * PAGE, (read_to - read_from) * PAGE, PROT_READ), 0);
	change_own();
	enroll(NEIGHBOUR);
	serve(NEIGHBOUR, relative_step);
}

static void tamper(void)
{
	if (tampering(1)) // as if a change of the parent had come to all
		write_page(5, 4711);
	if (tampering(2))
		memset(mem + 999 * PAGE, 1, PAGE);
	if (tampering(3)) // as if pages of the image were missing
		madvise(mem + 100 * PAGE, PAGE, MADV_DONTNEED);
	if (tampering(4)) { // as if the memory of a child had been filled in for itself
		own_seed = 0;
		for (int i = 0; i < PAGES; i++)
			if (!untouched(i))
				write_page(i, 7);
		check_memory();
		check_common();
	}
}

int main(int argc, char **argv)
{
	victim_init(argc, argv, 4);
	family_init();
	mem = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(mem != MAP_FAILED);
	madvise(mem, SIZE, MADV_NOHUGEPAGE);
	for (int i = 0; i < PAGES; i++)
		if (!untouched(i))
			write_page(i, 7);
	int a = fork();
	if (a == 0)
		child();
	await_enrolled(CHILD), await_enrolled(GRANDCHILD);
	int b = fork();
	if (b == 0)
		neighbour();
	await_enrolled(NEIGHBOUR);
	own_seed = 13;
	change_own();
	char *more = malloc(100000); // its heap grows beyond that of its children
	memset(more, 1, 100000);
	ready();
	while (step()) {
		tamper();
		ask_all();
		check_memory();
		check_common();
		nap(4);
	}
	dismiss(GRANDCHILD, 5), dismiss(CHILD, 3), dismiss(NEIGHBOUR, 4);
	wait_exit(a, 3);
	wait_exit(b, 4);
	return pass();
}
