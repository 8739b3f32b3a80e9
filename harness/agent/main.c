/* The loop: one poll, nothing in it blocks except a call into the TEE. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "agent.h"
#include "uart.h"

static uint8_t inbox[HEADER_SIZE + MAX_PAYLOAD];
static size_t inbox_size;
static char **arguments;

void give_up(void)
{
	if (uart_used())
		uart_pump();
	else
		flush_queue(1);
	program_kill();
	uart_end();
	_exit(EXIT_BAD_FRAME);
}

void begin_again(uint32_t nonce)
{
	static char digits[9];
	static char uart[] = "--uart";
	char *const words[] = { arguments[0], arguments[1], uart, digits, NULL };

	for (int i = 0; i < 8; i++)
		digits[i] = "0123456789abcdef"[nonce >> (28 - 4 * i) & 15u];
	execvp(words[0], words);
}

static bool read_nonce(const char *text, uint32_t *nonce)
{
	*nonce = 0;
	for (int i = 0; i < 8; i++) {
		char c = text[i];
		int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;

		if (digit < 0)
			return false;
		*nonce = *nonce << 4 | (uint32_t)digit;
	}
	return !text[8];
}

static void bad_frame(const char *text)
{
	send_refused(0, REFUSED_FRAME, 0, text);
	give_up();
}

static void handle(uint32_t type, uint32_t request, struct cursor payload)
{
	switch (type) {
	case FRAME_PING:
		send_frame(FRAME_PONG, request, payload.at, payload.left);
		break;
	case FRAME_SPAWN:
		program_spawn(request, payload);
		break;
	case FRAME_INPUT:
		program_input(request, payload.at, payload.left);
		break;
	case FRAME_CANCEL:
		program_cancel(request);
		break;
	case FRAME_TEE_VERSION:
		tee_version(request);
		break;
	case FRAME_TEE_OPEN:
		tee_open(request, payload);
		break;
	case FRAME_TEE_INVOKE:
		tee_invoke(request, payload);
		break;
	case FRAME_TEE_CLOSE:
		tee_close(request, payload);
		break;
	default:
		send_refused(request, REFUSED_TYPE, 0, "no such request");
	}
}

/* What must be read whether or not the host takes our output, or both could wait for each other. */
static bool needs_no_room(uint32_t type)
{
	return type == FRAME_INPUT || type == FRAME_CANCEL;
}

/* Handles whole frames from the front of the inbox, as long as the answer has room. */
static void handle_inbox(void)
{
	size_t done = 0;

	for (;;) {
		struct cursor header = { inbox + done, inbox_size - done, false };
		uint32_t magic = take_u32(&header);
		uint32_t type = take_u32(&header);
		uint32_t request = take_u32(&header);
		uint32_t length = take_u32(&header);

		if (header.bad)
			break;
		if (magic != FRAME_MAGIC)
			bad_frame("not a frame");
		if (length > MAX_PAYLOAD)
			bad_frame("a frame that is too long");
		if (length > header.left || !(needs_no_room(type) || room_to_answer()))
			break;
		handle(type, request, (struct cursor){ header.at, length, false });
		done += HEADER_SIZE + length;
		/* A program is fed and drained between frames too. */
		program_pump();
	}
	if (done) {
		memmove(inbox, inbox + done, inbox_size - done);
		inbox_size -= done;
		explicit_bzero(inbox + inbox_size, done); /* secrets may have passed */
	}
}

static void read_inbox(void)
{
	ssize_t n;

	if (uart_used()) {
		if (!uart_read(inbox, &inbox_size, sizeof(inbox))) {
			program_kill();
			exit(0);
		}
		return;
	}
	n = read(0, inbox + inbox_size, sizeof(inbox) - inbox_size);

	if (n > 0)
		inbox_size += (size_t)n;
	if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
		program_kill();
		exit(0);
	}
}

static int watch_children(void)
{
	sigset_t child;

	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	sigprocmask(SIG_BLOCK, &child, NULL);
	signal(SIGPIPE, SIG_IGN);
	return signalfd(-1, &child, SFD_NONBLOCK | SFD_CLOEXEC);
}

static int wait_ms(void)
{
	int program = program_wait_ms();
	int line = uart_used() ? uart_wait_ms() : -1;

	return program < 0 || (line >= 0 && line < program) ? line : program;
}

int main(int argc, char **argv)
{
	int children = watch_children();
	uint32_t nonce;

	if (children < 0)
		return 1;
	arguments = argv;
	if (argc > 1)
		tee_use(argv[1]);
	if (argc > 3) {
		if (!read_nonce(argv[3], &nonce) || !uart_start(nonce))
			return 1;
	} else {
		/* Just arrived under a name of its own: from now on for all who come. */
		if (argc > 2 && rename(argv[0], argv[2]) < 0)
			return 1;
		/* Not stdin: it may be the same open file as somebody else's, and poll() tells when to
		 * read. */
		fcntl(1, F_SETFL, fcntl(1, F_GETFL) | O_NONBLOCK);
	}
	frame_begin(FRAME_HELLO, 0);
	put_u32(AGENT_VERSION);
	put_u32(MAX_PAYLOAD);
	put_u32(INPUT_WINDOW);
	put_u32(MAX_SHARED);
	frame_end();
	if (uart_used())
		uart_pump();
	for (;;) {
		struct signalfd_siginfo info;
		struct pollfd fds[] = {
			{ .fd = uart_used() ? uart_fd() : inbox_size < sizeof(inbox) ? 0 : -1,
			  .events = POLLIN },
			{ .fd = uart_wants_to_write() ? uart_fd_out() : !uart_used() && queued() ? 1 : -1,
			  .events = POLLOUT },
			{ .fd = children, .events = POLLIN },
			{ .fd = program_in_fd(), .events = POLLOUT },
			{ .fd = program_out_fd(), .events = POLLIN },
			{ .fd = program_err_fd(), .events = POLLIN },
		};

		if (poll(fds, sizeof(fds) / sizeof(fds[0]), wait_ms()) < 0 && errno != EINTR)
			return 1;
		if (fds[2].revents) {
			while (read(children, &info, sizeof(info)) == sizeof(info))
				;
			program_reap();
		}
		if (fds[0].revents)
			read_inbox();
		handle_inbox();
		program_pump();
		if (!(uart_used() ? uart_pump() : flush_queue(1))) {
			program_kill();
			return 1;
		}
	}
}
