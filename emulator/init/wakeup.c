// SPDX-License-Identifier: Apache-2.0
/*
 * Wakes a box up: sets its clock and gives both worlds fresh entropy, on the word of what holds it.
 *
 *	usage: wakeup SOCKET
 *
 * Binds SOCKET, goes to the background, and takes there what sd_notify(3) sends: sshd reports so
 * that it listens.
 *
 * Speaks lines over the virtio-serial port "org.trustbox.factory":
 *
 *	guest  hello                            up, session to the entropy TA open
 *	guest  ready                            SOCKET was told READY=1: sshd listens
 *	host   wake SECONDS NANOSECONDS HEX     Unix time; 33 pieces of 32 bytes in hex
 *	guest  awake                            done, in both worlds
 *	guest  failed WHAT                      it was not
 *
 * Any other line is ignored. A restored clone repeats its template's randomness, and a cold boot
 * seeds OP-TEE from little more than the time since reset: wake before any key is made.
 * The session is opened before a snapshot is taken, so that waking a clone costs one call.
 */

#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/random.h>
#include <linux/tee.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define PORT_NAME	"org.trustbox.factory"
#define ENTROPY		(33 * 32)
#define LINE_MAX_BYTES	(2 * ENTROPY + 128)
#define PARAMS		4

/* b1c7a2f4-5d0e-4c6b-9a3e-7f2d8e1c4b60: emulator/optee/entropy_ta, command 0 */
static const unsigned char entropy_ta[16] = {
	0xb1, 0xc7, 0xa2, 0xf4, 0x5d, 0x0e, 0x4c, 0x6b,
	0x9a, 0x3e, 0x7f, 0x2d, 0x8e, 0x1c, 0x4b, 0x60,
};

struct tee {
	int dev;
	unsigned int session;
	unsigned char *shared;	/* ENTROPY bytes both worlds see */
	int shared_id;
};

static int tee_open(struct tee *tee)
{
	struct {
		struct tee_ioctl_open_session_arg arg;
		struct tee_ioctl_param params[PARAMS];
	} open_session = { 0 };
	struct tee_ioctl_buf_data call = {
		.buf_ptr = (unsigned long)&open_session,
		.buf_len = sizeof(open_session),
	};
	struct tee_ioctl_shm_alloc_data shm = { .size = ENTROPY };
	int fd;

	tee->dev = open("/dev/tee0", O_RDWR | O_CLOEXEC);
	if (tee->dev < 0)
		return -1;
	fd = ioctl(tee->dev, TEE_IOC_SHM_ALLOC, &shm);
	if (fd < 0)
		return -1;
	tee->shared_id = shm.id;
	tee->shared = mmap(NULL, ENTROPY, PROT_READ | PROT_WRITE, MAP_SHARED,
			   fd, 0);
	close(fd);
	if (tee->shared == MAP_FAILED)
		return -1;

	memcpy(open_session.arg.uuid, entropy_ta, sizeof(entropy_ta));
	open_session.arg.clnt_login = TEE_IOCTL_LOGIN_PUBLIC;
	open_session.arg.num_params = PARAMS;
	if (ioctl(tee->dev, TEE_IOC_OPEN_SESSION, &call))
		return -1;
	if (open_session.arg.ret) {
		fprintf(stderr, "wakeup: entropy TA answers 0x%08x\n",
			open_session.arg.ret);
		return -1;
	}
	tee->session = open_session.arg.session;
	return 0;
}

static int tee_seed(const struct tee *tee, const unsigned char *entropy)
{
	struct {
		struct tee_ioctl_invoke_arg arg;
		struct tee_ioctl_param params[PARAMS];
	} invoke = { 0 };
	struct tee_ioctl_buf_data call = {
		.buf_ptr = (unsigned long)&invoke,
		.buf_len = sizeof(invoke),
	};

	memcpy(tee->shared, entropy, ENTROPY);
	invoke.arg.func = 0;
	invoke.arg.session = tee->session;
	invoke.arg.num_params = PARAMS;
	invoke.params[0].attr = TEE_IOCTL_PARAM_ATTR_TYPE_MEMREF_INPUT;
	invoke.params[0].a = 0;
	invoke.params[0].b = ENTROPY;
	invoke.params[0].c = tee->shared_id;
	if (ioctl(tee->dev, TEE_IOC_INVOKE, &call) || invoke.arg.ret)
		return -1;
	return 0;
}

static int kernel_seed(const unsigned char *entropy)
{
	struct {
		struct rand_pool_info info;
		unsigned char bytes[ENTROPY];
	} pool = { .info = { .entropy_count = ENTROPY * 8, .buf_size = ENTROPY } };
	int fd = open("/dev/urandom", O_RDWR | O_CLOEXEC);
	int bad;

	if (fd < 0)
		return -1;
	memcpy(pool.info.buf, entropy, ENTROPY);
	bad = ioctl(fd, RNDADDENTROPY, &pool) || ioctl(fd, RNDRESEEDCRNG);
	close(fd);
	return bad ? -1 : 0;
}

static int nibble(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return -1;
}

