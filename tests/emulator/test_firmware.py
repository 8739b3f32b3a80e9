"""Trusted board boot: a box whose firmware was changed stops, and says where."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest
from asn1crypto import core, x509
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, PSS
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from emulator.box_store import Box, open_box
from emulator.build import ensure_image
from emulator.opening import hold_box
from emulator.profiles import CURRENT
from harness.capability import Capability
from harness.deadline import Deadline
from harness.errors import BoxDied
from harness.holding import Holding
from harness.target import EvidenceLevel, Target, World
from provisioning.observed import Observed
from provisioning.policy import Check, Policy
from provisioning.verdict import Finding, Outcome, verify

FIP_AT = 0x40000
FIP_MAGIC = 0xAA640001
TRUSTED_COUNTER = "1.3.6.1.4.1.4128.2100.1"
"""TF-A include/tools_share/tbbr_oid.h, TRUSTED_FW_NVCOUNTER_OID."""
# TF-A include/tools_share/firmware_image_package.h.
BL2 = UUID("5ff9ec0b-4d22-3e4d-a544-c39d81c73f0a")
BL31 = UUID("47d4086d-4cfe-9846-9b95-2950cbbd5a00")
OP_TEE_PAGER = UUID("0b70c29b-2a5a-7840-9f65-0a5682738288")
U_BOOT = UUID("d6d0eea7-fcea-d54b-9782-9934f234b6e4")
BL2_CERTIFICATE = UUID("d6e269ea-5d63-e411-8d8c-9fbabe9956a5")
U_BOOT_CERTIFICATE = UUID("8ec4c1f3-5d63-e411-a7a9-87ee40b23fa7")

pytestmark = [pytest.mark.timeout(120), pytest.mark.integrity]


def entries(flash: bytes) -> Iterator[tuple[UUID, int, int]]:
    """UUID, offset in the flash and size of each image in the FIP."""
    magic, _, _ = struct.unpack_from("<IIQ", flash, FIP_AT)
    assert magic == FIP_MAGIC
    at = FIP_AT + 16
    while any(flash[at : at + 16]):
        uuid = UUID(bytes=flash[at : at + 16])
        offset, size, _ = struct.unpack_from("<QQQ", flash, at + 16)
        yield uuid, FIP_AT + offset, size
        at += 40


@pytest.fixture
def own_box(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Box:
    """A box of this test alone, whose files may be spoilt."""
    image = ensure_image(CURRENT.name, archive=None, progress=print)
    monkeypatch.setenv("TRUSTBOX_CACHE", str(tmp_path))
    return open_box("TB-TAMPERED", image, by=Deadline.after(30))


@pytest.fixture
def held(own_box: Box) -> Iterator[Holding]:
    holding = hold_box(own_box, name="tampered")
    yield holding
    holding.rig.close()


def flip(path: Path, at: int) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 0x01]))


def test_the_untouched_firmware_boots(held: Holding) -> None:
    held.rig.on(by=Deadline.after(60))

    assert b"OP-TEE version" in held.consoles[World.SECURE].transcript()


@pytest.mark.case("N-43", expect="boot-state fails, whatever checks the byte at boot")
@pytest.mark.parametrize("at", [0x100, FIP_AT + 0x40000], ids=["BL1", "FIP"])
def test_a_flipped_byte_of_the_firmware_is_named_by_the_next_look(
    own_box: Box, held: Holding, at: int
) -> None:
    """BL1 too, which nothing checks at boot."""
    assert boot_state(held).outcome is Outcome.PASS

    flip(own_box.flash, at)

    assert boot_state(held).outcome is Outcome.FAIL
    assert "the flash is not the one that was built" in boot_state(held).why


def boot_state(held: Holding) -> Finding:
    assert held.boot_seen is not None
    policy = Policy(bytes(32), None, EvidenceLevel.FUNCTIONAL)
    return verify(None, policy, Observed(boot=held.boot_seen()))[Check.BOOT_STATE]


@pytest.mark.case("N-43", expect="no boot past BL1 or BL2, and the line that says so")
@pytest.mark.parametrize(
    ("image", "says"),
    [
        pytest.param(OP_TEE_PAGER, r"BL2: Failed to load image id \d+ \(-80\)", id="BL32"),
        pytest.param(
            BL2,
            r"BL1: Failed to load|Failed to load BL2 firmware",
            id="BL2",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            BL31, r"BL2: Failed to load image id \d+ \(-80\)", id="BL31", marks=pytest.mark.slow
        ),
        pytest.param(
            U_BOOT, r"BL2: Failed to load image id \d+ \(-80\)", id="BL33", marks=pytest.mark.slow
        ),
        pytest.param(
            U_BOOT_CERTIFICATE,
            r"BL2: Failed to load image id \d+ \(-\d+\)",
            id="certificate",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_a_flipped_byte_of_the_firmware_stops_the_boot_and_who_checks_it_says_so(
    own_box: Box, held: Holding, image: UUID, says: str
) -> None:
    places = {uuid: (offset, size) for uuid, offset, size in entries(own_box.flash.read_bytes())}
    offset, size = places[image]
    flip(own_box.flash, offset + size // 2)

    with pytest.raises(BoxDied, match=r"ERROR: +(?:" + says + ")"):
        held.rig.on(by=Deadline.after(60))

    assert held.consoles[World.SECURE].transcript() == b""
    assert b"U-Boot 20" not in held.consoles[World.NORMAL].transcript()


def signed_anew(flash: bytes, key: RSAPrivateKey, *, raised: int) -> bytes:
    """The flash with BL2's certificate signed again by the root of trust, and its firmware counter
    raised by so much. Nothing else changes, no length either."""
    offset, size = next(
        (offset, size) for uuid, offset, size in entries(flash) if uuid == BL2_CERTIFICATE
    )
    found = x509.Certificate.load(flash[offset : offset + size])
    body = found["tbs_certificate"]
    counter = next(e for e in body["extensions"] if e["extn_id"].native == TRUSTED_COUNTER)
    count = core.Integer.load(counter["extn_value"].contents).native + raised
    counter["extn_value"] = core.ParsableOctetString(core.Integer(count).dump())
    padding = PSS(mgf=MGF1(SHA256()), salt_length=32)
    found["signature_value"] = key.sign(body.dump(force=True), padding, SHA256())
    certificate = bytes(found.dump(force=True))
    assert len(certificate) == size
    return flash[:offset] + certificate + flash[offset + size :]


@pytest.fixture
def root_of_trust(own_box: Box) -> RSAPrivateKey:
    key = load_pem_private_key((own_box.image.directory / "rot_key.pem").read_bytes(), None)
    assert isinstance(key, RSAPrivateKey)
    return key


@pytest.fixture
def newer_ran(own_box: Box, held: Holding, root_of_trust: RSAPrivateKey) -> None:
    """The box has run firmware that was signed later; its own is in the flash again.

    The later one counts no higher, because QEMU's counter cannot: see below.
    """
    older = own_box.flash.read_bytes()
    own_box.flash.write_bytes(signed_anew(older, root_of_trust, raised=0))
    held.rig.on(by=Deadline.after(60))
    held.rig.off()
    own_box.flash.write_bytes(older)


@pytest.mark.slow
def test_firmware_that_was_signed_later_boots(newer_ran: None, held: Holding) -> None:
    assert b"OP-TEE version" in held.consoles[World.SECURE].transcript()


@pytest.mark.slow
@pytest.mark.case("N-44", expect="BL1 refuses what it cannot count")
def test_firmware_that_counts_higher_stops_the_boot_as_the_count_cannot_be_kept(
    own_box: Box, held: Holding, root_of_trust: RSAPrivateKey
) -> None:
    own_box.flash.write_bytes(signed_anew(own_box.flash.read_bytes(), root_of_trust, raised=1))

    with pytest.raises(BoxDied, match=r"ERROR: +.*(?:BL1|BL2)"):
        held.rig.on(by=Deadline.after(60))


@pytest.mark.slow
@pytest.mark.case("N-44", expect="no boot")
@pytest.mark.weakness(
    "QEMU's non-volatile counter is a stub: TF-A plat/qemu/common/qemu_trusted_boot.c",
    lacks=Capability.FIRMWARE_ROLLBACK_PROTECTED,
)
def test_older_firmware_than_the_newest_that_ran_does_not_boot(
    target: Target, newer_ran: None, held: Holding
) -> None:
    with pytest.raises(BoxDied):
        held.rig.on(by=Deadline.after(60))
