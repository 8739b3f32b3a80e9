"""The commands that make a page of docs/ from the tests, run as a person runs them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.page import HOUSE


def checked(module: str) -> subprocess.CompletedProcess[str]:
    """``--check`` against the committed page."""
    return _python("-m", f"tests.{module}", "--check")


def made_from(module: str, directory: Path, source: str) -> subprocess.CompletedProcess[str]:
    """The page of one test file, or what its maker says about it."""
    (directory / "test_some.py").write_text("import pytest\n\n" + source)
    return _python(
        "-c", f"from tests.{module} import PAGE; print(PAGE.made_from({str(directory)!r}))"
    )


def _python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=HOUSE,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
