"""A command ends in one sentence and a status, also where a file came up that nobody looked at."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from provisioning.cli.ending import ended
from tests.small_disk import read_only, small_disk


def test_a_file_that_cannot_be_used_is_named_wherever_it_came_up(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status = ended(lambda: len((tmp_path / "record.json").read_bytes()), as_json=True)

    told = json.loads(capsys.readouterr().err)
    assert (status, told["error"], told["exit_status"]) == (2, "Misuse", 2)
    assert (
        told["message"] == f"{tmp_path / 'record.json'} cannot be used: No such file or directory"
    )


def test_a_broken_disk_is_named_wherever_it_came_up(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with small_disk(tmp_path / "disk") as disk, read_only(disk):
        status = ended(lambda: (disk / "file").write_bytes(b"x"), as_json=True)

    told = json.loads(capsys.readouterr().err)
    assert (status, told["error"]) == (8, "DiskFailed")
    assert str(disk) in told["message"]


def test_what_nobody_foresaw_keeps_its_traceback() -> None:
    def work() -> int:
        raise OSError("no file of it is known")

    with pytest.raises(OSError, match="no file"):
        ended(work, as_json=False)
