/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MEASURE_H
#define MEASURE_H

#include <stddef.h>
#include <tee_api_types.h>

/* SHA-256, and a signature by an RSA key of at most 4096 bits (core/pta/attestation.c). */
#define MEASURE_MAX (32 + 4096 / 8)

/*
 * Measurement of this enclave, signed with the nonce. *size is MEASURE_MAX going in and the
 * measurement's length coming out.
 */
TEE_Result measure_self(const void *nonce, size_t nonce_size, uint8_t out[MEASURE_MAX],
			size_t *size);

#endif
