/* Bytes from the host, in order again: what lies beyond a gap waits in slots. */
#include <string.h>

#include "uart.h"
#include "uart_frame.h"

#define SLOTS 8u
#define AHEAD (16u * 1024u)

static struct {
	bool used;
	uint32_t offset;
	size_t size;
	uint8_t bytes[LINK_PAYLOAD];
} slots[SLOTS];
static uint32_t expected;

static bool take(uint32_t offset, const uint8_t *bytes, size_t size, uint8_t *inbox, size_t *filled,
		 size_t room)
{
	uint32_t known = expected - offset;

	if (known > size || size - known > room - *filled)
		return false;
	memcpy(inbox + *filled, bytes + known, size - known);
	*filled += size - known;
	expected += (uint32_t)(size - known);
	return true;
}

static void keep(uint32_t offset, const uint8_t *bytes, size_t size)
{
	for (size_t i = 0; i < SLOTS; i++)
		if (slots[i].used && slots[i].offset == offset)
			return;
	for (size_t i = 0; i < SLOTS; i++) {
		if (slots[i].used)
			continue;
		slots[i].used = true;
		slots[i].offset = offset;
		slots[i].size = size;
		memcpy(slots[i].bytes, bytes, size);
		return;
	}
}

void in_data(uint32_t offset, const uint8_t *bytes, size_t size, uint8_t *inbox, size_t *filled,
	     size_t room)
{
	bool moved = true;

	if ((int32_t)(offset - expected) > 0) {
		if (offset - expected <= AHEAD)
			keep(offset, bytes, size);
		return;
	}
	take(offset, bytes, size, inbox, filled, room);
	while (moved) {
		moved = false;
		for (size_t i = 0; i < SLOTS; i++) {
			if (!slots[i].used || (int32_t)(slots[i].offset - expected) > 0)
				continue;
			/* No room for it: the host sends it again. */
			moved = take(slots[i].offset, slots[i].bytes, slots[i].size, inbox, filled,
				     room) || moved;
			slots[i].used = false;
			explicit_bzero(slots[i].bytes, slots[i].size);
		}
	}
}

uint32_t in_expected(void)
{
	return expected;
}

size_t in_ranges(uint8_t *to)
{
	size_t used = 0;

	for (size_t i = 0; i < SLOTS; i++) {
		if (!slots[i].used)
			continue;
		store_u32(to + used, slots[i].offset);
		store_u32(to + used + 4, slots[i].offset + (uint32_t)slots[i].size);
		used += 8;
	}
	return used;
}
