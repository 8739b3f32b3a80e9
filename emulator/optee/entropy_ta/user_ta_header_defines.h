/* SPDX-License-Identifier: Apache-2.0 */
#ifndef USER_TA_HEADER_DEFINES_H
#define USER_TA_HEADER_DEFINES_H

/* b1c7a2f4-5d0e-4c6b-9a3e-7f2d8e1c4b60 */
#define TA_UUID \
	{ 0xb1c7a2f4, 0x5d0e, 0x4c6b, \
		{ 0x9a, 0x3e, 0x7f, 0x2d, 0x8e, 0x1c, 0x4b, 0x60 } }

#define TA_FLAGS	0
#define TA_STACK_SIZE	(4 * 1024)
#define TA_DATA_SIZE	(8 * 1024)
#define TA_DESCRIPTION	"TrustBox emulator: fresh entropy for a restored or cold-booted TEE"

#endif
