"""A module's first program is compiled once; a compiler that hangs or a cache that is no use is a
sentence."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness.errors import BuildFailed, Misuse
from provisioning import enclave_start


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TRUSTBOX_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "enclaves"


def test_a_compiler_that_does_not_end_is_ended_and_named(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bin").mkdir()
    compiler = tmp_path / "bin" / enclave_start.COMPILER
    compiler.write_text("#!/bin/sh\nexec cat /dev/zero > /dev/null\n")
    compiler.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setattr(enclave_start, "_SECONDS", 0.2)

    with pytest.raises(BuildFailed, match=r"not done after 0\.2 s"):
        enclave_start.start_program()

    assert list(cache.iterdir()) == []


def test_a_cache_that_others_may_write_is_not_started_from(cache: Path) -> None:
    """What is in it runs on boxes."""
    cache.mkdir(parents=True)
    cache.chmod(0o777)

    with pytest.raises(Misuse, match="can be written by others"):
        enclave_start.start_program()


def test_the_program_is_made_for_aarch64_and_kept(cache: Path) -> None:
    made = enclave_start.start_program()

    assert made[:4] == b"\x7fELF"
    assert made[18:20] == b"\xb7\x00"  # EM_AARCH64
    assert enclave_start.start_program() == made
    assert len(list(cache.iterdir())) == 1
