"""Trusted board boot: a box whose firmware was changed stops, and says where."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest

from emulator.box_store import Box, open_box
from emulator.build import ensure_image
from emulator.opening import hold_box
from emulator.profiles import CURRENT
from harness.deadline import Deadline
from harness.errors import BoxDied
from harness.holding import Holding
from harness.target import World

FIP_AT = 0x40000
FIP_MAGIC = 0xAA640001
OP_TEE_PAGER = UUID("0b70c29b-2a5a-7840-9f65-0a5682738288")
"""TF-A include/tools_share/firmware_image_package.h, UUID_SECURE_PAYLOAD_BL32_EXTRA1."""

pytestmark = pytest.mark.timeout(120)


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


def test_a_flipped_byte_in_op_tee_stops_the_boot_and_bl2_says_so(
    own_box: Box, held: Holding
) -> None:
    places = {uuid: (offset, size) for uuid, offset, size in entries(own_box.flash.read_bytes())}
    offset, size = places[OP_TEE_PAGER]
    flip(own_box.flash, offset + size // 2)

    with pytest.raises(BoxDied, match=r"ERROR: +BL2: Failed to load image id \d+ \(-\d+\)"):
        held.rig.on(by=Deadline.after(60))

    assert held.consoles[World.SECURE].transcript() == b""
