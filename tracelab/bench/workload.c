/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A process that makes bare system calls for a given time, and says how many and what they took.
 *
 *	workload CPU
 *
 * Each line on its standard input, "SECONDS RATE", asks for getppid(2) during SECONDS, RATE times a second, or at full
 * speed when RATE is 0. Each is answered by a line "CALLS WALL_NS CPU_NS". Between the two the process makes, besides
 * CALLS, four calls that a tracer sees: the read that ends, two readings of the CPU clock, the write. (The other clock
 * is read in the vDSO. On a machine whose clock source has none, each reading is one call more.)
 */
#define _GNU_SOURCE
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define AT_ONCE 64 /* calls between two looks at the clock */

static long long now_ns(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static long long make_calls(double seconds, double rate)
{
	long long start = now_ns(CLOCK_MONOTONIC), passed = 0, calls = 0;

	while (passed < seconds * 1e9) {
		if (rate == 0 || calls <= passed * rate / 1e9) {
			for (int i = 0; i < AT_ONCE; i++)
				syscall(SYS_getppid);
			calls += AT_ONCE;
		}
		passed = now_ns(CLOCK_MONOTONIC) - start;
	}
	return calls;
}

int main(int argc, char **argv)
{
	long long wall, cpu, calls;
	double seconds, rate;
	cpu_set_t cpus;

	CPU_ZERO(&cpus);
	CPU_SET(argc > 1 ? atoi(argv[1]) : 0, &cpus);
	if (sched_setaffinity(0, sizeof(cpus), &cpus))
		return 1;
	while (scanf("%lf %lf", &seconds, &rate) == 2) {
		wall = now_ns(CLOCK_MONOTONIC);
		cpu = now_ns(CLOCK_PROCESS_CPUTIME_ID);
		calls = make_calls(seconds, rate);
		cpu = now_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu;
		wall = now_ns(CLOCK_MONOTONIC) - wall;
		printf("%lld %lld %lld\n", calls, wall, cpu);
		fflush(stdout);
	}
	return 0;
}
