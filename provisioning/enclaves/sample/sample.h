/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a client of the sample enclave needs to know: its UUID, its commands and their parameters.
 * A command's number is its promise to the clients: give a new meaning a new number.
 */
#ifndef SAMPLE_H
#define SAMPLE_H

/* e4a0f3d6-7c1b-4c52-9b8e-5d2f6a7c8b90. Make your own with uuidgen, here and in the Makefile. */
#define SAMPLE_UUID \
	{ 0xe4a0f3d6, 0x7c1b, 0x4c52, { 0x9b, 0x8e, 0x5d, 0x2f, 0x6a, 0x7c, 0x8b, 0x90 } }

/*
 * Gives the input back, byte for byte.
 * [in]  memref[0]  any bytes, none included
 * [out] memref[1]  the same bytes; its size becomes theirs
 * TEE_ERROR_SHORT_BUFFER: memref[1] is too small; its size says what is needed, nothing was written
 */
#define SAMPLE_ECHO 0

/*
 * Adds one to the sealed counter and gives its new value. Once this has answered, the new value
 * survives a power cut; if power is cut before, the value is the old one or the new one.
 * [out] value[0]  a = lower 32 bits, b = upper 32 bits
 * TEE_ERROR_OVERFLOW: the counter is at its largest value, and stays there
 */
#define SAMPLE_COUNTER_INCREMENT 1

/*
 * Gives the sealed counter's value; 0 when it was never incremented.
 * [out] value[0]  a = lower 32 bits, b = upper 32 bits
 */
#define SAMPLE_COUNTER_READ 2

/*
 * Measures this enclave's own code and constants as they are in memory now, and has the TEE sign
 * that (attestation PTA, PTA_ATTESTATION_HASH_TA_MEMORY).
 * [in]  memref[0]  nonce, 1 to SAMPLE_NONCE_MAX bytes, new for each call
 * [out] memref[1]  SHA-256 (32 bytes), then RSA-PSS signature over SHA-256(nonce || SHA-256)
 * TEE_ERROR_SHORT_BUFFER:   memref[1] is too small; its size says what is needed
 * TEE_ERROR_ITEM_NOT_FOUND: this TEE has no attestation PTA
 */
#define SAMPLE_MEASURE_SELF 3

#define SAMPLE_NONCE_MAX 64

#endif
