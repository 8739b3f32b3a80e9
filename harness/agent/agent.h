/* The harness's helper on a box: runs programs and calls the TEE, over frames on stdin and stdout.
 *
 * It needs no library and leaves no file. It ends when its stdin ends, and its programs with it.
 *
 *   agent TEE-DEVICE [FINAL-NAME]       frames on stdin and stdout
 *   agent TEE-DEVICE --uart NONCE       stdin is a serial line, see uart_frame.h; NONCE is 8 hex digits
 *
 *   frame     u32 magic "TBA1" | u16 type | u16 0 | u32 request | u32 length | payload[length]
 *
 * All numbers are little-endian. A frame that breaks the form is answered with REFUSED, then the
 * agent exits with status 3: after it nothing can be in step any more. A well-formed request that
 * makes no sense is answered with REFUSED, and the agent goes on.
 */
#ifndef TRUSTBOX_AGENT_H
#define TRUSTBOX_AGENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define AGENT_VERSION 2u
#define FRAME_MAGIC 0x31414254u
#define HEADER_SIZE 16u
#define MAX_PAYLOAD (1024u * 1024u + 64u * 1024u)
#define MAX_SHARED (1024u * 1024u)
#define INPUT_WINDOW (256u * 1024u)
#define MAX_SESSIONS 32u
#define TEE_PARAMS 4u
#define EXIT_BAD_FRAME 3
#define SPAWN_NO_INPUT 0x80000000u

enum frame_type {
	/* from the host */
	FRAME_PING = 1,		/* any bytes; answered by PONG with the same */
	FRAME_SPAWN = 2,	/* u32 limit in ms (0: none), u32 argc, argc strings ending in NUL;
				 * argc with SPAWN_NO_INPUT: its stdin is at its end, no INPUT follows */
	FRAME_INPUT = 3,	/* bytes for the program's stdin; none: its end */
	FRAME_CANCEL = 4,	/* kill the program; ENDED follows */
	FRAME_TEE_VERSION = 5,
	FRAME_TEE_OPEN = 6,	/* uuid[16] as RFC 4122 octets, u32 login, params */
	FRAME_TEE_INVOKE = 7,	/* u32 session, u32 command, params */
	FRAME_TEE_CLOSE = 8,	/* u32 session */
	/* to the host */
	FRAME_HELLO = 0x80,	/* u32 version, u32 MAX_PAYLOAD, u32 INPUT_WINDOW, u32 MAX_SHARED */
	FRAME_PONG = 0x81,
	FRAME_OUT = 0x82,	/* bytes of the program's stdout */
	FRAME_ERR = 0x83,	/* bytes of the program's stderr */
	FRAME_TAKEN = 0x84,	/* u32: so many INPUT bytes went on, the host may send as many more */
	FRAME_ENDED = 0x85,	/* u32 enum ending, u32 status, signal number or errno */
	FRAME_TEE_RESULT = 0x86, /* u32 code, u32 origin, u32 session, params */
	FRAME_TEE_IS = 0x87,	/* u32 impl_id, u32 impl_caps, u32 gen_caps */
	FRAME_REFUSED = 0x88,	/* u32 enum refusal, u32 errno, text */
	FRAME_OUT_PACKED = 0x89, /* u32 bytes, and these as an LZMA2 chunk: only on a serial line, and */
	FRAME_ERR_PACKED = 0x8a, /* only when it is shorter; one run of chunks for both, see pack.h */
};

/* A parameter is u32 type and: VALUE u32 a, u32 b; MEMREF IN and INOUT u32 size, bytes; MEMREF OUT
 * u32 size. In a result only OUT and INOUT carry something: VALUE u32 a, u32 b; MEMREF u32 size (as
 * the TEE left it, more than there was room for with SHORT_BUFFER), u32 length, bytes. */

enum ending { ENDED_EXIT = 0, ENDED_SIGNAL = 1, ENDED_NOT_STARTED = 2, ENDED_LIMIT = 3 };

enum refusal {
	REFUSED_FRAME = 1,
	REFUSED_TYPE = 2,
	REFUSED_PAYLOAD = 3,
	REFUSED_BUSY = 4,
	REFUSED_SESSION = 5,
	REFUSED_SIZE = 6,
	REFUSED_SYSTEM = 7,
};

/* frames.c: a reader that never passes its end, and the queue of bytes to the host */
struct cursor {
	const uint8_t *at;
	size_t left;
	bool bad;		/* something was read that is not there */
};

uint32_t take_u32(struct cursor *from);
const uint8_t *take_bytes(struct cursor *from, size_t size);

void put_u32(uint32_t value);
void put_bytes(const void *bytes, size_t size);
void frame_begin(enum frame_type type, uint32_t request);
void frame_end(void);
void send_frame(enum frame_type type, uint32_t request, const void *bytes, size_t size);
void send_refused(uint32_t request, enum refusal why, int error, const char *text);
bool room_to_answer(void);	/* the queue has room for any one more answer */
size_t queued(void);
bool flush_queue(int fd);	/* false: nobody takes it any more */
size_t take_queued(uint8_t *to, size_t most);

/* main.c */
void give_up(void) __attribute__((noreturn));
void begin_again(uint32_t nonce);	/* a helper that knows nothing, in this one's place */

/* program.c: one program at a time */
void program_spawn(uint32_t request, struct cursor payload);
void program_input(uint32_t request, const uint8_t *bytes, size_t size);
void program_cancel(uint32_t request);
void program_kill(void);
bool program_runs(void);
int program_in_fd(void);	/* descriptors to poll, -1: nothing to do */
int program_out_fd(void);
int program_err_fd(void);
int program_wait_ms(void);	/* until its time limit, -1: none */
void program_pump(void);	/* moves what can be moved without blocking */
void program_reap(void);	/* after SIGCHLD */

/* tee.c */
void tee_use(const char *device);
void tee_version(uint32_t request);
void tee_open(uint32_t request, struct cursor payload);
void tee_invoke(uint32_t request, struct cursor payload);
void tee_close(uint32_t request, struct cursor payload);

#endif
