/* Burns some seconds of CPU, in three threads and a signal handler: libc's assembly, callbacks, the vDSO, floating
 * point, alloca, and a frame that is aligned anew. */
#include <alloca.h>
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>

#define OUT_OF_LINE __attribute__((noinline))

volatile double sink;
static char from[1 << 20], to[1 << 20];
static volatile int stop;

static int compared(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

OUT_OF_LINE void in_assembly(void)
{
	memcpy(from, to, 100000);
	memset(to, 3, 90000);
	sink += strlen(to + 5) + memcmp(from, to, 5000) + (strchr(from, 7) != 0);
}

OUT_OF_LINE void sorting(void)
{
	int numbers[2000];

	for (int i = 0; i < 2000; i++)
		numbers[i] = rand();
	qsort(numbers, 2000, sizeof(int), compared);
	sink += numbers[3];
}

OUT_OF_LINE void in_vdso(void)
{
	struct timespec now;

	for (int i = 0; i < 1000; i++)
		clock_gettime(CLOCK_MONOTONIC, &now);
	sink += now.tv_nsec;
}

OUT_OF_LINE void maths(void)
{
	for (int i = 0; i < 2000; i++)
		sink += sin(i) * pow(i, 1.3) + exp(i % 7);
}

OUT_OF_LINE void texts(void)
{
	char text[200];

	for (int i = 0; i < 300; i++) {
		snprintf(text, sizeof(text), "%d %s %f", i, "abc", i * 1.5);
		sink += strtod(text, 0);
	}
}

OUT_OF_LINE void with_room(int size)
{
	char *room = alloca(size);

	memset(room, 1, size);
	texts();
	sink += room[size - 1];
}

OUT_OF_LINE void realigned(int n)
{
	__attribute__((aligned(64))) char room[256];

	memset(room, n, sizeof(room));
	maths();
	sink += room[n];
}

OUT_OF_LINE void allocating(void)
{
	void *blocks[300];

	for (int i = 0; i < 300; i++)
		blocks[i] = malloc(i * 37 % 5000);
	for (int i = 0; i < 300; i++)
		free(blocks[i]);
}

OUT_OF_LINE void work(void)
{
	in_assembly();
	sorting();
	in_vdso();
	with_room(777);
	realigned(3);
	allocating();
}

static void *thread(void *unused)
{
	while (!stop)
		work();
	return unused;
}

static void on_signal(int number)
{
	maths();
	sink += number;
}

int main(int argc, char **argv)
{
	double seconds = argc > 1 ? atof(argv[1]) : 1;
	struct itimerval every = {{0, 5000}, {0, 5000}};
	pthread_t threads[2];

	signal(SIGPROF, on_signal);
	setitimer(ITIMER_PROF, &every, 0);
	for (int i = 0; i < 2; i++)
		pthread_create(&threads[i], 0, thread, 0);
	do
		work();
	while (clock() < seconds * CLOCKS_PER_SEC);
	stop = 1;
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], 0);
	printf("%f\n", sink);
	return 0;
}
