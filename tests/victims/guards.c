// test: guard pages installed with MADV_GUARD_INSTALL, which no line of /proc/PID/maps shows, still guard.
#include "victim.h"
#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#define MADV_GUARD_REMOVE 103
#endif

enum { PAGE = 4096, PAGES = 64 };

int main(int argc, char **argv)
{
	victim_init(argc, argv, 2);
	uint8_t *p = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(p != MAP_FAILED);
	fill(p, PAGES * PAGE, 1);
	for (int i = 3; i < PAGES; i += 4)
		if (madvise(p + i * PAGE, PAGE, MADV_GUARD_INSTALL) != 0)
			unsupported("MADV_GUARD_INSTALL");
	int zero = open("/dev/zero", O_RDWR);
	CHECK(zero >= 0);
	ready();
	while (step()) {
		if (tampering(1))
			madvise(p + 7 * PAGE, PAGE, MADV_GUARD_REMOVE);
		if (tampering(2))
			madvise(p + 8 * PAGE, PAGE, MADV_DONTNEED);
		for (int i = 0; i < PAGES; i++) {
			int guarded = i % 4 == 3;
			if (guarded != (pread(zero, p + i * PAGE, 1, 0) != 1))
				FAIL("page %d: guard %s", i, guarded ? "lost" : "too many");
			if (!guarded) {
				uint64_t w = mix(1, (uint64_t)i * 512);
				memcpy(p + i * PAGE, &w, 8);
			}
		}
		for (int i = 0; i < PAGES; i++)
			for (int w = 0; i % 4 != 3 && w < 512; w++)
				CHECK_EQ(((uint64_t *)(p + i * PAGE))[w], mix(1, (uint64_t)i * 512 + w));
		nap(4);
	}
	return pass();
}
