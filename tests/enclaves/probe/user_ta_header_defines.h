/* SPDX-License-Identifier: Apache-2.0 */
#ifndef USER_TA_HEADER_DEFINES_H
#define USER_TA_HEADER_DEFINES_H

#include "probe.h"

#define TA_UUID PROBE_UUID

/* Without MULTI_SESSION: whoever comes second is told that it is busy. */
#define TA_FLAGS TA_FLAG_SINGLE_INSTANCE

#define TA_STACK_SIZE (4 * 1024)
#define TA_DATA_SIZE (16 * 1024)

#define TA_VERSION "1.0"
#define TA_DESCRIPTION "TrustBox tests: parameters, panic, a marker"

#endif
