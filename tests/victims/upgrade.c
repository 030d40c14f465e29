// test: a program and its shared library, whose functions and data must stay what they were when the files are replaced.
#include "victim.h"

int library_value(int n);
extern int library_data[1024];

#ifdef LIBRARY
int library_data[1024] = {[7] = 4711};
__attribute__((aligned(4096))) int library_value(int n) { return n * 3 + library_data[7]; }
#else
int main(int argc, char **argv)
{
	victim_init(argc, argv, 1);
	ready();
	while (step()) {
		if (tampering(1))
			library_data[7]++;
		CHECK_EQ(library_value((int)victim_step), victim_step * 3 + 4711);
		nap(5);
	}
	return pass();
}
#endif
