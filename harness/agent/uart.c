/* The line itself: frames in and out, and when to give up. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "agent.h"
#include "uart.h"
#include "uart_frame.h"

#define HEARTBEAT_MS 1000
#define HOST_GONE_MS 10000
/* Root without a password for whoever is on the line: not for long after the host was heard last.
 * It says something every KEEP_ALIVE_SECONDS (harness/uart_link.py). */
#ifndef LEAVE_MS
#define LEAVE_MS 25000
#endif
#define LINE_ENDS 3u
#define ACK_BYTES 512u
#define ACK_MS 15

static struct {
	bool used, tty;
	int fd_in, fd_out;
	uint32_t nonce;
	uint16_t seen;
	bool ack_now, ack_soon;
	long ack_at;
	uint32_t acknowledged;		/* the last that we told */
	unsigned line_ends;
	long heard, said;
	bool inside;
	size_t coded_size;
	uint8_t coded[LINK_CODED];
	uint8_t line[LINK_LINE];
	size_t line_start, line_end;
} uart;

long now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (long)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static bool set_tty(bool raw)
{
	struct termios tty;

	if (ioctl(0, TCGETS, &tty) < 0)
		return false;
	if (raw) {
		tty.c_iflag &= ~(tcflag_t)(IGNBRK | BRKINT | PARMRK | ISTRIP | INPCK | INLCR | IGNCR |
					   ICRNL | IXON | IXOFF);
		tty.c_oflag &= ~(tcflag_t)OPOST;
		tty.c_lflag &= ~(tcflag_t)(ECHO | ECHONL | ICANON | ISIG | IEXTEN);
		tty.c_cc[VMIN] = 1;
		tty.c_cc[VTIME] = 0;
	} else {
		tty.c_iflag |= BRKINT | ICRNL;
		tty.c_oflag |= OPOST | ONLCR;
		tty.c_lflag |= ECHO | ICANON | ISIG | IEXTEN;
	}
	return ioctl(0, TCSETS, &tty) >= 0;
}

bool uart_start(uint32_t nonce)
{
	uart.used = true;
	uart.nonce = nonce;
	uart.heard = uart.said = now_ms();
	uart.fd_in = 0;
	uart.fd_out = 1;
	uart.tty = set_tty(true);
	if (uart.tty) {
		/* An open file of our own: the shell's must not become non-blocking. */
		int own = open("/proc/self/fd/0", O_RDWR | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);

		if (own < 0)
			return false;
		uart.fd_in = uart.fd_out = own;
	} else {
		fcntl(1, F_SETFL, fcntl(1, F_GETFL) | O_NONBLOCK);
	}
	return true;
}

bool uart_used(void)
{
	return uart.used;
}

int uart_fd(void)
{
	return uart.fd_in;
}

int uart_fd_out(void)
{
	return uart.fd_out;
}

void uart_end(void)
{
	if (uart.tty)
		set_tty(false);
}

static void leave(void)
{
	program_kill();
	uart_end();
	_exit(0);
}

/* As if started anew: nothing of the last host's doings is left. */
static void restart(uint32_t nonce)
{
	program_kill();
	begin_again(nonce);
	leave();
}

static void handle(const struct link_head *head, const uint8_t *payload, size_t size, uint8_t *inbox,
		   size_t *filled, size_t room)
{
	uint8_t kind = head->kind & LINK_KIND;

	if (head->kind & LINK_FROM_BOX)
		return;
	if (kind == LINK_RESET && head->nonce != uart.nonce)
		restart(head->nonce);
	if (head->nonce != uart.nonce)
		return;
	uart.heard = now_ms();
	uart.line_ends = 0;
	out_host_silent(false);
	if (kind == LINK_BYE)
		leave();
	if (kind == LINK_DATA) {
		uint32_t before = in_expected();

		uart.seen = head->tx;
		in_data(head->offset, payload, size, inbox, filled, room);
		if (in_expected() == before || head->offset != before ||
		    in_expected() - uart.acknowledged >= ACK_BYTES)
			uart.ack_now = true;
	}
	if (kind == LINK_RESET || (kind == LINK_ACK && (head->kind & LINK_PUSH)))
		uart.ack_now = true;
	/* An answer is likely to follow at once, and takes the acknowledgement along. */
	if (kind == LINK_DATA && (head->kind & LINK_PUSH) && !uart.ack_soon) {
		uart.ack_soon = true;
		uart.ack_at = uart.heard + ACK_MS;
	}
	if (kind == LINK_ACK || kind == LINK_DATA)
		out_acknowledged(head->ack, head->seen, payload, kind == LINK_ACK ? size : 0);
}

