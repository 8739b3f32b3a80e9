/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The enclave's properties. The dev kit's user_ta_header.c includes this file, by this name, and
 * builds the header from it that OP-TEE reads when it loads the enclave.
 */
#ifndef USER_TA_HEADER_DEFINES_H
#define USER_TA_HEADER_DEFINES_H

#include "sample.h"

#define TA_UUID SAMPLE_UUID

/*
 * SINGLE_INSTANCE: all sessions share one instance, and OP-TEE lets in one call at a time, so the
 * counter needs no lock. MULTI_SESSION: several clients may hold a session.
 * Without INSTANCE_KEEP_ALIVE the instance ends with its last session, so the next session loads
 * the file that is installed then. With it, the old code would run until the next boot.
 */
#define TA_FLAGS (TA_FLAG_SINGLE_INSTANCE | TA_FLAG_MULTI_SESSION)

#define TA_STACK_SIZE (4 * 1024)
#define TA_DATA_SIZE (16 * 1024)

#define TA_VERSION "1.0"
#define TA_DESCRIPTION "TrustBox sample enclave: echo, sealed counter, self-measurement"

#endif
