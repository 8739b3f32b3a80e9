"""``trustbox appraise`` judges what was taken elsewhere; its exit status says what it found."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from provisioning.cli.app import build
from provisioning.cli.ending import ended
from tests.unit import attested
from tests.unit.test_eat import station, token

pytestmark = pytest.mark.integrity


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """A directory with a token, its signer's key, a policy, and evidence as JSON."""
    spki = station(0).public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "station.pub").write_bytes(spki)
    (tmp_path / "token.cwt").write_bytes(token(0))
    (tmp_path / "policy.toml").write_text(
        f'golden = "{attested.TEE_MEMORY.hex()}"\nrequire = ["huk", "key", "storage"]\n'
    )
    evidence = {"evidence": attested.evidence().to_dict(), "observed": None}
    (tmp_path / "evidence.json").write_text(json.dumps(evidence))
    pin = attested.evidence().to_dict()
    (tmp_path / "pin.json").write_text(json.dumps(pin))
    return tmp_path


def status(
    kept: Path, file: str, *more: str, nonce: bytes = attested.NONCE, pin: bool = True
) -> int:
    words = ["appraise", str(kept / file), "--nonce", nonce.hex(), "--level", "functional"]
    words += ["--policy", str(kept / "policy.toml")]
    words += ["--pin", str(kept / "pin.json")] if pin else []

    def run() -> int:
        answer = build()([*words, *more], standalone_mode=False, prog_name="trustbox")
        return answer if isinstance(answer, int) else 0

    return ended(run, as_json=False)


def test_a_good_token_is_good(kept: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert status(kept, "token.cwt", "--signer", str(kept / "station.pub")) == 0
    assert "good" in capsys.readouterr().out


def test_of_json_only_what_the_tee_signed_counts(kept: Path) -> None:
    assert status(kept, "evidence.json") == 0


def test_another_nonce_is_refused(kept: Path) -> None:
    signer = str(kept / "station.pub")

    assert status(kept, "token.cwt", "--signer", signer, nonce=bytes(32)) == 7


def test_another_level_is_refused(kept: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert status(kept, "evidence.json", "--level", "hardware") == 7
    assert "--level functional" in capsys.readouterr().err


@pytest.mark.parametrize("level", ["hardware", "hardware+fused"])
def test_json_that_was_labelled_anew_proves_no_higher_level(kept: Path, level: str) -> None:
    said = attested.evidence().to_dict() | {"level": level}
    (kept / "evidence.json").write_text(json.dumps(said))

    assert status(kept, "evidence.json", "--level", level) == 7


def test_a_tee_uuid_in_json_is_taken_for_none(
    kept: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status(kept, "evidence.json", "--json") == 0
    checks = json.loads(capsys.readouterr().out)["checks"]
    assert (checks["huk"]["outcome"], checks["tee-uuid"]["outcome"]) == ("absent", "absent")


@pytest.mark.parametrize("more", [[], ["--any-key"]], ids=["silent", "any key"])
def test_json_by_a_key_that_is_not_pinned_is_wrong_use(
    kept: Path, capsys: pytest.CaptureFixture[str], more: list[str]
) -> None:
    assert status(kept, "evidence.json", *more, pin=False) == 2
    assert "--pin" in capsys.readouterr().err


def test_json_by_another_key_is_refused(kept: Path) -> None:
    forged = replace(
        attested.evidence(),
        key=attested.public_key(1),
        tee_memory=attested.signed(attested.TEE_MEMORY, which=1),
        enclave=None,
    )
    (kept / "evidence.json").write_text(json.dumps(forged.to_dict()))

    assert status(kept, "evidence.json") == 7


def test_a_token_needs_a_pinned_key_or_the_word_that_any_will_do(
    kept: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    signer = ("--signer", str(kept / "station.pub"))
    (kept / "policy.toml").write_text(f'golden = "{attested.TEE_MEMORY.hex()}"\n')

    assert status(kept, "token.cwt", *signer, pin=False) == 2
    assert "--any-key" in capsys.readouterr().err
    assert status(kept, "token.cwt", *signer, "--any-key", pin=False) == 0


def test_a_token_without_its_signer_s_key_is_wrong_use(
    kept: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status(kept, "token.cwt") == 2
    assert "--signer" in capsys.readouterr().err


def test_a_spoilt_token_is_refused(kept: Path) -> None:
    data = bytearray((kept / "token.cwt").read_bytes())
    data[-1] ^= 1
    (kept / "token.cwt").write_bytes(bytes(data))

    assert status(kept, "token.cwt", "--signer", str(kept / "station.pub")) == 7
