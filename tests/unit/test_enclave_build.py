"""What the enclave build refuses before, and reports after, it runs the compiler."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from harness.deadline import Deadline
from harness.errors import BadInput, BuildFailed, DeadlineExpired, Misuse
from provisioning.enclave_build import SAMPLE, build_enclave, enclave_uuid

UUID_LINE = "BINARY := 00000000-1111-4222-8333-444444444444\n"
MAKES_NOTHING = "all:\n\t@{command}\n"


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TRUSTBOX_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def key(tmp_path: Path) -> Path:
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    path = tmp_path / "key.pem"
    path.touch(mode=0o600)
    path.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return path


def source(tmp_path: Path, command: str) -> Path:
    """An enclave whose whole build is one command."""
    directory = tmp_path / "source"
    directory.mkdir()
    (directory / "Makefile").write_text(UUID_LINE + MAKES_NOTHING.format(command=command))
    return directory


@pytest.fixture
def devkit(tmp_path: Path) -> Path:
    directory = tmp_path / "devkit"
    (directory / "mk").mkdir(parents=True)
    (directory / "mk" / "ta_dev_kit.mk").touch()
    return directory


def test_the_sample_s_uuid_is_in_its_makefile_and_its_header() -> None:
    first = enclave_uuid(SAMPLE).fields[0]

    assert f"{first:#x}" in (SAMPLE / "sample.h").read_text()


def test_the_compiler_s_own_line_is_reported(tmp_path: Path, devkit: Path, key: Path) -> None:
    line = "sample.c:12:3: error: too few arguments"
    failing = source(tmp_path, f"echo 'cc1: note'; echo '{line}' >&2; exit 1")

    with pytest.raises(BuildFailed) as caught:
        build_enclave(failing, devkit=devkit, key=key, by=Deadline.after(30))

    assert caught.value.reason == line
    assert "cc1: note" in Path(caught.value.log).read_text()


def test_a_build_that_makes_no_enclave_has_failed(tmp_path: Path, devkit: Path, key: Path) -> None:
    with pytest.raises(BuildFailed):
        build_enclave(source(tmp_path, "true"), devkit=devkit, key=key, by=Deadline.after(30))


def test_a_failed_build_leaves_nothing_to_be_taken_for_an_enclave(
    tmp_path: Path, devkit: Path, key: Path, own_cache: Path
) -> None:
    with pytest.raises(BuildFailed):
        build_enclave(source(tmp_path, "false"), devkit=devkit, key=key, by=Deadline.after(30))

    assert not list(own_cache.rglob("*.ta"))


def test_a_build_that_hangs_ends_with_its_deadline(tmp_path: Path, devkit: Path, key: Path) -> None:
    with pytest.raises(DeadlineExpired):
        build_enclave(
            source(tmp_path, "cat </dev/zero >/dev/null"),
            devkit=devkit,
            key=key,
            by=Deadline.after(1),
        )


def test_what_is_no_source_is_refused(tmp_path: Path, devkit: Path, key: Path) -> None:
    with pytest.raises(Misuse):
        build_enclave(tmp_path, devkit=devkit, key=key, by=Deadline.after(30))


def test_what_is_no_dev_kit_is_refused(tmp_path: Path, key: Path) -> None:
    with pytest.raises(Misuse):
        build_enclave(SAMPLE, devkit=tmp_path, key=key, by=Deadline.after(30))


def test_what_is_no_key_is_refused_without_showing_it(tmp_path: Path, devkit: Path) -> None:
    key = tmp_path / "key.pem"
    key.touch(mode=0o600)
    key.write_text("-----BEGIN PRIVATE KEY-----\nMIIsecret\n")

    with pytest.raises(Misuse) as caught:
        build_enclave(SAMPLE, devkit=devkit, key=key, by=Deadline.after(30))

    assert "MIIsecret" not in str(caught.value)


def test_a_key_that_others_can_read_signs_nothing(tmp_path: Path, devkit: Path, key: Path) -> None:
    key.chmod(0o644)

    with pytest.raises(BadInput) as caught:
        build_enclave(source(tmp_path, "true"), devkit=devkit, key=key, by=Deadline.after(30))

    assert (caught.value.value, caught.value.expected) == ("0644", "0600")


def test_a_makefile_s_comments_may_be_in_any_encoding(tmp_path: Path) -> None:
    (tmp_path / "Makefile").write_bytes("# für die Box\n".encode("latin-1") + UUID_LINE.encode())

    assert f"BINARY := {enclave_uuid(tmp_path)}\n" == UUID_LINE
    (tmp_path / "Makefile").write_bytes(b"\xff\xfe" + UUID_LINE.encode("utf-16-le"))
    with pytest.raises(Misuse, match="not an enclave's source"):
        enclave_uuid(tmp_path)


def test_the_private_key_is_copied_nowhere(
    tmp_path: Path, devkit: Path, key: Path, own_cache: Path
) -> None:
    with pytest.raises(BuildFailed):
        build_enclave(source(tmp_path, "false"), devkit=devkit, key=key, by=Deadline.after(30))

    secret = key.read_bytes().splitlines()[1]
    assert not [f for f in own_cache.rglob("*") if f.is_file() and secret in f.read_bytes()]
