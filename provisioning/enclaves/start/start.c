// SPDX-License-Identifier: Apache-2.0
/*
 * The first program of an IoT Edge module with an enclave: puts the enclave where the box's TEE
 * supplicant looks for it, in one step, and becomes the host application.
 *
 *     start ENCLAVE.ta TA_DIRECTORY PROGRAM [ARGUMENT...]
 *
 * The supplicant sees the old file or the new one, never half of one. A power cut right after the
 * rename may leave either; one before it leaves a part, which the next start removes. In a
 * container every process number is 1, so a part has a random name, and is locked while somebody
 * writes it. Nothing is checked here: that is the TEE's part when it loads the file.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define PART ".part-"
#define RANDOM 6
#define DIGITS "0123456789"
#define LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define TRIES 8

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

/* Ours is named by PART and letters at random; earlier versions named it by the process number. */
static int is_part(const char *name, const char *of)
{
	const size_t length = strlen(of);
	const char *rest = name + length;

	if (strncmp(name, of, length))
		return 0;
	if (!strncmp(rest, PART, strlen(PART))) {
		rest += strlen(PART);
		return strlen(rest) == RANDOM && strspn(rest, DIGITS LETTERS) == RANDOM;
	}
	return rest[0] == '.' && rest[1] && strspn(rest + 1, DIGITS) == strlen(rest + 1);
}

/* Whatever cannot be removed stays: it is in nobody's way. */
static void clear_parts(const char *directory, const char *of)
{
	DIR *place = opendir(directory);
	struct dirent *entry = NULL;

	if (!place)
		return;
	while ((entry = readdir(place))) {
		int part = -1;

		if (!is_part(entry->d_name, of))
			continue;
		part = openat(dirfd(place), entry->d_name,
			      O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
		if (part < 0)
			continue;
		if (!flock(part, LOCK_EX | LOCK_NB)) /* nobody writes it any more */
			unlinkat(dirfd(place), entry->d_name, 0);
		close(part);
	}
	closedir(place);
}

/* 0, or -1 with errno; ENOENT: somebody took the part away before it was locked. */
static int put(int from, char *part, const char *place)
{
	const int to = mkostemp(part, O_CLOEXEC);
	int why = 0;

	if (to < 0)
		return -1;
	if (!flock(to, LOCK_EX) && !copied(from, to) && !fchmod(to, 0444) && !fsync(to) &&
	    !rename(part, place))
		return close(to);
	why = errno;
	unlink(part);
	close(to);
	errno = why;
	return -1;
}

int main(int argc, char **argv)
{
	char source[4096], part[4096], place[4096];
	const char *name = NULL;
	int from = -1, tries = 0;

	if (argc < 4) {
		fputs("usage: start ENCLAVE.ta TA_DIRECTORY PROGRAM [ARGUMENT...]\n", stderr);
		return 2;
	}
	if (snprintf(source, sizeof(source), "%s", argv[1]) >= (int)sizeof(source)) {
		errno = ENAMETOOLONG;
		return failed("cannot use", argv[1]);
	}
	name = basename(source);
	from = open(argv[1], O_RDONLY | O_CLOEXEC);
	if (from < 0)
		return failed("cannot read", argv[1]);
	clear_parts(argv[2], name);
	do {
		if (snprintf(place, sizeof(place), "%s/%s", argv[2], name) >= (int)sizeof(place) ||
		    snprintf(part, sizeof(part), "%s" PART "XXXXXX", place) >= (int)sizeof(part)) {
			errno = ENAMETOOLONG;
			return failed("cannot use", argv[2]);
		}
		if (!put(from, part, place)) {
			close(from);
			execv(argv[3], argv + 3);
			return failed("cannot start", argv[3]);
		}
	} while (errno == ENOENT && !access(argv[2], F_OK) && ++tries < TRIES &&
		 !lseek(from, 0, SEEK_SET));
	return failed("cannot write", place);
}