static void byte(uint8_t b, uint8_t *inbox, size_t *filled, size_t room)
{
	struct link_head head;
	const uint8_t *payload;
	size_t size;

	if (b & 0x80u) {
		if (uart.inside && uart.coded_size < sizeof(uart.coded))
			uart.coded[uart.coded_size++] = b;
		else
			uart.inside = false;
	} else if (b == STX) {
		uart.inside = true;
		uart.coded_size = 0;
	} else if (b == ETX) {
		if (uart.inside) {
			if (link_decode(uart.coded, uart.coded_size, &head, &payload, &size))
				handle(&head, payload, size, inbox, filled, room);
			else
				uart.ack_now = true;
		}
		uart.inside = false;
	} else if ((b == '\r' || b == '\n') && ++uart.line_ends >= LINE_ENDS) {
		leave(); /* a person wants the console */
	}
}

bool uart_read(uint8_t *inbox, size_t *filled, size_t room)
{
	static uint8_t chunk[4096];
	ssize_t n = read(uart.fd_in, chunk, sizeof(chunk));

	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	for (ssize_t i = 0; i < n; i++)
		byte(chunk[i], inbox, filled, room);
	explicit_bzero(chunk, (size_t)n); /* secrets may have passed */
	return n > 0;
}

static void say(uint8_t kind, const uint8_t *payload, size_t size, uint32_t offset, uint16_t tx)
{
	struct link_head head = { kind, uart.nonce, tx, uart.seen, in_expected(), offset };

	uart.line_start = 0;
	uart.line_end = link_encode(&head, payload, size, uart.line);
	uart.acknowledged = head.ack;
	uart.ack_now = uart.ack_soon = false;
	uart.said = now_ms();
}

/* Signs of life while somebody waits for something. */
static bool heart_beats(void)
{
	return program_runs() || out_waits();
}

static bool something_to_say(void)
{
	uint8_t ranges[8 * 8];
	const uint8_t *at;
	size_t size = in_ranges(ranges);
	uint32_t offset;
	uint16_t tx;
	bool last;

	/* A gap is told at once; an acknowledgement goes along with any data that is due. */
	if (!(uart.ack_now && size) && out_due(&at, &size, &offset, &tx, &last)) {
		say(last ? LINK_DATA | LINK_PUSH : LINK_DATA, at, size, offset, tx);
		return true;
	}
	if (uart.ack_now || (uart.ack_soon && now_ms() >= uart.ack_at) || (heart_beats() && now_ms() - uart.said >= HEARTBEAT_MS)) {
		say(LINK_ACK, ranges, in_ranges(ranges), 0, 0);
		return true;
	}
	return false;
}

/* After a long call into the TEE, what the host said meanwhile is still to be read. */
static bool input_waits(void)
{
	struct pollfd line = { .fd = uart.fd_in, .events = POLLIN };

	return poll(&line, 1, 0) > 0;
}

bool uart_pump(void)
{
	long quiet = now_ms() - uart.heard;

	if (quiet >= LEAVE_MS && !input_waits())
		leave();
	out_host_silent(quiet >= HOST_GONE_MS);
	for (;;) {
		while (uart.line_start < uart.line_end) {
			ssize_t n = write(uart.fd_out, uart.line + uart.line_start,
					  uart.line_end - uart.line_start);

			if (n < 0)
				return errno == EAGAIN || errno == EINTR;
			uart.line_start += (size_t)n;
		}
		out_wait_ms();
		out_collect();
		if (!something_to_say())
			return true;
	}
}

bool uart_wants_to_write(void)
{
	return uart.line_start < uart.line_end;
}

int uart_wait_ms(void)
{
	long now = now_ms();
	long left = uart.heard + LEAVE_MS - now;
	int out = out_wait_ms();

	if (heart_beats() && uart.said + HEARTBEAT_MS - now < left)
		left = uart.said + HEARTBEAT_MS - now;
	if (out >= 0 && out < left)
		left = out;
	if (uart.ack_soon && uart.ack_at - now < left)
		left = uart.ack_at - now;
	return left > 0 ? (int)left : 0;
}
