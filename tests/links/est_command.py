"""The command ``trustbox``, called as its entry point is."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import subprocess
import sys
from unittest.mock import patch

from provisioning.cli import main

Done = subprocess.CompletedProcess[bytes]


def trustbox(*words: str, stdin: bytes = b"") -> Done:
    """In this process: a new one takes seconds to import everything. Undoes what it sets up."""
    out, err = io.StringIO(), io.StringIO()
    loggers = [logging.getLogger(name) for name in (None, "harness", "provisioning", "emulator")]
    before = [(logger, logger.level, logger.handlers[:]) for logger in loggers]
    status: object = None
    with (
        patch.object(sys, "argv", ["trustbox", *words]),
        patch.object(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin))),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            main()
        except SystemExit as leaving:
            status = leaving.code
        finally:
            for logger, level, handlers in before:
                logger.setLevel(level)
                logger.handlers[:] = handlers
    assert isinstance(status, int)
    return Done(words, status, out.getvalue().encode(), err.getvalue().encode())


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
