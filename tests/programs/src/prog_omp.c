// OpenMP in C: parallel sums with all schedules, checked at every step.
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { N = 200000 };
static double v[N];

int main(int argc, char **argv)
{
	omp_set_num_threads(4);
	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("ready\n");
	for (long n = 1; argc > 1 && access(argv[1], F_OK) != 0; n++) {
		printf("step %ld\n", n);
		double sum = 0;
		long seen[4] = {0};
#pragma omp parallel
		{
#pragma omp for schedule(dynamic, 100)
			for (int i = 0; i < N; i++)
				v[i] += i;
#pragma omp for schedule(guided) reduction(+ : sum)
			for (int i = 0; i < N; i++)
				sum += v[i];
			seen[omp_get_thread_num()]++;
#pragma omp barrier
		}
		if (sum != (double)n * N * (N - 1.0) / 2 || seen[0] + seen[1] + seen[2] + seen[3] != 4) {
			printf("FAIL sum %f\n", sum);
			return 1;
		}
		usleep(3000);
	}
	printf("PASS\n");
	return 0;
}
