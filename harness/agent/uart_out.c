/* Bytes to the host, kept until it has them; what is lost is sent again, and only that. */
#include <string.h>

#include "agent.h"
#include "uart.h"
#include "uart_frame.h"

#define WINDOW (32u * 1024u)
#define MOST_SEGMENTS 256u
#define SMALLEST 128u
#define CLEAN_RUN 64u
#define FIRST_RTO 500
#define LEAST_RTO 40
#define MOST_RTO 1500

struct segment {
	uint32_t offset;
	uint16_t size;
	uint16_t tx;
	bool arrived, lost, again;
	long at;
};

static uint8_t window[WINDOW];
static struct segment segments[MOST_SEGMENTS];
static uint32_t base, next;
static size_t first, count;
static uint16_t last_tx, shrunk_at;
static size_t largest = 512;
static unsigned clean;
static long srtt = -1, variance, rto = FIRST_RTO;
static bool silent;

static struct segment *nth(size_t i)
{
	return &segments[(first + i) % MOST_SEGMENTS];
}

static void measured(long sample)
{
	if (srtt < 0) {
		srtt = sample;
		variance = sample / 2;
	} else {
		long off = sample > srtt ? sample - srtt : srtt - sample;

		variance += (off - variance) / 4;
		srtt += (sample - srtt) / 8;
	}
	rto = srtt + 4 * variance + LEAST_RTO;
	if (rto > MOST_RTO)
		rto = MOST_RTO;
}

static void arrived(struct segment *segment)
{
	if (segment->arrived)
		return;
	segment->arrived = true;
	if (!segment->again)
		measured(now_ms() - segment->at);
	if (++clean >= CLEAN_RUN) {
		clean = 0;
		largest = largest * 2 > LINK_PAYLOAD ? LINK_PAYLOAD : largest * 2;
	}
}

static void missed(struct segment *segment)
{
	segment->lost = true;
	clean = 0;
	/* Once for all that went out before the last time. */
	if ((int16_t)(segment->tx - shrunk_at) > 0) {
		shrunk_at = last_tx;
		largest = largest / 2 < SMALLEST ? SMALLEST : largest / 2;
	}
}

void out_acknowledged(uint32_t ack, uint16_t seen, const uint8_t *ranges, size_t size)
{
	if (ack - base > next - base)
		return;
	for (size_t i = 0; i < count; i++) {
		struct segment *segment = nth(i);
		uint32_t end = segment->offset + segment->size;

		if ((int32_t)(ack - end) >= 0)
			arrived(segment);
		for (size_t r = 0; r + 8 <= size; r += 8)
			if ((int32_t)(segment->offset - load_u32(ranges + r)) >= 0 &&
			    (int32_t)(load_u32(ranges + r + 4) - end) >= 0)
				arrived(segment);
		if (!segment->arrived && (int16_t)(seen - segment->tx) > 0)
			missed(segment);
	}
	while (count && (int32_t)(ack - (nth(0)->offset + nth(0)->size)) >= 0) {
		base = nth(0)->offset + nth(0)->size;
		first = (first + 1) % MOST_SEGMENTS;
		count--;
	}
}

void out_collect(void)
{
	while (count < MOST_SEGMENTS) {
		size_t at = next % WINDOW;
		size_t room = WINDOW - (next - base);
		struct segment *segment = nth(count);
		size_t size;

		if (room > WINDOW - at)
			room = WINDOW - at;
		size = take_queued(window + at, room < largest ? room : largest);
		if (!size)
			return;
		*segment = (struct segment){ .offset = next, .size = (uint16_t)size, .lost = true };
		next += (uint32_t)size;
		count++;
	}
}

bool out_due(const uint8_t **at, size_t *size, uint32_t *offset, uint16_t *tx, bool *last)
{
	struct segment *due = NULL;
	bool more = false;

	for (size_t i = 0; i < count; i++) {
		if (nth(i)->arrived || !nth(i)->lost)
			continue;
		more = due != NULL;
		if (more)
			break;
		due = nth(i);
	}
	if (!due)
		return false;
	due->again = due->tx != 0;
	due->lost = false;
	due->tx = ++last_tx ? last_tx : ++last_tx;
	due->at = now_ms();
	*at = window + due->offset % WINDOW;
	*size = due->size;
	*offset = due->offset;
	*tx = due->tx;
	*last = !more && !queued();
	return true;
}

/* Only the oldest is given up by time: what its answer tells settles the others. */
int out_wait_ms(void)
{
	for (size_t i = 0; i < count && !silent; i++) {
		struct segment *segment = nth(i);
		long left;

		if (segment->arrived || segment->lost)
			continue;
		left = segment->at + rto - now_ms();
		if (left > 0)
			return (int)left;
		missed(segment);
		rto = rto * 2 > MOST_RTO ? MOST_RTO : rto * 2;
		return 0;
	}
	return -1;
}

bool out_waits(void)
{
	return count != 0;
}

void out_host_silent(bool now_silent)
{
	silent = now_silent;
}
