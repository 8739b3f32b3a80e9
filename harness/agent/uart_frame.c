/* Link frames to bytes of the line and back. */
#include <string.h>

#include "uart_frame.h"

static uint32_t crc_table[256];

static uint32_t crc32(const uint8_t *at, size_t size)
{
	uint32_t crc = 0xffffffffu;

	if (!crc_table[1]) {
		for (uint32_t i = 0; i < 256; i++) {
			uint32_t value = i;

			for (int bit = 0; bit < 8; bit++)
				value = value & 1 ? value >> 1 ^ 0xedb88320u : value >> 1;
			crc_table[i] = value;
		}
	}
	while (size--)
		crc = crc >> 8 ^ crc_table[(crc ^ *at++) & 0xff];
	return ~crc;
}

uint32_t load_u32(const uint8_t *b)
{
	return (uint32_t)b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
}

void store_u32(uint8_t *at, uint32_t value)
{
	for (int i = 0; i < 4; i++)
		at[i] = (uint8_t)(value >> 8 * i);
}

/* First the low seven bits of every byte, then the high bits, seven of them a byte, highest first. */
static size_t spread(const uint8_t *body, size_t size, uint8_t *to)
{
	uint8_t *high = to + size;

	for (size_t i = 0; i < size; i++)
		to[i] = body[i] | 0x80u;
	for (size_t i = 0; i < size; i += 7) {
		uint8_t bits = 0x80u;

		for (size_t k = 0; k < 7 && i + k < size; k++)
			bits |= (uint8_t)((body[i + k] >> 7) << (6 - k));
		*high++ = bits;
	}
	return (size_t)(high - to);
}

size_t link_encode(const struct link_head *head, const uint8_t *payload, size_t size, uint8_t *to)
{
	static uint8_t body[LINK_BODY];
	size_t coded;

	body[0] = head->kind | LINK_FROM_BOX;
	store_u32(body + 1, head->nonce);
	body[5] = (uint8_t)head->tx;
	body[6] = (uint8_t)(head->tx >> 8);
	body[7] = (uint8_t)head->seen;
	body[8] = (uint8_t)(head->seen >> 8);
	store_u32(body + 9, head->ack);
	store_u32(body + 13, head->offset);
	if (size)
		memcpy(body + LINK_HEADER, payload, size);
	store_u32(body + LINK_HEADER + size, crc32(body, LINK_HEADER + size));
	to[0] = STX;
	coded = spread(body, LINK_HEADER + size + LINK_CRC, to + 1);
	to[1 + coded] = ETX;
	return coded + 2;
}

bool link_decode(const uint8_t *coded, size_t size, struct link_head *head,
		 const uint8_t **payload, size_t *payload_size)
{
	static uint8_t body[LINK_BODY];
	size_t plain = size * 7 / 8;

	if (size > LINK_CODED || plain < LINK_HEADER + LINK_CRC || plain + (plain + 6) / 7 != size)
		return false;
	for (size_t i = 0; i < plain; i++)
		body[i] = (uint8_t)((coded[i] & 0x7fu) |
				    (coded[plain + i / 7] >> (6 - i % 7) & 1u) << 7);
	if (crc32(body, plain - LINK_CRC) != load_u32(body + plain - LINK_CRC))
		return false;
	head->kind = body[0];
	head->nonce = load_u32(body + 1);
	head->tx = (uint16_t)(body[5] | body[6] << 8);
	head->seen = (uint16_t)(body[7] | body[8] << 8);
	head->ack = load_u32(body + 9);
	head->offset = load_u32(body + 13);
	*payload = body + LINK_HEADER;
	*payload_size = plain - LINK_HEADER - LINK_CRC;
	return true;
}
