/*
 * Two threads and a mutex: the first takes it, tells, holds it for so many ms and lets it go, so many times; the second
 * waits for it each time. Prints the process, the second thread, the address of the mutex, and for how long in ns the
 * second knew that it was held.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static pthread_mutex_t mutex;
static sem_t taken, given;
static long times, hold_ms, waited_ns;
static volatile long released_ns;

static long now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000000L + now.tv_nsec;
}

static void *hold(void *unused)
{
	struct timespec pause = {hold_ms / 1000, hold_ms % 1000 * 1000000L};

	for (long i = 0; i < times; i++) {
		pthread_mutex_lock(&mutex);
		sem_post(&taken);
		nanosleep(&pause, 0);
		released_ns = now_ns();
		pthread_mutex_unlock(&mutex);
		sem_wait(&given);
	}
	return unused;
}

int main(int argc, char **argv)
{
	pthread_mutexattr_t kind;
	pthread_t holder;

	times = atol(argv[1]);
	hold_ms = atol(argv[2]);
	pthread_mutexattr_init(&kind);
	if (argc > 3)
		pthread_mutexattr_setprotocol(&kind, PTHREAD_PRIO_INHERIT);
	pthread_mutex_init(&mutex, &kind);
	sem_init(&taken, 0, 0);
	sem_init(&given, 0, 0);
	pthread_create(&holder, 0, hold, 0);
	for (long i = 0; i < times; i++) {
		long start;

		sem_wait(&taken);
		start = now_ns();
		pthread_mutex_lock(&mutex);
		waited_ns += released_ns - start;
		pthread_mutex_unlock(&mutex);
		sem_post(&given);
	}
	pthread_join(holder, 0);
	printf("%d %ld %lu %ld\n", getpid(), syscall(SYS_gettid), (unsigned long)&mutex, waited_ns);
	return 0;
}
