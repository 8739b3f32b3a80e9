/* An LZMA encoder without a library: greedy, one candidate for a match, and the four last distances.
 *
 * The format is that of the LZMA specification (lc=3, lp=0, pb=0) in LZMA2 chunks, which keep the
 * dictionary and the statistics from one to the next. What a terminal sees is much alike from line to
 * line: the distance of the last match fits again, and costs a few bits.
 */
#include <stdbool.h>
#include <string.h>

#include "pack.h"

#define HISTORY (32u * 1024u)
#define HASH_BITS 13u
#define STATES 12u
#define LITERAL_CONTEXTS 8u
#define PROPERTIES 3u		/* (pb * 5 + lp) * 9 + lc */
#define CHUNK_HEAD 6u
#define NEW_DICTIONARY 0xe0u
#define GOES_ON 0x80u
#define LONGEST_MATCH 273u
#define REPS 4u
#define ALIGN_BITS 4u
#define FIRST_DIRECT_SLOT 14u

struct lengths {
	uint16_t choice, choice2, low[8], mid[8], high[256];
};

/* All of them start at one half; the order is nobody's business. */
static struct {
	uint16_t match[STATES], rep[STATES], rep0[STATES], rep1[STATES], rep2[STATES];
	uint16_t rep0_long[STATES];
	uint16_t literal[LITERAL_CONTEXTS][0x300];
	uint16_t slot[4][64], special[128], align[1u << ALIGN_BITS];
	struct lengths match_length, rep_length;
} chance;

static uint8_t text[HISTORY + PACK_MOST];
static uint32_t seen[1u << HASH_BITS];	/* where four bytes stood last, counted from 1 */
static uint32_t base;			/* what was dropped before text[0] */
static size_t filled;
static uint32_t reps[REPS];		/* distances less 1 */
static unsigned state;
static bool anew = true;

static struct {
	uint64_t low;
	uint32_t range, pending;
	uint8_t cache;
	uint8_t *at, *end;
	bool full;
} coder;

static void put(uint8_t value)
{
	if (coder.at < coder.end)
		*coder.at++ = value;
	else
		coder.full = true;
}

static void shift(void)
{
	if (coder.low < 0xff000000u || coder.low > 0xffffffffu) {
		uint8_t carry = (uint8_t)(coder.low >> 32);

		put((uint8_t)(coder.cache + carry));
		for (; coder.pending; coder.pending--)
			put((uint8_t)(0xffu + carry));
		coder.cache = (uint8_t)(coder.low >> 24);
	} else {
		coder.pending++;
	}
	coder.low = (coder.low & 0x00ffffffu) << 8;
}

static void bit(uint16_t *half, unsigned value)
{
	uint32_t bound = (coder.range >> 11) * *half;

	if (value) {
		coder.low += bound;
		coder.range -= bound;
		*half = (uint16_t)(*half - (*half >> 5));
	} else {
		coder.range = bound;
		*half = (uint16_t)(*half + ((2048u - *half) >> 5));
	}
	while (coder.range < 1u << 24) {
		coder.range <<= 8;
		shift();
	}
}

static void even_bits(uint32_t value, unsigned count)
{
	while (count--) {
		coder.range >>= 1;
		if (value >> count & 1u)
			coder.low += coder.range;
		while (coder.range < 1u << 24) {
			coder.range <<= 8;
			shift();
		}
	}
}

static void tree(uint16_t *nodes, unsigned bits, uint32_t value)
{
	uint32_t node = 1;

	while (bits--) {
		unsigned b = value >> bits & 1u;

		bit(&nodes[node], b);
		node = node << 1 | b;
	}
}

static void tree_from_low(uint16_t *nodes, unsigned bits, uint32_t value)
{
	uint32_t node = 1;

	for (; bits; bits--, value >>= 1) {
		bit(&nodes[node], value & 1u);
		node = node << 1 | (value & 1u);
	}
}

static void literal(size_t at)
{
	uint16_t *nodes = chance.literal[at ? text[at - 1] >> 5 : 0];
	uint32_t value = text[at], node = 1;

	if (state < 7) {
		tree(nodes, 8, value);
	} else { /* after a match it is not the byte that would have gone on with it */
		uint32_t other = text[at - reps[0] - 1], differs = 0x100;

		for (int i = 7; i >= 0; i--) {
			uint32_t b = value >> i & 1u;

			other <<= 1;
			bit(&nodes[differs + (other & differs) + node], b);
			node = node << 1 | b;
			differs &= ~(other ^ b << 8);
		}
	}
	state = state < 4 ? 0 : state < 10 ? state - 3 : state - 6;
}

static void length(struct lengths *to, uint32_t value)
{
	value -= 2;
	bit(&to->choice, value >= 8);
	if (value < 8) {
		tree(to->low, 3, value);
		return;
	}
	bit(&to->choice2, value >= 16);
	if (value < 16)
		tree(to->mid, 3, value - 8);
	else
		tree(to->high, 8, value - 16);
}

static void repeated(unsigned which, uint32_t size)
{
	uint32_t distance = reps[which];

	bit(&chance.match[state], 1);
	bit(&chance.rep[state], 1);
	bit(&chance.rep0[state], which > 0);
	if (which == 0) {
		bit(&chance.rep0_long[state], 1);
	} else {
		bit(&chance.rep1[state], which > 1);
		if (which > 1)
			bit(&chance.rep2[state], which > 2);
		for (; which; which--)
			reps[which] = reps[which - 1];
		reps[0] = distance;
	}
	length(&chance.rep_length, size);
	state = state < 7 ? 8 : 11;
}

