// SPDX-License-Identifier: Apache-2.0
/*
 * The first program of an IoT Edge module with an enclave: puts the enclave where the box's TEE
 * supplicant looks for it, in one step, and becomes the host application.
 *
 *     start ENCLAVE.ta TA_DIRECTORY PROGRAM [ARGUMENT...]
 *
 * The supplicant sees the old file or the new one, never half of one. A power cut right after the
 * rename may leave either. Nothing is checked here: that is the TEE's part when it loads the file.
 */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int failed(const char *what, const char *path)
{
	fprintf(stderr, "start: %s %s: %s\n", what, path, strerror(errno));
	return 1;
}

static int copied(int from, int to)
{
	char buffer[65536];
	ssize_t got = 0;

	while ((got = read(from, buffer, sizeof(buffer))) > 0) {
		ssize_t done = 0;

		while (done < got) {
			const ssize_t wrote = write(to, buffer + done, (size_t)(got - done));

			if (wrote < 0)
				return -1;
			done += wrote;
		}
	}
	return got < 0 ? -1 : 0;
}

int main(int argc, char **argv)
{
	char source[4096], part[4096], place[4096];
	int from = -1, to = -1;

	if (argc < 4) {
		fputs("usage: start ENCLAVE.ta TA_DIRECTORY PROGRAM [ARGUMENT...]\n", stderr);
		return 2;
	}
	if (snprintf(source, sizeof(source), "%s", argv[1]) >= (int)sizeof(source) ||
	    snprintf(place, sizeof(place), "%s/%s", argv[2], basename(source)) >= (int)sizeof(place) ||
	    snprintf(part, sizeof(part), "%s.%ld", place, (long)getpid()) >= (int)sizeof(part)) {
		errno = ENAMETOOLONG;
		return failed("cannot use", argv[2]);
	}

	from = open(argv[1], O_RDONLY | O_CLOEXEC);
	if (from < 0)
		return failed("cannot read", argv[1]);
	to = open(part, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0444);
	if (to < 0)
		return failed("cannot write", part);
	if (copied(from, to) || fchmod(to, 0444) || fsync(to) || close(to) || rename(part, place)) {
		const int why = errno;

		unlink(part);
		errno = why;
		return failed("cannot put the enclave to", place);
	}
	close(from);

	execv(argv[3], argv + 3);
	return failed("cannot start", argv[3]);
}
