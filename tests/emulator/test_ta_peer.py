"""Files made by ``trustbox ta`` and by OP-TEE's own sign_encrypt.py are each other's, to the bit.

What is random differs: the salt of a PSS signature and the IV. Everything else is compared.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from uuid import UUID

import pytest

from harness.deadline import Deadline
from harness.targets import firmware_of
from provisioning.enclave_format import HASH_SIZE, SHDR
from provisioning.enclave_make import child_uuid
from tests.unit.ta_parts import ELF, ENCLAVE, key_file, public_file, secret_file, ta

pytestmark = pytest.mark.enclave

SPACE = "f1a4a2d8-2b0e-4f0c-9d3a-0b8f1f3c7a55"
SECRET = bytes(range(32))
PKCS1 = "TEE_ALG_RSASSA_PKCS1_V1_5_SHA256"


@pytest.fixture(scope="module")
def script() -> Path:
    """OP-TEE's, as the image's dev kit has it."""
    devkit = firmware_of(by=Deadline.after(1800)).devkit
    assert devkit is not None
    return devkit / "scripts" / "sign_encrypt.py"


class Peer:
    """The two tools on the same input files."""

    def __init__(self, script: Path, place: Path) -> None:
        self.script, self.place = script, place
        self.elf = place / "some.elf"
        self.elf.write_bytes(ELF)
        self.key, self.secret = key_file(place, "box", 3072), secret_file(place, SECRET)
        self.ours, self.theirs = place / "ours.ta", place / "theirs.ta"

    def ask(self, command: str, *words: str | Path) -> int:
        argv = [sys.executable, str(self.script), command, *map(str, words)]
        return subprocess.run(argv, check=False, capture_output=True, timeout=60).returncode

    def sign(self, *words: str | Path, uuid: str = str(ENCLAVE), key: Path | None = None) -> bytes:
        options = ("--uuid", uuid, "--key", key or self.key, "--in", self.elf)
        assert self.ask("sign-enc", *options, "--out", self.theirs, *words) == 0
        return self.theirs.read_bytes()

    def accepts(self, file: Path, *words: str | Path, uuid: str = str(ENCLAVE)) -> bool:
        key = public_file(self.place, "box", 3072)
        return self.ask("verify", "--uuid", uuid, "--key", key, "--in", file, *words) == 0


@pytest.fixture
def peer(script: Path, tmp_path: Path) -> Peer:
    return Peer(script, tmp_path)


def without_signature(data: bytes, bits: int = 3072) -> bytes:
    at = SHDR.size + HASH_SIZE
    return data[:at] + data[at + bits // 8 :]


def test_a_signed_ta_is_equal_to_the_bit_with_pkcs1(peer: Peer) -> None:
    theirs = peer.sign("--ta-version", "5", "--algo", PKCS1)
    words = ("--ta-version", "5", "--algorithm", "pkcs1", "-o", peer.ours)
    assert ta("sign", peer.elf, "--uuid", str(ENCLAVE), "--key", peer.key, *words).status == 0

    assert peer.ours.read_bytes() == theirs


def test_a_signed_ta_is_equal_but_for_its_salted_signature_and_each_verifies_the_other_s(
    peer: Peer,
) -> None:
    theirs = peer.sign("--ta-version", "5")
    words = ("--ta-version", "5", "-o", peer.ours)
    assert ta("sign", peer.elf, "--uuid", str(ENCLAVE), "--key", peer.key, *words).status == 0

    assert without_signature(peer.ours.read_bytes()) == without_signature(theirs)
    assert peer.accepts(peer.ours)
    assert ta("verify", peer.theirs, "--key", peer.key).status == 0


@pytest.mark.parametrize("kind", ["device", "class"])
def test_each_decrypts_and_verifies_the_other_s_encrypted_ta(peer: Peer, kind: str) -> None:
    wide = kind == "class"
    how = "SHDR_ENC_KEY_CLASS_WIDE" if wide else "SHDR_ENC_KEY_DEV_SPECIFIC"
    theirs = peer.sign("--enc-key", SECRET.hex(), "--enc-key-type", how)
    clear = peer.place / "clear.ta"
    assert ta("sign", peer.elf, "--uuid", str(ENCLAVE), "--key", peer.key, "-o", clear).status == 0
    words = ["--class-wide"] if wide else []
    words += ["--encryption-key", str(peer.secret), "-o", str(peer.ours)]
    assert ta("encrypt", clear, "--key", peer.key, *words).status == 0
    ours = peer.ours.read_bytes()

    # All that is neither drawn at random nor follows from it: shdr, UUID, version, sizes, flags.
    assert ours[: SHDR.size] == theirs[: SHDR.size]
    at = SHDR.size + HASH_SIZE + 384
    assert ours[at : at + 32] == theirs[at : at + 32]
    assert len(ours) == len(theirs)
    assert peer.accepts(peer.ours, "--enc-key", SECRET.hex())
    assert not peer.accepts(peer.ours, "--enc-key", bytes(32).hex())
    check = ("--key", peer.key, "--encryption-key", peer.secret)
    assert ta("verify", peer.theirs, *check).status == 0


def test_a_chain_of_subkeys_is_equal_to_the_bit_with_pkcs1(peer: Peer) -> None:
    vendor, public = key_file(peer.place, "vendor"), public_file(peer.place, "vendor")
    ours, theirs = peer.place / "ours.bin", peer.place / "theirs.bin"
    words = ("--uuid", SPACE, "--key", peer.key, "--name-size", "16", "--max-depth", "1")
    assert (
        ta(
            "subkey", public, *words, "--subkey-version", "2", "--algorithm", "pkcs1", "-o", ours
        ).status
        == 0
    )
    more = ("--subkey-version", "2", "--algo", PKCS1, "--in", public, "--out", theirs)
    assert peer.ask("sign-subkey", *words, *more) == 0
    assert ours.read_bytes() == theirs.read_bytes()

    uuid = str(child_uuid(UUID(SPACE), "app"))
    made = peer.sign("--subkey", theirs, "--name", "app", "--algo", PKCS1, uuid=uuid, key=vendor)
    signing = ("--uuid", uuid, "--key", vendor, "--subkey", ours, "--name", "app")
    assert ta("sign", peer.elf, *signing, "--algorithm", "pkcs1", "-o", peer.ours).status == 0

    assert peer.ours.read_bytes() == made
    assert peer.accepts(peer.ours, uuid=uuid)


def test_a_ta_that_one_refuses_the_other_refuses(peer: Peer) -> None:
    spoilt = bytearray(peer.sign())
    spoilt[-1] ^= 1
    peer.ours.write_bytes(spoilt)

    assert not peer.accepts(peer.ours)
    assert ta("verify", peer.ours, "--key", peer.key).status == 7
