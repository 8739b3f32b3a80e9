// SPDX-License-Identifier: Apache-2.0
/*
 * The hardware unique key of an emulated TrustBox.
 *
 * A real box reads its key from the SoC's security engine. Here each box has its own 16 bytes in
 * the secure boot flash (QEMU's first flash is mapped for the secure world only with
 * "-machine virt,secure=on"), in the page between the end of BL1 and the FIP at 256 KiB.
 * Overrides the weak function of core/kernel/otp_stubs.c, whose key is all zeroes.
 */

#include <io.h>
#include <kernel/tee_common_otp.h>
#include <mm/core_memprot.h>
#include <mm/core_mmu.h>
#include <tee_api_types.h>

#define TRUSTBOX_HUK_PAGE	0x0003f000

register_phys_mem(MEM_AREA_IO_SEC, TRUSTBOX_HUK_PAGE, SMALL_PAGE_SIZE);

TEE_Result tee_otp_get_hw_unique_key(struct tee_hw_unique_key *hwkey)
{
	vaddr_t flash = (vaddr_t)phys_to_virt(TRUSTBOX_HUK_PAGE,
					      MEM_AREA_IO_SEC,
					      sizeof(hwkey->data));
	size_t n = 0;

	if (!flash)
		return TEE_ERROR_GENERIC;
	for (n = 0; n < sizeof(hwkey->data); n++)
		hwkey->data[n] = io_read8(flash + n);
	return TEE_SUCCESS;
}
