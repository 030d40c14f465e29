// test: twenty thousand areas of alternating protection, contents and protections checked.
#include "victim.h"

enum { AREAS = 20000, PAGE = 4096 };
static uint8_t *base;

// writable asks the kernel: read() into a read-only page gives EFAULT.
static int writable(int zero, void *p)
{
	char keep;
	memcpy(&keep, p, 1);
	ssize_t n = pread(zero, p, 1, 0);
	if (n == 1)
		memcpy(p, &keep, 1);
	return n == 1;
}

// count_areas counts the lines of /proc/self/maps inside the region.
static int count_areas(void)
{
	static char buf[1 << 16];
	int fd = open("/proc/self/maps", O_RDONLY), count = 0;
	CHECK(fd >= 0);
	FILE *f = fdopen(fd, "r");
	CHECK(f != NULL);
	while (fgets(buf, sizeof buf, f)) {
		unsigned long lo = strtoul(buf, NULL, 16);
		count += lo >= (unsigned long)base && lo < (unsigned long)base + (size_t)AREAS * PAGE;
	}
	fclose(f);
	return count;
}

int main(int argc, char **argv)
{
	victim_init(argc, argv, 3);
	base = mmap(NULL, (size_t)AREAS * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(base != MAP_FAILED);
	int zero = open("/dev/zero", O_RDONLY);
	CHECK(zero >= 0);
	for (long i = 0; i < AREAS; i++) {
		uint64_t v = mix(7, i);
		memcpy(base + i * PAGE + i % 500 * 8, &v, 8);
		if (i % 2 && mprotect(base + i * PAGE, PAGE, PROT_READ) != 0)
			unsupported("20,000 areas (vm.max_map_count)");
	}
	ready();
	while (step()) {
		if (tampering(1))
			mprotect(base + 5000L * PAGE, PAGE, PROT_READ);
		if (tampering(2))
			base[10000L * PAGE + 2048] ^= 1;
		if (tampering(3))
			mprotect(base + 19999L * PAGE, PAGE, PROT_READ | PROT_WRITE);
		for (long i = 0; i < AREAS; i++) {
			uint64_t *page = (void *)(base + i * PAGE);
			for (long w = 0; w < 512; w += 64)
				CHECK_EQ(page[w], w == i % 500 ? mix(7, i) : 0);
			CHECK_EQ(page[i % 500], mix(7, i));
		}
		for (long i = victim_step % 7; i < AREAS; i += 7)
			if (writable(zero, base + i * PAGE) != !(i % 2))
				FAIL("area %ld has the wrong protection", i);
		// A checkpoint in the middle of reading may show a line twice: look again.
		if (count_areas() != AREAS)
			CHECK_EQ(count_areas(), AREAS);
	}
	return pass();
}
