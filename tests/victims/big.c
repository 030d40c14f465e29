// test: a quarter of a gigabyte that differs in every page, looked at piece by piece.
#include "victim.h"

enum { PAGES = 65536, WORDS = 512, PIECE = 512 };
static uint64_t memory[PAGES][WORDS];

int main(int argc, char **argv)
{
	victim_init(argc, argv, 2);
	for (long i = 0; i < PAGES; i++)
		for (int w = 0; w < WORDS; w += 64)
			memory[i][w] = mix(i, w);
	ready();
	while (step()) {
		long from = victim_step * PIECE % PAGES;
		if (tampering(1))
			memory[from + 7][64]++;
		if (tampering(2))
			memset(memory[from + 9], 0, sizeof memory[0]);
		for (long i = from; i < from + PIECE; i++)
			for (int w = 0; w < WORDS; w += 64)
				CHECK_EQ(memory[i][w], mix(i, w));
		nap(4);
	}
	return pass();
}
