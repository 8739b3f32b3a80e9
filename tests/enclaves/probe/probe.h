/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_H
#define PROBE_H

/* 9d0d4bd7-31b2-4f1e-a3a8-6d7a52c0e5f1 */
#define PROBE_UUID \
	{ 0x9d0d4bd7, 0x31b2, 0x4f1e, { 0xa3, 0xa8, 0x6d, 0x7a, 0x52, 0xc0, 0xe5, 0xf1 } }

/* [in] value[0], [out] value[1] = value[0] with a and b swapped, [inout] value[2] += value[0] */
#define PROBE_VALUES 0

/* [in] memref[0], [out] memref[1] = memref[0] inverted, [inout] memref[2] reversed */
#define PROBE_MEMREFS 1

/* Never answers: the enclave panics with code 0x0badc0de. */
#define PROBE_PANIC 2

/* [in] memref[0] nonce, [out] memref[1] SHA-256 (32 bytes) of the marker and the nonce */
#define PROBE_PROVE 3

/* [out] memref[0] the marker itself, 32 bytes */
#define PROBE_REVEAL 4

#define PROBE_MARKER_SIZE 32
#define PROBE_PANIC_CODE 0x0badc0de

#endif
