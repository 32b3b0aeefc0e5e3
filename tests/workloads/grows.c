/*
 * Touches so many MiB, MiB by MiB, and gives half of it back. Prints its number, then after each of both VmRSS in bytes;
 * waits for a line on its standard input before it ends.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define MIB (1L << 20)

static long resident(void)
{
	static char status[8192];
	int fd = open("/proc/self/status", O_RDONLY);
	long length = read(fd, status, sizeof(status) - 1);

	close(fd);
	status[length < 0 ? 0 : length] = 0;
	return atol(strstr(status, "VmRSS:") + 6) << 10;
}

int main(int argc, char **argv)
{
	long size = atol(argv[argc - 1]) * MIB;
	char *at = mmap(0, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (at == MAP_FAILED)
		return 1;
	printf("%d %ld", getpid(), resident());
	memset(at, 1, size);
	printf(" %ld", resident());
	munmap(at, size / 2);
	printf(" %ld\n", resident());
	fflush(stdout);
	getchar();
	return 0;
}
