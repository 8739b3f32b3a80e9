// SPDX-License-Identifier: Apache-2.0
/*
 * Asks OP-TEE's attestation PTA to measure this enclave. The PTA hashes the caller's read-only
 * pages (code and constants) itself, so a client cannot ask for another enclave's measurement.
 */
#include "measure.h"

#include <pta_attestation.h>
#include <tee_internal_api.h>

TEE_Result measure_self(const void *nonce, size_t nonce_size, uint8_t out[MEASURE_MAX],
			size_t *size)
{
	static const TEE_UUID uuid = PTA_ATTESTATION_UUID;
	TEE_TASessionHandle session = TEE_HANDLE_NULL;
	TEE_Param params[TEE_NUM_PARAMS] = { };
	uint32_t origin = 0;
	TEE_Result res = TEE_ERROR_GENERIC;

	res = TEE_OpenTASession(&uuid, TEE_TIMEOUT_INFINITE, TEE_PARAM_TYPES(0, 0, 0, 0), params,
				&session, &origin);
	if (res)
		return res;

	params[0].memref.buffer = (void *)nonce;
	params[0].memref.size = nonce_size;
	params[1].memref.buffer = out;
	params[1].memref.size = *size;
	res = TEE_InvokeTACommand(session, TEE_TIMEOUT_INFINITE, PTA_ATTESTATION_HASH_TA_MEMORY,
				  TEE_PARAM_TYPES(TEE_PARAM_TYPE_MEMREF_INPUT,
						  TEE_PARAM_TYPE_MEMREF_OUTPUT,
						  TEE_PARAM_TYPE_NONE, TEE_PARAM_TYPE_NONE),
				  params, &origin);
	*size = params[1].memref.size;

	TEE_CloseTASession(session);
	return res;
}
