// SPDX-License-Identifier: Apache-2.0
/*
 * The sample enclave: a Trusted Application (TA) for OP-TEE, and the start for your own.
 *
 * How to make it yours
 * --------------------
 * 1. Copy this directory. Put a new UUID (uuidgen) into sample.h and the Makefile.
 * 2. Write your commands: a number and its promise in sample.h, a function here, and a line in
 *    TA_InvokeCommandEntryPoint().
 * 3. Build it: provisioning/enclave_build.py, or make as the Makefile says. The result is one
 *    file, <uuid>.ta, signed with the key whose public half is built into the box's OP-TEE.
 * 4. Load it and talk to it:
 *        box.enclave.install(uuid, data, by=by)
 *        with box.enclave.open(uuid, by=by) as session:
 *            session.invoke(0, Memref(b"hello", Direction.IN), Memref(64, Direction.OUT), by=by)
 *
 * What to keep in mind
 * --------------------
 * - The client is the normal world: take nothing that it says for granted. The parameter *types*
 *   come from it, too, so every command checks them first. A value taken for a pointer is the
 *   classic hole of Trusted Applications.
 * - The sizes in memrefs are yours, but the bytes they point to lie in memory that the client can
 *   change while you look. What is checked must be copied first; echo() checks nothing, so it
 *   copies once, straight to the output.
 * - What must survive goes through the TEE's storage (counter.c). Global variables live as long as
 *   the instance: until the last session closes (user_ta_header_defines.h).
 * - Return errors, do not panic: a panic ends the instance and every client's session with it.
 */
#include "sample.h"

#include "counter.h"
#include "measure.h"

#include <tee_internal_api.h>
#include <tee_internal_api_extensions.h>

/* memref[0] in, memref[1] out: what echo and measure-self take. */
#define IN_OUT                                                                          \
	TEE_PARAM_TYPES(TEE_PARAM_TYPE_MEMREF_INPUT, TEE_PARAM_TYPE_MEMREF_OUTPUT,      \
			TEE_PARAM_TYPE_NONE, TEE_PARAM_TYPE_NONE)

/* value[0] out: what the counter's commands take. */
#define VALUE_OUT                                                                       \
	TEE_PARAM_TYPES(TEE_PARAM_TYPE_VALUE_OUTPUT, TEE_PARAM_TYPE_NONE,               \
			TEE_PARAM_TYPE_NONE, TEE_PARAM_TYPE_NONE)

/* Called when the instance is made and when it ends. */
TEE_Result TA_CreateEntryPoint(void)
{
	return TEE_SUCCESS;
}

void TA_DestroyEntryPoint(void)
{
}

/* Called for each session. Here is where you would look at who opens it (gpd.client.identity). */
TEE_Result TA_OpenSessionEntryPoint(uint32_t types, TEE_Param params[TEE_NUM_PARAMS],
				    void **session)
{
	(void)params;
	(void)session;

	if (types != TEE_PARAM_TYPES(0, 0, 0, 0))
		return TEE_ERROR_BAD_PARAMETERS;
	return TEE_SUCCESS;
}

void TA_CloseSessionEntryPoint(void *session)
{
	(void)session;
}

/*
 * Copies size bytes to the client, or tells it how many there would be. Either way the memref's
 * size says so: that is what every output memref in GlobalPlatform's interfaces does.
 */
static TEE_Result give(TEE_Param *out, const void *data, size_t size)
{
	const size_t room = out->memref.size;

	out->memref.size = size;
	if (size > room)
		return TEE_ERROR_SHORT_BUFFER;
	if (size)
		TEE_MemMove(out->memref.buffer, data, size);
	return TEE_SUCCESS;
}

static TEE_Result echo(uint32_t types, TEE_Param params[TEE_NUM_PARAMS])
{
	if (types != IN_OUT)
		return TEE_ERROR_BAD_PARAMETERS;
	return give(&params[1], params[0].memref.buffer, params[0].memref.size);
}

static TEE_Result counter(uint32_t types, TEE_Param params[TEE_NUM_PARAMS],
			  TEE_Result (*operation)(uint64_t *))
{
	uint64_t value = 0;
	TEE_Result res = TEE_ERROR_GENERIC;

	if (types != VALUE_OUT)
		return TEE_ERROR_BAD_PARAMETERS;

	res = operation(&value);
	if (res)
		return res;

	params[0].value.a = (uint32_t)value;
	params[0].value.b = (uint32_t)(value >> 32);
	return TEE_SUCCESS;
}

static TEE_Result measure(uint32_t types, TEE_Param params[TEE_NUM_PARAMS])
{
	uint8_t nonce[SAMPLE_NONCE_MAX] = { };
	uint8_t measurement[MEASURE_MAX] = { };
	size_t size = sizeof(measurement);
	TEE_Result res = TEE_ERROR_GENERIC;

	if (types != IN_OUT)
		return TEE_ERROR_BAD_PARAMETERS;
	if (!params[0].memref.size || params[0].memref.size > sizeof(nonce))
		return TEE_ERROR_BAD_PARAMETERS;

	/* Copied first: the bytes that are signed must not change on the way to the signature. */
	TEE_MemMove(nonce, params[0].memref.buffer, params[0].memref.size);
	res = measure_self(nonce, params[0].memref.size, measurement, &size);
	if (res)
		return res;
	return give(&params[1], measurement, size);
}

TEE_Result TA_InvokeCommandEntryPoint(void *session, uint32_t command, uint32_t types,
				      TEE_Param params[TEE_NUM_PARAMS])
{
	(void)session;

	switch (command) {
	case SAMPLE_ECHO:
		return echo(types, params);
	case SAMPLE_COUNTER_INCREMENT:
		return counter(types, params, counter_increment);
	case SAMPLE_COUNTER_READ:
		return counter(types, params, counter_read);
	case SAMPLE_MEASURE_SELF:
		return measure(types, params);
	default:
		/* Not BAD_PARAMETERS: a client must be able to tell an older enclave by this. */
		return TEE_ERROR_NOT_SUPPORTED;
	}
}
