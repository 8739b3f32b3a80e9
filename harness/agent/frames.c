/* Reading payloads without passing their end, and the queue of frames to the host. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "agent.h"
#include "uart.h"

/* Output of programs is read only below this, so that an answer of any size still fits. */
#define QUEUE_BUSY (128u * 1024u)
#define QUEUE_BUSY_ON_A_LINE (8u * 1024u)
#define QUEUE_SIZE (QUEUE_BUSY + 3u * (HEADER_SIZE + 64u * 1024u) + HEADER_SIZE + MAX_PAYLOAD)

static uint8_t queue[QUEUE_SIZE];
static size_t queue_start;
static size_t queue_end;
static size_t frame_start;

uint32_t take_u32(struct cursor *from)
{
	const uint8_t *b = take_bytes(from, 4);

	if (!b)
		return 0;
	return (uint32_t)b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
}

const uint8_t *take_bytes(struct cursor *from, size_t size)
{
	const uint8_t *at = from->at;

	if (from->bad || size > from->left) {
		from->bad = true;
		return NULL;
	}
	from->at += size;
	from->left -= size;
	return at;
}

static void store_u32(uint8_t *at, uint32_t value)
{
	at[0] = (uint8_t)value;
	at[1] = (uint8_t)(value >> 8);
	at[2] = (uint8_t)(value >> 16);
	at[3] = (uint8_t)(value >> 24);
}

/* Callers keep to room_to_answer() and to MAX_PAYLOAD; should one not, dying is better than UB. */
void put_bytes(const void *bytes, size_t size)
{
	if (size > QUEUE_SIZE - queue_end)
		_exit(EXIT_BAD_FRAME);
	if (size)
		memcpy(queue + queue_end, bytes, size);
	queue_end += size;
}

void put_u32(uint32_t value)
{
	uint8_t b[4];

	store_u32(b, value);
	put_bytes(b, sizeof(b));
}

void frame_begin(enum frame_type type, uint32_t request)
{
	if (queue_start) {
		memmove(queue, queue + queue_start, queue_end - queue_start);
		queue_end -= queue_start;
		queue_start = 0;
	}
	frame_start = queue_end;
	put_u32(FRAME_MAGIC);
	put_u32((uint32_t)type);
	put_u32(request);
	put_u32(0);
}

void frame_end(void)
{
	store_u32(queue + frame_start + 12, (uint32_t)(queue_end - frame_start - HEADER_SIZE));
}

void send_frame(enum frame_type type, uint32_t request, const void *bytes, size_t size)
{
	frame_begin(type, request);
	put_bytes(bytes, size);
	frame_end();
}

void send_refused(uint32_t request, enum refusal why, int error, const char *text)
{
	frame_begin(FRAME_REFUSED, request);
	put_u32((uint32_t)why);
	put_u32((uint32_t)error);
	put_bytes(text, strlen(text));
	frame_end();
}

bool room_to_answer(void)
{
	/* What waits for a slow line is in the way of the next answer. */
	return queue_end - queue_start < (uart_used() ? QUEUE_BUSY_ON_A_LINE : QUEUE_BUSY);
}

size_t queued(void)
{
	return queue_end - queue_start;
}

size_t take_queued(uint8_t *to, size_t most)
{
	size_t size = queue_end - queue_start < most ? queue_end - queue_start : most;

	memcpy(to, queue + queue_start, size);
	queue_start += size;
	return size;
}

bool flush_queue(int fd)
{
	while (queue_start < queue_end) {
		ssize_t n = write(fd, queue + queue_start, queue_end - queue_start);

		if (n < 0)
			return errno == EAGAIN || errno == EINTR;
		queue_start += (size_t)n;
	}
	queue_start = queue_end = 0;
	return true;
}
