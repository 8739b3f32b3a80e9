"""``trustbox ta`` on files: what it makes, what it says, and its exit statuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from provisioning.enclave_build import SAMPLE
from provisioning.enclave_format import SHDR
from tests.typed import Said
from tests.unit.ta_parts import ELF, ENCLAVE, key_file, public_file, secret_file, ta


@pytest.fixture
def elf(tmp_path: Path) -> Path:
    path = tmp_path / "some.stripped.elf"
    path.write_bytes(ELF)
    return path


@pytest.fixture
def signed(tmp_path: Path, elf: Path) -> Path:
    path = tmp_path / "signed.ta"
    key = key_file(tmp_path, "box")
    ended = ta("sign", elf, "--uuid", str(ENCLAVE), "--key", key, "-o", path, "--ta-version", "3")
    assert ended == Said(0, "", "")
    return path


@pytest.fixture
def encrypted(tmp_path: Path, signed: Path) -> Path:
    path = tmp_path / "encrypted.ta"
    key, secret = tmp_path / "box.pem", secret_file(tmp_path, bytes(range(32)))
    assert ta("encrypt", signed, "--key", key, "--encryption-key", secret, "-o", path).status == 0
    return path


def test_a_signed_file_shows_all_of_its_fields(signed: Path) -> None:
    told = json.loads(ta("inspect", signed, "--json").out)

    assert (told["type"], told["uuid"], told["version"]) == (1, str(ENCLAVE), 3)
    assert (told["algorithm"], told["payload_size"]) == ("RSA-PSS SHA-256", len(ELF))
    assert str(ENCLAVE) in ta("inspect", signed).out


def test_a_bare_file_of_type_0_can_be_looked_at(tmp_path: Path) -> None:
    bare = tmp_path / "bare.ta"
    shdr = SHDR.pack(0x4F545348, 0, len(ELF), 0x70414930, 32, 256)
    bare.write_bytes(shdr + bytes(32 + 256) + ELF)

    assert json.loads(ta("inspect", bare, "--json").out)["uuid"] is None
    assert ta("verify", bare, "--key", public_file(tmp_path, "box")).status == 7


def test_the_public_half_is_enough_to_verify(tmp_path: Path, signed: Path) -> None:
    good = ta("verify", signed, "--key", public_file(tmp_path, "box"), "--uuid", str(ENCLAVE))
    other = ta("verify", signed, "--key", public_file(tmp_path, "other"), "--json")

    assert good.status == 0
    assert other.status == 7
    outcomes = {c["check"]: c["outcome"] for c in json.loads(other.out)["checks"]}
    assert outcomes == {"signature": "fail", "uuid": "pass", "contents": "pass"}


def test_encrypted_contents_are_verified_with_their_key_and_never_without(
    tmp_path: Path, encrypted: Path
) -> None:
    key, secret = public_file(tmp_path, "box"), tmp_path / "enc.key"

    assert ta("verify", encrypted, "--key", key, "--encryption-key", secret).status == 0
    blind = ta("verify", encrypted, "--key", key)
    assert blind.status == 2
    assert "--encryption-key" in blind.err
    assert ta("verify", encrypted, "--key", key, "--headers-only").status == 0


def test_what_is_wrong_with_an_encrypted_one_is_seen_without_its_encryption_key(
    tmp_path: Path, encrypted: Path
) -> None:
    blind = ta("verify", encrypted, "--key", public_file(tmp_path, "other"), "--json")
    good = ta("verify", encrypted, "--key", public_file(tmp_path, "box"))

    outcomes = {c["check"]: c["outcome"] for c in json.loads(blind.out)["checks"]}
    assert (blind.status, outcomes["signature"], outcomes["contents"]) == (7, "fail", "unknown")
    assert good.status == 2
    assert ("signature    pass" in good.out, "contents     unknown" in good.out) == (True, True)


def test_one_signed_again_has_the_new_version(tmp_path: Path, encrypted: Path) -> None:
    out, secret = tmp_path / "again.ta", tmp_path / "enc.key"
    other = key_file(tmp_path, "other")
    options = ("--key", other, "--encryption-key", secret, "-o", out, "--ta-version", "4")

    assert ta("resign", encrypted, *options).status == 0
    assert json.loads(ta("inspect", out, "--json").out)["version"] == 4
    check = ("--key", public_file(tmp_path, "other"), "--encryption-key", secret)
    assert ta("verify", out, *check).status == 0


@pytest.mark.parametrize(
    ("spoil", "field"),
    [
        (lambda d: b"", "size"),
        (lambda d: d[:10], "shdr"),
        (lambda d: b"X" + d[1:], "magic"),
        (lambda d: d + b"\0", "image size"),
        (lambda d: d[:4] + b"\x09" + d[5:], "type"),
    ],
    ids=["empty", "cut", "magic", "longer", "type"],
)
def test_a_bad_file_is_one_sentence_that_names_the_field(
    tmp_path: Path, signed: Path, spoil: object, field: str
) -> None:
    bad = tmp_path / "bad.ta"
    bad.write_bytes(spoil(signed.read_bytes()))  # type: ignore[operator]
    ended = ta("inspect", bad)

    assert ended.status == 2
    assert f"bad.ta: {field} is " in ended.err.splitlines()[0]


def test_a_key_that_others_can_read_is_refused_and_nothing_is_written(
    tmp_path: Path, elf: Path
) -> None:
    key, out = key_file(tmp_path, "box"), tmp_path / "out.ta"
    key.chmod(0o644)
    ended = ta("sign", elf, "--uuid", str(ENCLAVE), "--key", key, "-o", out)

    assert (ended.status, out.exists()) == (2, False)
    assert "0600" in ended.err


def test_a_secret_is_never_shown(tmp_path: Path, signed: Path) -> None:
    secret = secret_file(tmp_path, b"\x5a" * 31)
    out = tmp_path / "out.ta"
    ended = ta(
        "encrypt", signed, "--key", tmp_path / "box.pem", "--encryption-key", secret, "-o", out
    )

    assert ended.status == 2
    assert "5a5a" not in ended.err + ended.out
    assert "64 hexadecimal digits" in ended.err


@pytest.mark.parametrize(
    ("options", "told"),
    [(("--name-size", "2000"), "name size"), (("--max-depth", "-1"), "depth")],
    ids=["name", "depth"],
)
def test_a_subkey_that_nobody_takes_is_not_written(
    tmp_path: Path, options: tuple[str, str], told: str
) -> None:
    out = tmp_path / "vendor.bin"
    words = ("--uuid", str(ENCLAVE), "--key", key_file(tmp_path, "box"), "-o", out)
    ended = ta("subkey", public_file(tmp_path, "vendor"), *words, *options)

    assert (ended.status, told in ended.err, out.exists()) == (2, True, False)


def test_a_public_key_that_is_too_short_is_refused(tmp_path: Path, signed: Path) -> None:
    ended = ta("verify", signed, "--key", public_file(tmp_path, "short", 1024))

    assert ended.status == 2
    assert "2048 to 4096 bits" in ended.err


def test_a_key_in_a_token_does_not_build_and_is_told_what_does(tmp_path: Path) -> None:
    out, key = tmp_path / "x.ta", "pkcs11:token=hsm;id=%01"
    ended = ta("build", SAMPLE, "--devkit", tmp_path, "--key", key, "-o", out)

    assert (ended.status, out.exists()) == (2, False)
    assert "ta resign" in ended.err


def test_a_subkey_file_and_what_it_signed_can_be_looked_at(tmp_path: Path, elf: Path) -> None:
    box, vendor = key_file(tmp_path, "box"), key_file(tmp_path, "vendor")
    sub, out = tmp_path / "vendor.bin", tmp_path / "out.ta"
    public = public_file(tmp_path, "vendor")
    words = ("--uuid", str(ENCLAVE), "--name-size", "0", "--key", box, "-o", sub)
    assert ta("subkey", public, *words).status == 0
    signing = ("--uuid", str(ENCLAVE), "--key", vendor, "--subkey", sub, "-o", out)
    assert ta("sign", elf, *signing).status == 0

    assert json.loads(ta("inspect", sub, "--json").out)["type"] == 3
    assert len(json.loads(ta("inspect", out, "--json").out)["subkeys"]) == 1
    assert ta("verify", out, "--key", public_file(tmp_path, "box")).status == 0
