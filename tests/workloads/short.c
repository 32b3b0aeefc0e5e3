/* Burns about 20 ms of CPU in functions of its own and of the C library, and ends. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static int compared(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

__attribute__((noinline)) int sorted(void)
{
	int numbers[3000];

	for (int i = 0; i < 3000; i++)
		numbers[i] = rand();
	qsort(numbers, 3000, sizeof(int), compared);
	return numbers[7];
}

__attribute__((noinline)) int printed(void)
{
	char text[100];

	for (int i = 0; i < 2000; i++)
		snprintf(text, sizeof(text), "%d %s", i, "abc");
	return text[1];
}

int main(void)
{
	volatile int sum = 0;

	while (clock() < CLOCKS_PER_SEC / 50)
		sum += sorted() + printed();
	return 0;
}
