"""The command ``trustbox``, called as its entry point is."""

from __future__ import annotations

import os
import subprocess
import sys

from tests import typed

Done = subprocess.CompletedProcess[bytes]


def trustbox(*words: str, stdin: bytes = b"") -> Done:
    """In this process."""
    said = typed.trustbox(*words, stdin=stdin)
    return Done(words, said.status, said.out.encode(), said.err.encode())


def process(*words: str, stdin: bytes = b"") -> Done:
    """In a process of its own, for what can be seen of one from outside."""
    return subprocess.run(
        [sys.executable, "-c", "from provisioning.cli import main; main()", *words],
        input=stdin,
        capture_output=True,
        check=False,
        timeout=60,
        env={**os.environ, "COLUMNS": "200"},
    )
