/* Output made smaller for a serial line: LZMA2 chunks, as liblzma reads them. */
#ifndef TRUSTBOX_PACK_H
#define TRUSTBOX_PACK_H

#include <stddef.h>
#include <stdint.h>

#define PACK_LEAST 128u		/* less than this is not worth it */
#define PACK_MOST (16u * 1024u)
#define PACK_DICTIONARY (64u * 1024u)

/* The next `size` bytes of a stream as one LZMA2 chunk of at most `room` bytes at `to`; returns its
 * size. 0: it did not fit, and the next chunk begins anew. A reader that sees the chunks in their
 * order, each whole, needs nothing else: a chunk that begins anew says so. */
size_t pack(const uint8_t *from, size_t size, uint8_t *to, size_t room);

void pack_forget(void);		/* what passed is nobody's business any more */

#endif
