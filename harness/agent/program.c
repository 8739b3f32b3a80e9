/* One program at a time: started, fed, drained, limited and killed without ever blocking. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "agent.h"
#include "pack.h"
#include "uart.h"

#define CHUNK (64u * 1024u)
#define CHUNK_ON_A_LINE 4096u
#define MAX_WORDS 4096u
#define PLAIN_CHUNKS_MOST 16u

static struct {
	bool runs;
	bool reaped;
	bool limited;
	bool input_ends;
	uint32_t request;
	uint32_t limit_ms;
	struct timespec started;
	pid_t pid;
	int status;
	int in, out, err;
	size_t pending_start, pending_end, pending_most;
	unsigned plain, plain_next;	/* chunks that are not to be packed, now and the next time */
	bool packs;			/* the last chunk got smaller */
} program = { .in = -1, .out = -1, .err = -1 };

static uint8_t pending[INPUT_WINDOW];
static char *words[MAX_WORDS + 1];
static volatile int not_started;

static void shut(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static long elapsed_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (long)(now.tv_sec - program.started.tv_sec) * 1000 +
	       (now.tv_nsec - program.started.tv_nsec) / 1000000;
}

static void ended(enum ending how, uint32_t value)
{
	frame_begin(FRAME_ENDED, program.request);
	put_u32((uint32_t)how);
	put_u32(value);
	frame_end();
	program.runs = false;
}

/* In the child, between vfork and exec: it has our memory, and we stand still. */
static void become(int in, int out, int err)
{
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	setsid();
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (dup2(in, 0) == 0 && dup2(out, 1) == 1 && dup2(err, 2) == 2)
		execvp(words[0], words);
	not_started = errno;
	_exit(127);
}

static bool read_words(struct cursor *payload, bool *no_input)
{
	uint32_t count = take_u32(payload);

	*no_input = count & SPAWN_NO_INPUT;
	count &= ~SPAWN_NO_INPUT;

	if (!count || count > MAX_WORDS)
		return false;
	for (uint32_t i = 0; i < count; i++) {
		const uint8_t *end = payload->bad ? NULL : memchr(payload->at, 0, payload->left);

		if (!end)
			return false;
		/* The payload stays where it is until exec has copied it. */
		words[i] = (char *)(uintptr_t)take_bytes(payload, (size_t)(end - payload->at) + 1);
	}
	words[count] = NULL;
	return !payload->bad && !payload->left && words[0][0];
}

static bool pipes(int p[3][2])
{
	for (int i = 0; i < 3; i++)
		p[i][0] = p[i][1] = -1;
	for (int i = 0; i < 3; i++) {
		if (pipe2(p[i], O_CLOEXEC) < 0)
			return false;
		for (int end = 0; end < 2; end++) {
			/* Above the standard ones, so that dup2() in the child overwrites none. */
			if (p[i][end] < 3) {
				int moved = fcntl(p[i][end], F_DUPFD_CLOEXEC, 3);

				close(p[i][end]);
				p[i][end] = moved;
				if (moved < 0)
					return false;
			}
		}
	}
	return true;
}

static void unblock(int fd)
{
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
}

void program_spawn(uint32_t request, struct cursor payload)
{
	uint32_t limit = take_u32(&payload);
	int p[3][2];
	int error;
	bool no_input;

	if (program.runs) {
		send_refused(request, REFUSED_BUSY, 0, "a program runs already");
		return;
	}
	if (!read_words(&payload, &no_input)) {
		send_refused(request, REFUSED_PAYLOAD, 0, "not a list of words");
		return;
	}
	if (!pipes(p))
		goto failed;
	memset(&program, 0, sizeof(program));
	program.in = program.out = program.err = -1;
	program.request = request;
	program.limit_ms = limit;
	program.input_ends = no_input;
	pack_forget();
	not_started = 0;
	clock_gettime(CLOCK_MONOTONIC, &program.started);
	program.pid = vfork();
	if (program.pid < 0)
		goto failed;
	if (program.pid == 0)
		become(p[0][0], p[1][1], p[2][1]);
	shut(&p[0][0]);
	shut(&p[1][1]);
	shut(&p[2][1]);
	program.runs = true;
	if (not_started) {
		waitpid(program.pid, &program.status, 0);
		shut(&p[0][1]);
		shut(&p[1][0]);
		shut(&p[2][0]);
		ended(ENDED_NOT_STARTED, (uint32_t)not_started);
	} else {
		program.in = p[0][1];
		program.out = p[1][0];
		program.err = p[2][0];
		unblock(program.in);
		unblock(program.out);
		unblock(program.err);
	}
	return;
failed:
	error = errno;
	for (int i = 0; i < 3; i++) {
		shut(&p[i][0]);
		shut(&p[i][1]);
	}
	send_refused(request, REFUSED_SYSTEM, error, "no new process");
}

