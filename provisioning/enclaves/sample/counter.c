// SPDX-License-Identifier: Apache-2.0
/*
 * A counter sealed in the TEE's private storage: encrypted and authenticated under a key that is
 * derived from this box's hardware unique key and this enclave's UUID. The files lie on the normal
 * world's disk, where they can be deleted or damaged, but not read or made up.
 *
 * What it is not: without RPMB, somebody who can write the normal world's disk can put back an
 * older state of the whole storage, and the counter with it. Do not build a limit on it alone.
 */
#include "counter.h"

#include <tee_internal_api.h>

static const char object_id[] = "counter";

TEE_Result counter_read(uint64_t *value)
{
	TEE_ObjectHandle object = TEE_HANDLE_NULL;
	uint64_t stored = 0;
	size_t count = 0;
	TEE_Result res = TEE_ERROR_GENERIC;

	res = TEE_OpenPersistentObject(TEE_STORAGE_PRIVATE, object_id, sizeof(object_id) - 1,
				       TEE_DATA_FLAG_ACCESS_READ, &object);
	if (res == TEE_ERROR_ITEM_NOT_FOUND) {
		*value = 0;
		return TEE_SUCCESS;
	}
	/* TEE_ERROR_CORRUPT_OBJECT is passed on: a damaged counter must not look like a new one. */
	if (res)
		return res;

	res = TEE_ReadObjectData(object, &stored, sizeof(stored), &count);
	TEE_CloseObject(object);
	if (res)
		return res;
	if (count != sizeof(stored))
		return TEE_ERROR_CORRUPT_OBJECT;

	*value = stored;
	return TEE_SUCCESS;
}

TEE_Result counter_increment(uint64_t *value)
{
	TEE_ObjectHandle object = TEE_HANDLE_NULL;
	uint64_t next = 0;
	TEE_Result res = counter_read(&next);

	if (res)
		return res;
	if (next == UINT64_MAX)
		return TEE_ERROR_OVERFLOW;
	next++;

	/*
	 * Replaces the object as a whole, content included, in one step: that is atomic (GlobalPlatform
	 * TEE Internal Core API 1.3, 5.7.2). Opening it and writing into it would be two steps.
	 */
	res = TEE_CreatePersistentObject(TEE_STORAGE_PRIVATE, object_id, sizeof(object_id) - 1,
					 TEE_DATA_FLAG_ACCESS_WRITE | TEE_DATA_FLAG_OVERWRITE,
					 TEE_HANDLE_NULL, &next, sizeof(next), &object);
	if (res)
		return res;

	TEE_CloseObject(object);
	*value = next;
	return TEE_SUCCESS;
}
