"""What changes of live secure memory need: TEE work, and where an enclave may be changed."""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from elftools.elf.elffile import ELFFile

from harness.deadline import Deadline
from harness.errors import Misuse
from harness.tamper import Tamper
from harness.target import Target
from harness.tee import TeeClient
from provisioning.attestation import PTA, AttestationPta
from provisioning.device_id import PKCS11_TA
from provisioning.enclave_image import payload

PAGE = 4096
_EXECUTABLE = 1
# Two ways to say "w<n> = 0xffff300f" (TEE_ERROR_OVERFLOW), without n: MOVN, and the MOVZ of a pair.
_OVERFLOW = (0x1299FE00, 0x528601E0)
_VALUE_BITS = range(5, 21)


def tamper_of(target: Target) -> Tamper:
    """For tests that need Capability.TAMPER."""
    if target.tamper is None:
        raise Misuse(f"{target.name} promises tampering without a way to do it")
    return target.tamper


@contextmanager
def tee_at_work(target: Target, by: Deadline) -> Iterator[Callable[[], object]]:
    """A function that keeps the TEE busy, for the most part with an RSA signature."""
    with TeeClient.open(target, by=by) as client, client.open_session(PTA, by=by) as session:
        pta = AttestationPta(session)
        key, _ = pta.key(by=by)
        yield lambda: pta.ta_identity(PKCS11_TA, os.urandom(32), key, by=by)


def spare_bits(data: bytes) -> tuple[bytes, list[int]]:
    """A page of the sample enclave's code, and the bits in it that nobody misses: those of the
    value that it returns when its counter overflows."""
    elf = ELFFile(io.BytesIO(payload(data, where="the sample")))
    code = next(s for s in elf.iter_segments("PT_LOAD") if s["p_flags"] & _EXECUTABLE).data()
    at = next(
        at
        for at in range(0, len(code) - 3, 4)
        if struct.unpack_from("<I", code, at)[0] & ~0x1F in _OVERFLOW
    )
    start = at // PAGE * PAGE
    page = code[start : start + PAGE].ljust(PAGE, b"\0")
    return page, [(at - start) * 8 + bit for bit in _VALUE_BITS]
