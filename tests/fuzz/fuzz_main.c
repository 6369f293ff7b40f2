/* SPDX-License-Identifier: MIT */

/* Runs a fuzz target on files: the seeds, or findings of a fuzzer. */

#include <stdio.h>
#include <stdlib.h>

#include "fuzz.h"

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		FILE *f = fopen(argv[i], "rb");
		uint8_t *data = malloc(1 << 20);
		size_t n;

		if (!f || !data) {
			perror(argv[i]);
			return 1;
		}
		n = fread(data, 1, 1 << 20, f);
		fclose(f);
		/* Exactly as long as the input, so that a sanitizer sees a read beyond it. */
		data = realloc(data, n ? n : 1);
		LLVMFuzzerTestOneInput(data, n);
		free(data);
	}
	printf("%d inputs\n", argc - 1);
	return 0;
}
