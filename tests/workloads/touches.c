/*
 * Touches pages in known ways, and says of each what the kernel counted: name, address, pages, minor and major faults,
 * and ns that all of it took. The argument is a file of that many pages, which nobody has in memory.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define PAGE 4096L
#define PAGES 300L

static char said[512];
static struct rusage before;
static struct timespec begun;

static long ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (now.tv_sec - begun.tv_sec) * 1000000000L + now.tv_nsec - begun.tv_nsec;
}

static void begin(void)
{
	getrusage(RUSAGE_THREAD, &before);
	clock_gettime(CLOCK_MONOTONIC, &begun);
}

static void end(const char *name, void *at, long pages)
{
	long took = ns();
	struct rusage after;

	getrusage(RUSAGE_THREAD, &after);
	printf("%s %lu %ld %ld %ld %ld\n", name, (unsigned long)at, pages, after.ru_minflt - before.ru_minflt,
	       after.ru_majflt - before.ru_majflt, took);
}

static char *map(long pages, int flags, int fd, int protection)
{
	char *at = mmap(0, pages * PAGE, protection, flags, fd, 0);

	if (at == MAP_FAILED)
		exit(1);
	return at;
}

int main(int argc, char **argv)
{
	char *at;
	volatile char read_to = 0;
	struct stat about;
	int fd;

	(void)argc;
	setvbuf(stdout, said, _IOFBF, sizeof(said));
	printf("%d\n", getpid());
	fflush(stdout);
	begin();
	end("warm", 0, 0);

	at = map(PAGES, MAP_PRIVATE | MAP_ANONYMOUS, -1, PROT_READ | PROT_WRITE);
	madvise(at, PAGES * PAGE, MADV_NOHUGEPAGE);
	begin();
	for (long i = 0; i < PAGES; i++)
		at[i * PAGE] = 1;
	end("written", at, PAGES);

	at = map(PAGES, MAP_PRIVATE | MAP_ANONYMOUS, -1, PROT_READ | PROT_WRITE);
	madvise(at, PAGES * PAGE, MADV_NOHUGEPAGE);
	fd = open("/dev/zero", O_RDONLY);
	begin();
	for (long i = 0; i < PAGES; i++)
		if (read(fd, at + i * PAGE, 1) != 1)
			return 1;
	end("filled", at, PAGES);

	fd = open(argv[1], O_RDONLY);
	fstat(fd, &about);
	at = map(about.st_size / PAGE, MAP_SHARED, fd, PROT_READ);
	madvise(at, about.st_size, MADV_RANDOM); /* no page is read before it is asked for */
	begin();
	for (long i = 0; i < about.st_size / PAGE; i++)
		read_to += at[i * PAGE];
	end("loaded", at, about.st_size / PAGE);
	return 0;
}
