"""A confidential application: in clear inside the TEE, and nowhere else on the box.

The probe enclave carries 32 bytes drawn for each test. All of the normal world's memory and all of
the box's disk are searched for them; the same search does find them in an enclave that was only
signed, so it can find.
"""

from __future__ import annotations

import hashlib
import mmap
import secrets
import subprocess
from pathlib import Path

import pytest

from emulator.rig import EmulatorRig
from harness.capability import Capability
from harness.deadline import Deadline
from provisioning.enclave_image import payload
from provisioning.enclave_make import Sealing, signed_ta
from provisioning.trustbox import TrustBox
from tests.device.enclaves import MARKER, PROBE, box_signer, build_probe, prove

pytestmark = [pytest.mark.enclave, pytest.mark.needs(Capability.TA_ENCRYPTION)]

RAM = 0x4000_0000
"""Where QEMU's virt machine has its RAM. The secure world's own is elsewhere (0x0e000000)."""
PART = 128 << 20


def with_marker(box: TrustBox, marker: bytes, *, sealed: bool, by: Deadline) -> bytes:
    """The probe with these bytes in its place for them, signed, and encrypted for this box."""
    elf = payload(build_probe(box.target))
    assert elf.count(MARKER) == 1
    key = box.target.firmware.ta_encryption_key
    assert key is not None
    return signed_ta(
        elf.replace(MARKER, marker),
        uuid=PROBE,
        signer=box_signer(box.target),
        sealing=Sealing(key) if sealed else None,
        by=by,
    )


def holds(data: bytes | mmap.mmap, marker: bytes) -> bool:
    """Either half: a page's or a block's end may lie between them."""
    return data.find(marker[:16]) >= 0 or data.find(marker[16:]) >= 0


def in_memory(rig: EmulatorRig, marker: bytes, scratch: Path, by: Deadline) -> bool:
    """Whether the normal world's RAM, all of it, holds the marker. The machine stands meanwhile."""
    (size,) = (m["base-memory"] for m in [rig.monitor.execute("query-memory-size-summary", by=by)])
    rig.monitor.execute("stop", by=by)
    try:
        return any(_part_holds(rig, at, size, marker, scratch, by) for at in range(0, size, PART))
    finally:
        rig.monitor.execute("cont", by=by)


def _part_holds(
    rig: EmulatorRig, at: int, size: int, marker: bytes, scratch: Path, by: Deadline
) -> bool:
    part, length = scratch / "ram.part", min(PART + len(marker), size - at)
    rig.monitor.execute("pmemsave", by=by, val=RAM + at, size=length, filename=str(part))
    try:
        with part.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as seen:
            assert len(seen) == length
            return holds(seen, marker)
    finally:
        part.unlink()


def on_disk(rig: EmulatorRig, marker: bytes, scratch: Path) -> bool:
    """Whether the disk of the box, which is off, holds the marker in any block."""
    (disk,) = rig.directory.glob("disk*.qcow2")
    raw = scratch / "disk.raw"
    argv = ["qemu-img", "convert", "-O", "raw", str(disk), str(raw)]
    subprocess.run(argv, check=True, timeout=60)
    with raw.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as seen:
        return holds(seen, marker)


@pytest.mark.parametrize(
    ("sealed", "found"), [(True, False), (False, True)], ids=["encrypted", "signed only"]
)
def test_the_secret_of_an_encrypted_enclave_is_in_the_tee_alone(
    box: TrustBox, rig: EmulatorRig, tmp_path: Path, by: Deadline, sealed: bool, found: bool
) -> None:
    """A signed-only one's is found: on the wire, in memory and on disk."""
    marker, nonce = secrets.token_bytes(32), secrets.token_bytes(16)
    enclave = with_marker(box, marker, sealed=sealed, by=by)
    box.enclave.install(PROBE, enclave, by=by)
    with box.enclave.open(PROBE, by=by) as session:
        # Not the marker itself: the answer lies in memory that the normal world sees.
        proof = prove(session, nonce, by)
        memory = in_memory(rig, marker, tmp_path, by)
    box.target.shell.run("sync", by=by)
    rig.off()

    assert proof == hashlib.sha256(marker + nonce).digest()
    wire, disk = holds(enclave, marker), on_disk(rig, marker, tmp_path)
    assert (wire, memory, disk) == (found, found, found)
