// SPDX-License-Identifier: Apache-2.0
/*
 * Gives the TEE's random generator fresh bytes from the host.
 *
 * An emulated box repeats its randomness: a clone repeats its template's, and even cold boots seed
 * from little more than the time since reset. Command 0 takes one input buffer of N pieces of
 * 32 bytes and passes each as one event to OP-TEE's Fortuna through the system PTA. Fortuna spreads
 * events over 32 pools and reseeds when pool 0 holds 64 bytes (core/crypto/rng_fortuna.c): 33 pieces
 * are the fewest that change what comes out.
 */

#include <pta_system.h>
#include <tee_internal_api.h>
#include <tee_internal_api_extensions.h>
#include <user_ta_header_defines.h>

#define CMD_ADD_ENTROPY	0
#define PIECE		32
#define PIECES_MAX	256

static TEE_Result add_entropy(uint32_t types, TEE_Param params[4])
{
	const TEE_UUID system = PTA_SYSTEM_UUID;
	TEE_TASessionHandle session = TEE_HANDLE_NULL;
	uint32_t expected = TEE_PARAM_TYPES(TEE_PARAM_TYPE_MEMREF_INPUT,
					    TEE_PARAM_TYPE_NONE,
					    TEE_PARAM_TYPE_NONE,
					    TEE_PARAM_TYPE_NONE);
	TEE_Result res = TEE_SUCCESS;
	uint8_t piece[PIECE] = { };
	uint8_t *bytes = NULL;
	size_t size = 0;
	size_t at = 0;

	if (types != expected)
		return TEE_ERROR_BAD_PARAMETERS;
	bytes = params[0].memref.buffer;
	size = params[0].memref.size;
	if (!size || size % PIECE || size / PIECE > PIECES_MAX)
		return TEE_ERROR_BAD_PARAMETERS;

	res = TEE_OpenTASession(&system, TEE_TIMEOUT_INFINITE, 0, NULL,
				&session, NULL);
	if (res)
		return res;
	for (at = 0; at < size && !res; at += PIECE) {
		TEE_Param event[4] = { };

		/* The PTA takes private memory only: the caller could change shared memory. */
		TEE_MemMove(piece, bytes + at, PIECE);
		event[0].memref.buffer = piece;
		event[0].memref.size = PIECE;
		res = TEE_InvokeTACommand(session, TEE_TIMEOUT_INFINITE,
					  PTA_SYSTEM_ADD_RNG_ENTROPY, expected,
					  event, NULL);
	}
	TEE_MemFill(piece, 0, sizeof(piece));
	TEE_CloseTASession(session);
	return res;
}

TEE_Result TA_CreateEntryPoint(void)
{
	return TEE_SUCCESS;
}

void TA_DestroyEntryPoint(void)
{
}

TEE_Result TA_OpenSessionEntryPoint(uint32_t types __unused,
				    TEE_Param params[4] __unused,
				    void **session __unused)
{
	return TEE_SUCCESS;
}

void TA_CloseSessionEntryPoint(void *session __unused)
{
}

TEE_Result TA_InvokeCommandEntryPoint(void *session __unused, uint32_t command,
				      uint32_t types, TEE_Param params[4])
{
	if (command == CMD_ADD_ENTROPY)
		return add_entropy(types, params);
	return TEE_ERROR_NOT_SUPPORTED;
}
