"""What must not stand in the project, as far as ruff does not see to it already."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

HOUSE = Path(__file__).resolve().parents[2]
LONGEST = 300
FORBIDDEN = {
    "registry or archive host": r"https?://[^\s\"']*(?:debian|ubuntu|pypi|pythonhosted|npm)[^\s\"']*",
    "sleep instead of a wait": r"\btime\.sleep\(",
    "host key taken on trust": r"StrictHostKeyChecking[= ]no",
    "skip without a reason": r"\bpytest\.skip\(\)|mark\.skip$",
}
"""What a finding is called, and the pattern of a line that is one."""


def findings(name: str, text: str) -> Iterator[str]:
    """Each forbidden line of one file, as ``file:line what``."""
    for number, line in enumerate(text.splitlines(), 1):
        for what, pattern in FORBIDDEN.items():
            if re.search(pattern, line):
                yield f"{name}:{number} {what}"


def project_files(*patterns: str) -> dict[str, str]:
    """Name and text of the project's own files: what git tracks, and what it would add."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *patterns],
        cwd=HOUSE,
        capture_output=True,
        check=True,
    ).stdout
    names = [name for name in listed.decode().split("\0") if name and (HOUSE / name).is_file()]
    return {name: (HOUSE / name).read_text(errors="replace") for name in names}


def test_no_file_has_a_forbidden_line() -> None:
    mine = Path(__file__).relative_to(HOUSE).as_posix()
    files = project_files("*.py", "*.toml", "*.md", "*.c", "*.h", "*.mk", "Makefile", ".ci/*")

    assert [f for name, text in files.items() if name != mine for f in findings(name, text)] == []


def test_every_python_file_has_one_subject_and_fits() -> None:
    lengths = {name: len(text.splitlines()) for name, text in project_files("*.py").items()}

    assert {name: lines for name, lines in lengths.items() if lines > LONGEST} == {}


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("url = 'http" + "://deb.debian.example/x'", "registry or archive host"),
        ("    time.sleep(1)", "sleep instead of a wait"),
        ("ssh -o StrictHostKeyChecking=no box", "host key taken on trust"),
        ("    pytest.skip()", "skip without a reason"),
    ],
    ids=list(FORBIDDEN),
)
def test_a_forbidden_line_is_found(line: str, what: str) -> None:
    assert list(findings("f.py", f"import x\n{line}\n")) == [f"f.py:2 {what}"]
