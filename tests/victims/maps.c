// test: every kind of mapping: anonymous, file, memfd, /dev/shm, reservations, madvise, mlock, stack and brk growth.
#include "victim.h"
#include "ownmaps.h"
#include <sys/resource.h>

enum { PAGE = 4096, SIZE = 16 * PAGE };

static uint8_t *private_anon, *shared_anon, *file_private, *file_ro, *file_rw, *memfd_map, *shm_map, *huge_reserve,
	*reserve_used, *guarded, *brk_start;
static int memfd, sealed, mlocked;

static void *map(void *at, size_t n, int prot, int flags, int fd)
{
	void *p = mmap(at, n, prot, flags, fd, 0);
	CHECK(p != MAP_FAILED);
	return p;
}

// file_with creates a file of SIZE bytes that hold fill(seed).
static int file_with(const char *name, uint64_t seed)
{
	static uint64_t content[SIZE / 8];
	int fd = open(name, O_RDWR | O_CREAT | O_EXCL, 0600);
	CHECK(fd >= 0);
	fill(content, SIZE, seed);
	CHECK_EQ(write(fd, content, SIZE), SIZE);
	return fd;
}

static void map_files(void)
{
	int fd = file_with("private.bin", 11);
	file_private = map(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd);
	fill(file_private + 2 * PAGE, PAGE, 12); // two dirty pages
	fill(file_private + 9 * PAGE, PAGE, 13);
	close(fd);
	fd = file_with("shared-ro.bin", 14);
	file_ro = map(NULL, SIZE, PROT_READ, MAP_SHARED, fd);
	close(fd);
	fd = file_with("shared-rw.bin", 15);
	file_rw = map(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd);
	fill(file_rw + PAGE, PAGE, 16);
	close(fd);
	char name[64];
	snprintf(name, sizeof name, "/dev/shm/crtrace-victim-%d", (int)getpid());
	fd = file_with(name, 17);
	shm_map = map(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd);
	CHECK(unlink(name) == 0);
	close(fd);
}

