"""Who answers the TEE's requests: found among this machine's own processes, as on a box."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from harness.tee_supplicant import (
    _STORAGE,
    SUPPLICANTS,
    NoSupplicant,
    Supplicants,
    read_storage,
    read_supplicants,
)
from tests.supplicant_process import running

pytestmark = pytest.mark.timeout(120)


def asked(script: str, *words: str) -> str:
    argv = ("sh", "-c", script, "sh", *words)
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout


def states(pid: int) -> list[str]:
    lines = asked(f"{SUPPLICANTS}\nsupplicants\nexit 0").splitlines()
    return [line.split()[2] for line in lines if line.startswith(f"supplicant {pid} ")]


def test_a_process_of_that_name_is_found_and_whether_it_is_stopped(tmp_path: Path) -> None:
    with running(tmp_path) as process:
        assert states(process.pid) == ["S"]
        process.send_signal(signal.SIGSTOP)
        os.waitpid(process.pid, os.WUNTRACED)
        assert states(process.pid) == ["T"]


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(("-f", "DIR"), id="-f DIR"),
        pytest.param(("-fDIR",), id="-fDIR"),
        pytest.param(("-d", "--fs-parent-path", "DIR"), id="--fs-parent-path DIR"),
        pytest.param(("--fs-parent-path=DIR", "-t", "/ta"), id="--fs-parent-path=DIR"),
    ],
)
def test_its_storage_is_where_its_command_line_says(tmp_path: Path, words: tuple[str, ...]) -> None:
    given = [word.replace("DIR", str(tmp_path)) for word in words]
    with running(tmp_path, *given):
        found = read_storage(asked(SUPPLICANTS + _STORAGE, "/elsewhere"), "/elsewhere")

    assert found.place.path == str(tmp_path.resolve())
    assert "layout.storage_root" not in found.place.why


def test_a_storage_that_nobody_names_is_unknown(tmp_path: Path) -> None:
    with running(tmp_path):
        found = read_storage(asked(SUPPLICANTS + _STORAGE, str(tmp_path)), str(tmp_path))

    assert found.place.lasts is None
    assert "layout.storage_root may be another place" in found.place.why


@pytest.mark.parametrize(
    ("found", "told"),
    [
        pytest.param((), "no tee-supplicant runs", id="none"),
        pytest.param(("Z",), "no tee-supplicant runs", id="dead"),
        pytest.param(("T",), "its tee-supplicant is stopped", id="stopped"),
        pytest.param(("T", "Z"), "its tee-supplicant is stopped", id="stopped, and a dead one"),
    ],
)
@pytest.mark.fault(
    "TEE storage",
    "tee-supplicant does not run, or is stopped",
    comes="NoSupplicant, status 6, at once: nothing answers the TEE's requests on the box; never"
    " that the box lacks something",
    then="start it on the box (systemctl start tee-supplicant) and run the same again",
)
def test_nobody_who_answers_is_named(found: tuple[str, ...], told: str) -> None:
    trouble = Supplicants(found, device=True).trouble()

    assert isinstance(trouble, NoSupplicant)
    assert (told in trouble.message, trouble.exit_status) == (True, 6)


def test_one_that_answers_is_enough() -> None:
    assert Supplicants(("T", "S"), device=True).trouble() is None


def test_other_lines_are_no_supplicants() -> None:
    assert read_supplicants("tee-device\nsupplicant x S\nsupplicant 1 SS\nteepriv\n") == (
        Supplicants((), device=True)
    )
