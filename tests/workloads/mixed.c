/* Makes many system calls of five kinds in an order that a seed decides; prints how many of each, once it is told to go. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

static const int calls[] = {SYS_getppid, SYS_getuid, SYS_getgid, SYS_geteuid, SYS_getegid};
static const int shares[] = {1, 10, 30, 60, 100}; /* the first is rare, in percent, added up */

int main(int argc, char **argv)
{
	unsigned long random = strtoul(argv[1], 0, 10) * 2654435761u + 1, total = strtoul(argv[2], 0, 10), made[5] = {0};

	(void)argc;
	for (unsigned long i = 0; i < total; i++) {
		int kind = 0;

		random = random * 6364136223846793005ul + 1442695040888963407ul;
		while ((int)(random >> 33) % 100 >= shares[kind])
			kind++;
		syscall(calls[kind]);
		made[kind]++;
	}
	printf("getppid %lu getuid %lu getgid %lu geteuid %lu getegid %lu\n", made[0], made[1], made[2], made[3], made[4]);
	return 0;
}