static void map_memory(void)
{
	private_anon = map(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	shared_anon = map(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1);
	memfd = memfd_create("victim", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	CHECK(memfd >= 0 && ftruncate(memfd, SIZE) == 0);
	memfd_map = map(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, memfd);
	fill(memfd_map, SIZE, 18);
	sealed = memfd_create("sealed", MFD_ALLOW_SEALING);
	CHECK(sealed >= 0 && write(sealed, memfd_map, SIZE) == SIZE);
	CHECK(fcntl(sealed, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_WRITE | F_SEAL_SEAL) == 0);
	huge_reserve = map(NULL, 8UL << 40, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1);
	reserve_used = huge_reserve + (3UL << 40);
	CHECK(mprotect(reserve_used, SIZE, PROT_READ | PROT_WRITE) == 0);
	fill(reserve_used, SIZE, 19);
	guarded = map(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	fill(guarded, SIZE, 20);
	CHECK(mprotect(guarded, PAGE, PROT_NONE) == 0); // the content below stays
	CHECK(mprotect(guarded + SIZE - PAGE, PAGE, PROT_NONE) == 0);
	brk_start = sbrk(0);
}

// advised lists areas of their own with an advice each, and the VmFlags word
// that must then be in /proc/self/smaps.
static struct {
	int advice;
	const char *flag;
	uint8_t *at;
} advised[] = {
	{MADV_DONTFORK, "dc", 0},   {MADV_DONTDUMP, "dd", 0}, {MADV_WIPEONFORK, "wf", 0}, {MADV_HUGEPAGE, "hg", 0},
	{MADV_NOHUGEPAGE, "nh", 0}, {MADV_RANDOM, "rr", 0},   {MADV_SEQUENTIAL, "sr", 0}, {MADV_MERGEABLE, "mg", 0},
};
enum { ADVISED = sizeof advised / sizeof *advised };

static void map_advised(void)
{
	for (int i = 0; i < ADVISED; i++) {
		uint8_t *p = map(NULL, 3 * SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
		p += SIZE;
		CHECK(mprotect(p, SIZE, PROT_READ | PROT_WRITE) == 0);
		fill(p, SIZE, 30 + i);
		if (madvise(p, SIZE, advised[i].advice) == 0) // a kernel without KSM or THP refuses
			advised[i].at = p;
	}
	mlocked = mlock(private_anon, 4 * PAGE) == 0;
}

static void check_advised(void)
{
	for (int i = 0; i < ADVISED; i++) {
		if (!advised[i].at)
			continue;
		verify(advised[i].flag, advised[i].at, SIZE, 30 + i);
		if (!own_vmflag(advised[i].at, advised[i].flag))
			FAIL("VmFlags of the area with advice %d lack %s", advised[i].advice, advised[i].flag);
	}
	if (mlocked && !own_vmflag(private_anon, "lo"))
		FAIL("mlock is lost");
	if (!own_vmflag(huge_reserve, "nr"))
		FAIL("MAP_NORESERVE is lost");
}

// dig uses more stack the longer the program runs: it must still grow.
static uint64_t dig(int depth)
{
	volatile uint64_t frame[512];
	for (int i = 0; i < 512; i++)
		frame[i] = mix(depth, i);
	uint64_t below = depth > 0 ? dig(depth - 1) : 0;
	for (int i = 0; i < 512; i++)
		CHECK(frame[i] == mix(depth, i));
	return below + frame[depth % 512];
}

static void grow_brk(void)
{
	static long pages;
	if (pages < 2000) {
		CHECK(sbrk(PAGE) == brk_start + pages * PAGE);
		fill(brk_start + pages++ * PAGE, PAGE, 40);
	}
	for (long i = 0; i < pages; i++)
		verify("brk area", brk_start + i * PAGE, PAGE, 40);
}

static void check_constant(void)
{
	verify("file-private clean", file_private, 8, 11);
	verify("file-private dirty", file_private + 2 * PAGE, PAGE, 12);
	verify("file-private dirty", file_private + 9 * PAGE, PAGE, 13);
	verify("file-shared read-only", file_ro, SIZE, 14);
	verify("file-shared", file_rw + PAGE, PAGE, 16);
	verify("unlinked /dev/shm", shm_map, SIZE, 17);
	verify("memfd", memfd_map, SIZE, 18);
	verify("reservation", reserve_used, SIZE, 19);
	for (int w = PAGE / 8; w < (SIZE - PAGE) / 8; w++)
		CHECK_EQ(((uint64_t *)guarded)[w], mix(20, w));
	struct stat st;
	uint64_t word;
	CHECK(fstat(memfd, &st) == 0 && st.st_size == SIZE);
	CHECK(pread(memfd, &word, 8, PAGE) == 8 && word == mix(18, PAGE / 8));
	CHECK_EQ(fcntl(sealed, F_GET_SEALS), F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_WRITE | F_SEAL_SEAL);
	CHECK(write(sealed, &word, 8) < 0 && errno == EPERM);
	CHECK(fstat(sealed, &st) == 0 && st.st_size == SIZE);
}

// check_moving writes a new generation into the writable areas; memfd and its
// mapping must stay the same memory.
static void check_moving(void)
{
	static long generation;
	if (generation) {
		verify("private anonymous", private_anon, SIZE, generation);
		verify("shared anonymous", shared_anon, SIZE, generation + 1000);
	}
	generation = victim_step;
	fill(private_anon, SIZE, generation);
	fill(shared_anon, SIZE, generation + 1000);
	uint64_t back;
	memcpy(memfd_map + SIZE - 8, &generation, 8);
	CHECK(pread(memfd, &back, 8, SIZE - 8) == 8 && (long)back == generation);
	back = mix(18, SIZE / 8 - 1);
	CHECK(pwrite(memfd, &back, 8, SIZE - 8) == 8);
	CHECK(memcmp(memfd_map + SIZE - 8, &back, 8) == 0);
}

static void tamper(void)
{
	if (tampering(1))
		private_anon[5 * PAGE + 7] ^= 1;
	if (tampering(2))
		file_private[9 * PAGE] ^= 1;
	if (tampering(3))
		madvise(file_private + 2 * PAGE, PAGE, MADV_DONTNEED);
	if (tampering(4)) // the mapping is no longer the memfd
		map(memfd_map, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1), fill(memfd_map, SIZE, 18);
	if (tampering(5))
		munmap(huge_reserve + (5UL << 40), PAGE);
	if (tampering(6))
		madvise(advised[0].at, SIZE, MADV_DOFORK);
	if (tampering(7))
		munlock(private_anon, PAGE);
	if (tampering(8))
		mprotect(guarded, PAGE, PROT_READ);
	if (tampering(9))
		shm_map[0] ^= 1;
	if (tampering(10))
		sbrk(PAGE);
	if (tampering(11)) {
		struct rlimit small = {1 << 16, 1 << 16};
		setrlimit(RLIMIT_STACK, &small);
	}
}

int main(int argc, char **argv)
{
	victim_init(argc, argv, 11);
	map_memory();
	map_files();
	map_advised();
	dig(8);
	own_maps_remember();
	ready();
	while (step()) {
		tamper();
		check_moving();
		check_constant();
		check_advised();
		dig(victim_step < 1500 ? 30 + victim_step : 1500);
		own_maps_compare(brk_start);
		grow_brk();
		nap(2);
	}
	return pass();
}
