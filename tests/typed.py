"""A ``trustbox`` command as it is typed, in this process: what it said, and its exit status.

A process of its own takes seconds to import everything, and could not be given a box that is open.
"""

from __future__ import annotations

import io
import json
import logging
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from provisioning.cli import main


@dataclass(frozen=True, slots=True)
class Said:
    status: int
    out: str
    err: str

    @property
    def told(self) -> Any:
        """What it printed with --json."""
        return json.loads(self.out)


def trustbox(
    *words: str | Path, stdin: bytes = b"", environment: Mapping[str, str] | None = None
) -> Said:
    """With text on its standard output. Undoes what it sets up."""
    out, err = io.StringIO(), io.StringIO()
    with (
        mock.patch.dict(os.environ, environment or {}),
        mock.patch.object(sys, "argv", ["trustbox", *map(str, words)]),
        mock.patch.object(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin))),
        redirect_stdout(out),
        redirect_stderr(err),
    ):
        status = _status()
    return Said(status, out.getvalue(), err.getvalue())


def typed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str) -> Said:
    """On pytest's own streams, for octets on standard output and for tests that change them."""
    monkeypatch.setattr("sys.argv", ["trustbox", *words])
    capsys.readouterr()
    status = _status()
    said = capsys.readouterr()
    return Said(status, said.out, said.err)


def _status() -> int:
    with _logging_as_it_was(), pytest.raises(SystemExit) as ended:
        main()
    assert isinstance(ended.value.code, int)
    return ended.value.code


@contextmanager
def _logging_as_it_was() -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in (None, "harness", "provisioning", "emulator")]
    before = [(logger, logger.level, logger.handlers[:]) for logger in loggers]
    try:
        yield
    finally:
        for logger, level, handlers in before:
            logger.setLevel(level)
            logger.handlers[:] = handlers