static void matched(uint32_t distance, uint32_t size)
{
	uint32_t slot = distance;

	bit(&chance.match[state], 1);
	bit(&chance.rep[state], 0);
	length(&chance.match_length, size);
	if (distance >= 4) {
		unsigned top = 31u - (unsigned)__builtin_clz(distance);

		slot = top << 1 | (distance >> (top - 1) & 1u);
	}
	tree(chance.slot[size < 6 ? size - 2 : 3], 6, slot);
	if (slot >= 4) {
		unsigned rest = (slot >> 1) - 1;
		uint32_t from = (2u | (slot & 1u)) << rest;

		if (slot < FIRST_DIRECT_SLOT) {
			tree_from_low(&chance.special[from - slot], rest, distance - from);
		} else {
			even_bits((distance - from) >> ALIGN_BITS, rest - ALIGN_BITS);
			tree_from_low(chance.align, ALIGN_BITS, distance & 15u);
		}
	}
	for (unsigned i = REPS - 1; i; i--)
		reps[i] = reps[i - 1];
	reps[0] = distance;
	state = state < 7 ? 7 : 10;
}

static uint32_t alike(size_t at, size_t other, size_t end)
{
	size_t size = 0;

	while (at + size < end && size < LONGEST_MATCH && text[at + size] == text[other + size])
		size++;
	return (uint32_t)size;
}

/* Where these four bytes stood last, less than `at`; `at` itself: nowhere. Remembers `at`. */
static size_t stood(size_t at)
{
	uint32_t four = (uint32_t)text[at] | (uint32_t)text[at + 1] << 8 |
			(uint32_t)text[at + 2] << 16 | (uint32_t)text[at + 3] << 24;
	uint32_t *place = &seen[four * 2654435761u >> (32u - HASH_BITS)];
	uint32_t last = *place;

	*place = base + (uint32_t)at + 1;
	return last > base ? last - 1 - base : at;
}

/* One literal or match at `at`; how many bytes it took. */
static uint32_t step(size_t at, size_t end)
{
	uint32_t size = 0, rep_size = 0;
	unsigned which = 0;
	size_t other;

	for (unsigned i = 0; i < REPS; i++) {
		if (reps[i] < at) {
			uint32_t one = alike(at, at - reps[i] - 1, end);

			if (one > rep_size) {
				rep_size = one;
				which = i;
			}
		}
	}
	if (at + 4 <= end) {
		other = stood(at);
		/* Farther back it may be gone when the next chunk asks what stood there. */
		if (other < at && at - other <= HISTORY)
			size = alike(at, other, end);
		if (size < 4)
			size = 0;
	}
	if (rep_size >= 2 && rep_size + 1 >= size) {
		repeated(which, rep_size);
		size = rep_size;
	} else if (size) {
		matched((uint32_t)(at - other - 1), size);
	} else {
		bit(&chance.match[state], 0);
		literal(at);
		return 1;
	}
	for (size_t i = at + 1; i < at + size && i + 4 <= end; i++)
		stood(i);
	return size;
}

static void begin_anew(void)
{
	uint16_t *half = (uint16_t *)&chance;

	for (size_t i = 0; i < sizeof(chance) / sizeof(*half); i++)
		half[i] = 1024;
	memset(seen, 0, sizeof(seen));
	memset(reps, 0, sizeof(reps));
	base = 0;
	filled = 0;
	state = 0;
}

static void make_room(size_t size)
{
	size_t gone = filled > HISTORY ? filled - HISTORY : 0;

	if (filled + size <= sizeof(text))
		return;
	memmove(text, text + gone, filled - gone);
	filled -= gone;
	base += (uint32_t)gone;
}

size_t pack(const uint8_t *from, size_t size, uint8_t *to, size_t room)
{
	size_t head, packed, end;

	if (size < PACK_LEAST || size > PACK_MOST || room <= CHUNK_HEAD)
		return 0;
	anew = anew || base > UINT32_MAX / 2;
	if (anew)
		begin_anew();
	head = anew ? CHUNK_HEAD : CHUNK_HEAD - 1;
	make_room(size);
	memcpy(text + filled, from, size);
	end = filled + size;
	coder.low = 0;
	coder.range = UINT32_MAX;
	coder.pending = 0;
	coder.cache = 0;
	coder.at = to + head;
	coder.end = to + room;
	coder.full = false;
	while (filled < end && !coder.full)
		filled += step(filled, end);
	for (int i = 0; i < 5 && !coder.full; i++)
		shift();
	packed = (size_t)(coder.at - to) - head;
	if (coder.full || packed > 0x10000u) {
		anew = true;
		return 0;
	}
	to[0] = anew ? NEW_DICTIONARY : GOES_ON;
	to[1] = (uint8_t)((size - 1) >> 8);
	to[2] = (uint8_t)(size - 1);
	to[3] = (uint8_t)((packed - 1) >> 8);
	to[4] = (uint8_t)(packed - 1);
	if (anew)
		to[5] = PROPERTIES;
	anew = false;
	return head + packed;
}

void pack_forget(void)
{
	if (!anew || filled)
		explicit_bzero(text, sizeof(text));
	filled = 0;
	anew = true;
}
