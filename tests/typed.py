"""A ``trustbox`` command as it is typed, in this process: what it said, and its exit status."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from provisioning.cli import main


@dataclass(frozen=True, slots=True)
class Said:
    status: int
    out: str
    err: str


def typed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str) -> Said:
    """For commands whose box is open already: a process of its own could not be given it."""
    monkeypatch.setattr("sys.argv", ["trustbox", *words])
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main()
    said = capsys.readouterr()
    assert isinstance(ended.value.code, int)
    return Said(ended.value.code, said.out, said.err)