/* Returns what to answer, or NULL for a line that is none of ours. */
static const char *obey(const struct tee *tee, const char *line)
{
	unsigned char entropy[ENTROPY];
	struct timespec now;
	long long seconds;
	long nanoseconds;
	int hex = 0, n;

	if (sscanf(line, "wake %lld %ld %n", &seconds, &nanoseconds, &hex) != 2 ||
	    !hex || strlen(line + hex) != 2 * ENTROPY ||
	    nanoseconds < 0 || nanoseconds > 999999999L)
		return NULL;
	for (n = 0; n < ENTROPY; n++) {
		int high = nibble(line[hex + 2 * n]);
		int low = nibble(line[hex + 2 * n + 1]);

		if (high < 0 || low < 0)
			return NULL;
		entropy[n] = high << 4 | low;
	}
	now.tv_sec = seconds;
	now.tv_nsec = nanoseconds;
	if (clock_settime(CLOCK_REALTIME, &now))
		return "failed clock\n";
	if (kernel_seed(entropy))
		return "failed kernel\n";
	if (tee_seed(tee, entropy))
		return "failed tee\n";
	return "awake\n";
}

static int port_open(void)
{
	const char *where = "/sys/class/virtio-ports";
	DIR *ports = opendir(where);
	struct dirent *entry;
	char path[512], name[64] = "";
	int fd = -1;

	while (ports && fd < 0 && (entry = readdir(ports))) {
		FILE *file;

		snprintf(path, sizeof(path), "%s/%s/name", where, entry->d_name);
		file = fopen(path, "re");
		if (!file)
			continue;
		if (fgets(name, sizeof(name), file) &&
		    !strncmp(name, PORT_NAME "\n", sizeof(PORT_NAME))) {
			snprintf(path, sizeof(path), "/dev/%s", entry->d_name);
			fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
		}
		fclose(file);
	}
	if (ports)
		closedir(ports);
	return fd;
}

static int notify_open(const char *path)
{
	struct sockaddr_un name = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0 || strlen(path) >= sizeof(name.sun_path))
		return -1;
	strcpy(name.sun_path, path);
	if (bind(fd, (struct sockaddr *)&name, sizeof(name)))
		return -1;
	return fd;
}

int main(int argc, char **argv)
{
	char line[LINE_MAX_BYTES], say[256] = "hello\n";
	size_t held = 0, overlong = 0;
	struct pollfd watch[3];
	struct tee tee = { .dev = -1 };
	sigset_t signals;
	int port, notify, changed, connected = 1;

	if (argc != 2)
		return 2;
	notify = notify_open(argv[1]);
	if (notify < 0) {
		perror(argv[1]);
		return 1;
	}
	/* Who started us may go on: from here on nothing that is sent is lost. */
	if (daemon(0, 1)) {
		perror("wakeup");
		return 1;
	}
	port = port_open();
	if (port < 0) {
		fputs("wakeup: no port " PORT_NAME ", so nobody to talk to\n", stderr);
		return 1;
	}
	/* Waits for tee-supplicant, which brings the TA. */
	if (tee_open(&tee)) {
		perror("wakeup");
		strcpy(say, "failed start\n");
		tee.dev = -1;
	}

	/*
	 * A port that the host has not opened reports a hang-up without end. It is left out of the
	 * poll then, until the driver tells by SIGIO that the host came.
	 */
	sigemptyset(&signals);
	sigaddset(&signals, SIGIO);
	sigprocmask(SIG_BLOCK, &signals, NULL);
	changed = signalfd(-1, &signals, SFD_NONBLOCK | SFD_CLOEXEC);
	fcntl(port, F_SETOWN, getpid());
	fcntl(port, F_SETFL, O_NONBLOCK | O_ASYNC);

	for (;;) {
		char bytes[1024];
		ssize_t got, n;

		watch[0] = (struct pollfd){ changed, POLLIN, 0 };
		watch[1] = (struct pollfd){ notify, POLLIN, 0 };
		watch[2] = (struct pollfd){ connected ? port : -1,
					    POLLIN | (say[0] ? POLLOUT : 0), 0 };
		if (poll(watch, 3, -1) < 0)
			continue;
		if (watch[0].revents) {
			while (read(changed, bytes, sizeof(bytes)) > 0)
				;
			connected = 1;
			continue;
		}
		if (watch[1].revents & POLLIN) {
			while ((got = read(notify, bytes, sizeof(bytes) - 1)) > 0) {
				bytes[got] = '\0';
				if (strstr(bytes, "READY=1") &&
				    strlen(say) + 8 < sizeof(say))
					strcat(say, "ready\n");
			}
			continue;
		}
		if (watch[2].revents & POLLHUP) {
			connected = 0;
			held = overlong = 0;
			continue;
		}
		if (watch[2].revents & POLLOUT && say[0]) {
			n = write(port, say, strlen(say));
			if (n > 0)
				memmove(say, say + n, strlen(say + n) + 1);
		}
		if (!(watch[2].revents & POLLIN))
			continue;
		got = read(port, bytes, sizeof(bytes));
		for (n = 0; n < got; n++) {
			const char *answer;

			if (bytes[n] != '\n') {
				if (held < sizeof(line) - 1)
					line[held++] = bytes[n];
				else
					overlong = 1;
				continue;
			}
			line[held] = '\0';
			answer = overlong || tee.dev < 0 ? NULL : obey(&tee, line);
			held = overlong = 0;
			if (answer && strlen(say) + strlen(answer) < sizeof(say))
				strcat(say, answer);
		}
	}
}
