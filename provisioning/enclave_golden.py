"""What an enclave's memory must measure, computed from its file before it ever ran.

OP-TEE's HASH_TA_MEMORY hashes the pages of an enclave that nobody may write, the smallest region
first and equal sizes by content (core/pta/attestation.c, hash_regions). For a TA without shared
libraries these are the first page of its ELF file, which the loader leaves mapped, and the loadable
segments without the write flag, unchanged and zero-filled to whole pages (ldelf/ta_elf.c, init_elf
and populate_segments; the code runs at a random address, but its pages hold no address).
"""

from __future__ import annotations

import hashlib
import io

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile

from harness.errors import BadInput
from provisioning.enclave_image import payload

PAGE = 4096
_WRITE = 2  # PF_W


def golden_ta(data: bytes, *, where: str = "enclave") -> bytes:
    """The measurement (SHA-256, 32 bytes) of the plain signed TA ``data`` while it runs.

    Raises BadInput for a damaged or encrypted file and for one that is not an ELF file inside.
    """
    try:
        program = payload(data, where=where)
        elf = ELFFile(io.BytesIO(program))
        regions = [
            _pages(segment.data())
            for segment in elf.iter_segments("PT_LOAD")
            if not segment["p_flags"] & _WRITE
        ]
    except ELFError as error:
        raise BadInput(
            where=where, key="payload", value=str(error), expected="an ELF file"
        ) from error
    measured = hashlib.sha256()
    regions.append(_pages(program[:PAGE]))
    for region in sorted(regions, key=lambda region: (len(region), region)):
        measured.update(region)
    return measured.digest()


def _pages(data: bytes) -> bytes:
    return data.ljust(-(-len(data) // PAGE) * PAGE, b"\0")
