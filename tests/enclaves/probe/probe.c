// SPDX-License-Identifier: Apache-2.0
/*
 * What the tests need of an enclave and no user does. The marker is what must stay secret in an
 * encrypted enclave: tests put other bytes in its place before they sign.
 */
#include "probe.h"

#include <tee_internal_api.h>
#include <tee_internal_api_extensions.h>

/* Not const and volatile, so that the compiler folds nothing of it into code. */
static volatile uint8_t marker[PROBE_MARKER_SIZE] = "trustbox-probe-marker-goes-here";

TEE_Result TA_CreateEntryPoint(void)
{
	return TEE_SUCCESS;
}

void TA_DestroyEntryPoint(void)
{
}

TEE_Result TA_OpenSessionEntryPoint(uint32_t types, TEE_Param params[TEE_NUM_PARAMS],
				    void **session)
{
	(void)params;
	(void)session;
	return types ? TEE_ERROR_BAD_PARAMETERS : TEE_SUCCESS;
}

void TA_CloseSessionEntryPoint(void *session)
{
	(void)session;
}

static TEE_Result values(uint32_t types, TEE_Param params[TEE_NUM_PARAMS])
{
	if (types != TEE_PARAM_TYPES(TEE_PARAM_TYPE_VALUE_INPUT, TEE_PARAM_TYPE_VALUE_OUTPUT,
				     TEE_PARAM_TYPE_VALUE_INOUT, TEE_PARAM_TYPE_NONE))
		return TEE_ERROR_BAD_PARAMETERS;

	params[1].value.a = params[0].value.b;
	params[1].value.b = params[0].value.a;
	params[2].value.a += params[0].value.a;
	params[2].value.b += params[0].value.b;
	return TEE_SUCCESS;
}

static TEE_Result memrefs(uint32_t types, TEE_Param params[TEE_NUM_PARAMS])
{
	const uint8_t *in = params[0].memref.buffer;
	uint8_t *out = params[1].memref.buffer;
	uint8_t *both = params[2].memref.buffer;
	const size_t count = params[2].memref.size;
	size_t n = 0;

	if (types != TEE_PARAM_TYPES(TEE_PARAM_TYPE_MEMREF_INPUT, TEE_PARAM_TYPE_MEMREF_OUTPUT,
				     TEE_PARAM_TYPE_MEMREF_INOUT, TEE_PARAM_TYPE_NONE))
		return TEE_ERROR_BAD_PARAMETERS;
	if (params[1].memref.size < params[0].memref.size) {
		params[1].memref.size = params[0].memref.size;
		return TEE_ERROR_SHORT_BUFFER;
	}

	params[1].memref.size = params[0].memref.size;
	for (n = 0; n < params[0].memref.size; n++)
		out[n] = ~in[n];
	for (n = 0; n < count / 2; n++) {
		const uint8_t kept = both[n];

		both[n] = both[count - 1 - n];
		both[count - 1 - n] = kept;
	}
	return TEE_SUCCESS;
}

static void copy_marker(uint8_t *to)
{
	size_t n = 0;

	for (n = 0; n < PROBE_MARKER_SIZE; n++)
		to[n] = marker[n];
}

static TEE_Result prove(uint32_t types, TEE_Param params[TEE_NUM_PARAMS])
{
	uint8_t secret[PROBE_MARKER_SIZE] = { };
	uint8_t digest[32] = { };
	size_t size = sizeof(digest);
	TEE_OperationHandle operation = TEE_HANDLE_NULL;
	TEE_Result res = TEE_ERROR_GENERIC;

	if (types != TEE_PARAM_TYPES(TEE_PARAM_TYPE_MEMREF_INPUT, TEE_PARAM_TYPE_MEMREF_OUTPUT,
				     TEE_PARAM_TYPE_NONE, TEE_PARAM_TYPE_NONE))
		return TEE_ERROR_BAD_PARAMETERS;
	if (params[1].memref.size < sizeof(digest)) {
		params[1].memref.size = sizeof(digest);
		return TEE_ERROR_SHORT_BUFFER;
	}

	res = TEE_AllocateOperation(&operation, TEE_ALG_SHA256, TEE_MODE_DIGEST, 0);
	if (res)
		return res;
	copy_marker(secret);
	TEE_DigestUpdate(operation, secret, sizeof(secret));
	res = TEE_DigestDoFinal(operation, params[0].memref.buffer, params[0].memref.size, digest,
				&size);
	TEE_FreeOperation(operation);
	if (res)
		return res;

	TEE_MemMove(params[1].memref.buffer, digest, size);
	params[1].memref.size = size;
	return TEE_SUCCESS;
}

static TEE_Result reveal(uint32_t types, TEE_Param params[TEE_NUM_PARAMS])
{
	if (types != TEE_PARAM_TYPES(TEE_PARAM_TYPE_MEMREF_OUTPUT, TEE_PARAM_TYPE_NONE,
				     TEE_PARAM_TYPE_NONE, TEE_PARAM_TYPE_NONE) ||
	    params[0].memref.size < PROBE_MARKER_SIZE)
		return TEE_ERROR_BAD_PARAMETERS;

	copy_marker(params[0].memref.buffer);
	params[0].memref.size = PROBE_MARKER_SIZE;
	return TEE_SUCCESS;
}

TEE_Result TA_InvokeCommandEntryPoint(void *session, uint32_t command, uint32_t types,
				      TEE_Param params[TEE_NUM_PARAMS])
{
	(void)session;

	switch (command) {
	case PROBE_VALUES:
		return values(types, params);
	case PROBE_MEMREFS:
		return memrefs(types, params);
	case PROBE_PANIC:
		TEE_Panic(PROBE_PANIC_CODE);
		return TEE_ERROR_GENERIC;
	case PROBE_PROVE:
		return prove(types, params);
	case PROBE_REVEAL:
		return reveal(types, params);
	default:
		return TEE_ERROR_NOT_SUPPORTED;
	}
}
