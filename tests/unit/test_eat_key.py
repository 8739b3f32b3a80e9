"""A station has one key for its tokens, whoever asks first, and its public half beside it."""

from __future__ import annotations

import multiprocessing
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from harness.errors import BadInput
from provisioning.eat_key import signer_key, signing_key

RAW = (Encoding.Raw, PublicFormat.Raw)


def public(place: Path) -> Path:
    return place.with_name(place.name + ".pub")


def test_two_that_ask_first_at_once_get_one_key(tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    barrier, answers = spawn.Barrier(3), spawn.SimpleQueue()
    place = tmp_path / "keys" / "eat-key.pem"
    askers = [spawn.Process(target=_ask, args=(place, barrier, answers)) for _ in range(3)]
    for asker in askers:
        asker.start()
    for asker in askers:
        asker.join(60)

    got = {answers.get() for _ in askers}
    assert len(got) == 1
    assert got == {signer_key(public(place)).public_bytes(*RAW)}
    assert place.stat().st_mode & 0o777 == 0o600


def _ask(place: Path, barrier: Barrier, answers: multiprocessing.SimpleQueue[bytes]) -> None:
    barrier.wait(60)
    answers.put(signing_key(place).public_key().public_bytes(*RAW))


@pytest.mark.parametrize("there", ["nothing", "another key's", "noise"])
def test_the_public_half_is_always_that_of_the_key(tmp_path: Path, there: str) -> None:
    key, other = signing_key(tmp_path / "a.pem"), tmp_path / "b.pem"
    signing_key(other)
    if there == "nothing":
        public(tmp_path / "a.pem").unlink()
    else:
        text = public(other).read_bytes() if there == "another key's" else b"\xff" * 100
        public(tmp_path / "a.pem").write_bytes(text)

    again = signing_key(tmp_path / "a.pem")

    assert again.private_bytes_raw() == key.private_bytes_raw()
    found = signer_key(public(tmp_path / "a.pem"))
    assert found.public_bytes(*RAW) == key.public_key().public_bytes(*RAW)


def test_what_is_no_key_is_refused_and_not_made_anew(tmp_path: Path) -> None:
    place = tmp_path / "eat-key.pem"
    place.touch(mode=0o600)

    with pytest.raises(BadInput, match="an Ed25519 private key"):
        signing_key(place)

    assert place.read_bytes() == b""