void program_input(uint32_t request, const uint8_t *bytes, size_t size)
{
	if (!program.runs || request != program.request)
		return; /* it ended while these bytes were under way */
	if (!size) {
		program.input_ends = true;
		return;
	}
	if (program.pending_start) {
		memmove(pending, pending + program.pending_start,
			program.pending_end - program.pending_start);
		program.pending_end -= program.pending_start;
		program.pending_start = 0;
	}
	if (program.input_ends || size > INPUT_WINDOW - program.pending_end) {
		send_refused(request, REFUSED_FRAME, 0, "input beyond its window or its end");
		give_up();
	}
	memcpy(pending + program.pending_end, bytes, size);
	program.pending_end += size;
	if (program.pending_end > program.pending_most)
		program.pending_most = program.pending_end;
}

void program_kill(void)
{
	if (program.runs && !program.reaped) {
		/* Its group too: it leads a session of its own. */
		kill(-program.pid, SIGKILL);
		kill(program.pid, SIGKILL);
	}
}

void program_cancel(uint32_t request)
{
	if (program.runs && request == program.request)
		program_kill();
}

bool program_runs(void)
{
	return program.runs;
}

int program_in_fd(void)
{
	return program.pending_end > program.pending_start ? program.in : -1;
}

int program_out_fd(void)
{
	return room_to_answer() ? program.out : -1;
}

int program_err_fd(void)
{
	return room_to_answer() ? program.err : -1;
}

int program_wait_ms(void)
{
	long left;

	if (!program.runs || program.reaped || !program.limit_ms || program.limited)
		return -1;
	left = (long)program.limit_ms - elapsed_ms();
	return left > 0 ? (int)(left < 60000 ? left : 60000) : 0;
}

/* On a serial line a byte costs more than the work of saving one. What does not get shorter is tried
 * less and less often. */
static void say_output(enum frame_type type, const uint8_t *bytes, size_t size)
{
	static uint8_t packed[PACK_MOST];
	size_t got = 0;

	if (uart_used() && size >= PACK_LEAST && !program.plain) {
		got = pack(bytes, size, packed, size - size / 8);
		program.packs = got != 0;
		program.plain_next = got ? 0 : program.plain_next * 2 + 1;
		if (program.plain_next > PLAIN_CHUNKS_MOST)
			program.plain_next = PLAIN_CHUNKS_MOST;
		program.plain = program.plain_next;
	} else if (program.plain) {
		program.plain--;
	}
	if (!got) {
		send_frame(type, program.request, bytes, size);
		return;
	}
	frame_begin(type == FRAME_OUT ? FRAME_OUT_PACKED : FRAME_ERR_PACKED, program.request);
	put_u32((uint32_t)size);
	put_bytes(packed, got);
	frame_end();
}

static void drain(int *fd, enum frame_type type)
{
	static uint8_t chunk[CHUNK];

	while (*fd >= 0 && room_to_answer()) {
		ssize_t n = read(*fd, chunk, !uart_used() ? sizeof(chunk) :
				 program.packs ? PACK_MOST : CHUNK_ON_A_LINE);

		if (n > 0)
			say_output(type, chunk, (size_t)n);
		else if (n < 0 && errno == EINTR)
			continue;
		else if (n == 0 || errno != EAGAIN || program.reaped)
			shut(fd); /* after its end only others could still write, and they may not */
		else
			return;
	}
}

static void feed(void)
{
	size_t size = program.pending_end - program.pending_start;

	if (size) {
		ssize_t n = (ssize_t)size; /* nobody reads any more: swallowed */

		if (program.in >= 0) {
			n = write(program.in, pending + program.pending_start, size);
			if (n < 0 && (errno == EAGAIN || errno == EINTR))
				return;
			if (n < 0) {
				shut(&program.in);
				n = (ssize_t)size;
			}
		}
		program.pending_start += (size_t)n;
		frame_begin(FRAME_TAKEN, program.request);
		put_u32((uint32_t)n);
		frame_end();
	}
	if (program.input_ends && program.pending_start == program.pending_end)
		shut(&program.in);
}

void program_pump(void)
{
	if (!program.runs)
		return;
	if (!program.limited && program_wait_ms() == 0) {
		program.limited = true;
		program_kill();
	}
	if (room_to_answer())
		feed();
	drain(&program.out, FRAME_OUT);
	drain(&program.err, FRAME_ERR);
	if (!program.reaped || program.out >= 0 || program.err >= 0 || !room_to_answer())
		return;
	shut(&program.in);
	program.pending_start = program.pending_end = 0;
	explicit_bzero(pending, program.pending_most); /* secrets may have passed */
	if (program.limited)
		ended(ENDED_LIMIT, program.limit_ms);
	else if (WIFSIGNALED(program.status))
		ended(ENDED_SIGNAL, (uint32_t)WTERMSIG(program.status));
	else
		ended(ENDED_EXIT, (uint32_t)WEXITSTATUS(program.status));
}

void program_reap(void)
{
	int status;

	if (program.runs && !program.reaped &&
	    waitpid(program.pid, &program.status, WNOHANG) == program.pid)
		program.reaped = true;
	else if (!program.runs) /* what a host that is gone had started */
		waitpid(-1, &status, WNOHANG);
}
