"""OP-TEE's test suite on the disk: xtest's TAs, signed anew with the image's key.

Debian signs them with a default key that no image of ours accepts. They lie apart from the box's
own TAs: a box as delivered does not offer them, and who runs xtest copies them where they load.
"""

from __future__ import annotations

import struct
from pathlib import Path

from emulator.optee_build import sign_ta
from emulator.running import Tools
from harness.errors import BuildFailed

TESTED = "usr/lib/optee_armtz"
APART = "usr/lib/trustbox/xtest"

# core/include/signed_hdr.h: struct shdr, and struct shdr_bootstrap_ta behind hash and signature
_SHDR = struct.Struct("<4sIIIHH")
_MAGIC, _TA, _BOOTSTRAP = b"HSTO", 0, 1
_BOOTSTRAP_SIZE = 16 + 4


def set_apart(root: Path, kit: Path, key: Path, tools: Tools) -> int:
    """Sign the TAs that lie in ``root``'s TA directory and move them apart; how many there were.

    Those that are signed by a subkey stay as they are, and are refused: the chain to that subkey
    is part of what they test. Raises BuildFailed for a file that is no TA.
    """
    place = root / APART
    found = sorted((root / TESTED).glob("*.ta"))
    if found:
        place.mkdir(parents=True)
    for ta in found:
        image = ta.read_bytes()
        body = _body(ta.name, image)
        if body is None:
            ta.rename(place / ta.name)
            continue
        elf = place / f"{ta.stem}.elf"
        elf.write_bytes(body)
        sign_ta(kit, key, ta.stem, elf, place / ta.name, tools)
        elf.unlink()
        ta.unlink()
    return len(found)


def _body(name: str, image: bytes) -> bytes | None:
    """The ELF in a signed image; None for one below a subkey."""
    try:
        magic, kind, size, _, hash_size, signature_size = _SHDR.unpack_from(image)
    except struct.error:
        raise BuildFailed("xtest's TAs", f"{name} is too short for a signed image") from None
    if magic != _MAGIC:
        raise BuildFailed("xtest's TAs", f"{name} is no signed image")
    if kind not in (_TA, _BOOTSTRAP):
        return None
    begin = _SHDR.size + hash_size + signature_size + (_BOOTSTRAP_SIZE if kind else 0)
    body = image[begin:]
    if len(body) != size or not body.startswith(b"\x7fELF"):
        raise BuildFailed("xtest's TAs", f"{name} does not hold the ELF that its header names")
    return body
