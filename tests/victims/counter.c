// test: the plainest program: one thread, static, memory in data, bss, heap and stack.
#include "victim.h"

enum { WORDS = 8192 };
static uint64_t data[WORDS] = {1};
static uint64_t bss[WORDS];

// advance moves a block one generation on; the four copies must stay equal.
static void advance(uint64_t *w)
{
	for (int i = 0; i < WORDS; i++)
		w[i] = w[i] * 6364136223846793005ULL + (uint64_t)i + 1442695040888963407ULL;
}

int main(int argc, char **argv)
{
	victim_init(argc, argv, 3);
	uint64_t stack[WORDS];
	uint64_t *heap = malloc(sizeof data);
	CHECK(heap != NULL);
	memset(data, 0, sizeof data);
	memset(stack, 0, sizeof stack);
	memset(heap, 0, sizeof data);
	long sum = 0;
	ready();
	while (step()) {
		sum += victim_step;
		CHECK_EQ(sum, victim_step * (victim_step + 1) / 2);
		advance(data), advance(bss), advance(stack), advance(heap);
		if (tampering(1))
			heap[4711] ^= 1;
		if (tampering(2))
			victim_step--;
		if (tampering(3))
			memset(stack + 512, 0, 4096);
		CHECK(memcmp(data, bss, sizeof data) == 0);
		CHECK(memcmp(data, stack, sizeof data) == 0);
		CHECK(memcmp(data, heap, sizeof data) == 0);
		nap(4);
	}
	return pass();
}
