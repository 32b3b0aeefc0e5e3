/* Starts short processes, one after the other: storm NUMBER COPY PROGRAM...
 *
 * Each burns about 20 ms. Where COPY is not "-", every second process runs a copy that is deleted as soon as it runs.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static void copied(const char *from, const char *to)
{
	int in = open(from, O_RDONLY), out = open(to, O_WRONLY | O_CREAT | O_TRUNC, 0755);
	struct stat status;

	if (in < 0 || out < 0 || fstat(in, &status) || sendfile(out, in, 0, status.st_size) != status.st_size)
		exit(2);
	close(in);
	close(out);
}

int main(int argc, char **argv)
{
	for (int started = 0; started < atoi(argv[1]); started++) {
		char *program = argv[3 + started % (argc - 3)], *arguments[] = {program, 0}, path[4096];
		int copy = strcmp(argv[2], "-") && started % 2, status;
		pid_t child;

		snprintf(path, sizeof(path), "%s/%s-%d", argv[2], strrchr(program, '/') + 1, started);
		if (copy)
			copied(program, path);
		if (posix_spawn(&child, copy ? path : program, 0, 0, arguments, environ))
			return 3;
		if (copy)
			unlink(path); /* posix_spawn comes back when the new program runs */
		waitpid(child, &status, 0);
	}
	return 0;
}
