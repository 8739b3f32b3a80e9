/* Link frames: how the helper's bytes cross a serial line that loses, doubles and mixes them.
 *
 *   line    STX (02) | body, 7 bits a byte, each with its high bit set | ETX (03)
 *   body    u8 kind | u32 nonce | u16 tx | u16 seen | u32 ack | u32 offset | payload | u32 CRC-32
 *
 * Log lines of the kernel and of OP-TEE are ASCII, so the class of a byte tells them from a frame that
 * they land in. In a cooked tty ETX is Ctrl-C: a frame that reaches a shell by mistake kills its own
 * line. Numbers are little-endian; the CRC is that of zlib, over everything before it.
 *
 * Both ways run a stream of bytes, counted by `offset` from 0. `ack` is the offset that is expected
 * next; `tx` numbers the transmissions of DATA frames from 1, `seen` is the last number that arrived.
 * A line keeps the order, so what was sent before `seen` and is not acknowledged is lost.
 */
#ifndef TRUSTBOX_UART_FRAME_H
#define TRUSTBOX_UART_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define STX 0x02u
#define ETX 0x03u

#define LINK_DATA 1u	/* bytes of the stream from `offset` on */
#define LINK_ACK 2u	/* payload: u32 begin, u32 end of what arrived beyond a gap, at most 8 such */
#define LINK_RESET 3u	/* from the host: end everything, begin again with this nonce */
#define LINK_BYE 4u	/* from the host: end */
#define LINK_KIND 0x0fu
#define LINK_FROM_BOX 0x40u	/* so that an echo is not taken for an answer */
#define LINK_PUSH 0x80u		/* nothing follows for now: acknowledge at once */

#define LINK_HEADER 17u
#define LINK_CRC 4u
#define LINK_PAYLOAD 1024u
#define LINK_BODY (LINK_HEADER + LINK_PAYLOAD + LINK_CRC)
#define LINK_CODED (LINK_BODY + (LINK_BODY + 6u) / 7u)
#define LINK_LINE (LINK_CODED + 2u)

struct link_head {
	uint8_t kind;
	uint32_t nonce;
	uint16_t tx;
	uint16_t seen;
	uint32_t ack;
	uint32_t offset;
};

uint32_t load_u32(const uint8_t *at);
void store_u32(uint8_t *at, uint32_t value);

/* `to` has room for LINK_LINE bytes; returns how many were used. */
size_t link_encode(const struct link_head *head, const uint8_t *payload, size_t size, uint8_t *to);

/* Takes `size` coded bytes; false: not a frame. The payload lies in a buffer until the next call. */
bool link_decode(const uint8_t *coded, size_t size, struct link_head *head,
		 const uint8_t **payload, size_t *payload_size);

#endif
