"""How a command ends: one clear sentence, or one JSON object, and an exit status by kind."""

from __future__ import annotations

import json
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import typer

from harness.errors import TrustBoxError
from harness.shown import printable_lines
from provisioning.file_trouble import refused

INTERRUPTED = 130
"""128 + SIGINT, as a shell would report it."""
WRONG_USAGE = 2


TERMINATED = 143
"""128 + SIGTERM."""


class Terminated(KeyboardInterrupt):
    """SIGTERM, as a script's time limit sends it: it leaves as little behind as Ctrl-C does."""


class Interrupted(Exception):
    """Ctrl-C in a command. Typer would make a status of KeyboardInterrupt and say nothing."""

    def __init__(self, by: KeyboardInterrupt) -> None:
        super().__init__()
        self.by = by


def ended(work: Callable[[], int], *, as_json: bool) -> int:
    """Run ``work``; its exit status, or that of what stopped it.

    A file that cannot be used is told by its name, wherever that came up. What nobody foresaw
    keeps its traceback: it is a defect, and hiding it would help nobody.
    """
    try:
        with _sigterm_ends_as_ctrl_c():
            return work()
    except TrustBoxError as problem:
        return _failed(problem, as_json=as_json)
    except typer.Exit as leaving:
        return leaving.exit_code
    except typer.TyperException as problem:
        said = problem.format_message()
        if said.lstrip().startswith("Usage:"):  # a group without a command: it tells its commands
            sys.stderr.write(said + "\n")
            return WRONG_USAGE
        if "unexpected extra argument" in said:  # it may be a PIN that stands in no option's place
            said = "there is a word more than this command takes"
        hint = "--help after any command tells what it takes."
        _tell("Misuse", said, hint, WRONG_USAGE, as_json=as_json)
        return WRONG_USAGE
    except (Interrupted, KeyboardInterrupt, typer.Abort) as problem:
        by = problem.by if isinstance(problem, Interrupted) else problem
        sys.stderr.write("\ninterrupted\n")
        return TERMINATED if isinstance(by, Terminated) else INTERRUPTED
    except OSError as problem:
        if not isinstance(problem.filename, str):
            raise
        return _failed(refused(Path(problem.filename), problem, "used"), as_json=as_json)


def _failed(problem: TrustBoxError, *, as_json: bool) -> int:
    kind, hint = type(problem).__name__, problem.diagnostics()
    _tell(kind, problem.message, hint, problem.exit_status, as_json=as_json)
    return problem.exit_status


@contextmanager
def _sigterm_ends_as_ctrl_c() -> Iterator[None]:
    """What is held is given back, what is half made is taken away. Its former handler comes back
    afterwards; outside of the main thread nobody may set one."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def told(number: int, frame: FrameType | None) -> None:
        raise Terminated

    before = signal.signal(signal.SIGTERM, told)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _tell(kind: str, message: str, hint: str, status: int, *, as_json: bool) -> None:
    if as_json:
        told = {"error": kind, "message": message, "hint": hint, "exit_status": status}
        sys.stderr.write(json.dumps(told) + "\n")
        return
    sys.stderr.write(printable_lines(f"error: {message}\n"))
    if hint:
        sys.stderr.write(printable_lines(f"hint: {hint}\n"))
