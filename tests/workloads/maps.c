/* Changes its address space in known ways; prints after each what the call was and VmSize in KiB. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PAGE 4096L

static char said[4096], status[4096]; /* so that telling takes no memory */
static int status_fd;

static void tell(const char *call, long address)
{
	long read = pread(status_fd, status, sizeof(status) - 1, 0);

	status[read < 0 ? 0 : read] = 0;
	printf("%s %lu %ld\n", call, (unsigned long)address, atol(strstr(status, "VmSize:") + 7));
}

int main(void)
{
	long at, end;
	int fd;

	setvbuf(stdout, said, _IOFBF, sizeof(said));
	status_fd = open("/proc/self/status", O_RDONLY);
	fd = open("/proc/self/exe", O_RDONLY);
	printf("%d\n", getpid());
	tell("start", 0);
	at = syscall(SYS_mmap, 0, 10 * PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	tell("mmap", at);
	at = syscall(SYS_mremap, at, 10 * PAGE, 30 * PAGE, MREMAP_MAYMOVE, 0);
	tell("mremap", at);
	at = syscall(SYS_mremap, at, 30 * PAGE, 20 * PAGE, 0, 0);
	tell("mremap", at);
	syscall(SYS_munmap, at, 20 * PAGE - 1);
	tell("munmap", at);
	at = syscall(SYS_mmap, 0, PAGE + 1, PROT_READ, MAP_PRIVATE, fd, 0);
	tell("mmap_file", at);
	end = syscall(SYS_brk, 0);
	tell("brk", end);
	end = syscall(SYS_brk, end + 50 * PAGE);
	tell("brk", end);
	end = syscall(SYS_brk, end - 7 * PAGE);
	tell("brk", end);
	syscall(SYS_mmap, 0, PAGE, PROT_READ, MAP_PRIVATE, 999, 0);
	tell("mmap_file", 0);
	end = syscall(SYS_brk, 1L << 50);
	tell("brk", end);
	return 0;
}
