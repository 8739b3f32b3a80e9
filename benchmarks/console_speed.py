"""What is timed on a console, by our shell and by labgrid's: short commands, and 1 MiB of output.

Payloads are text, as labgrid's shell carries nothing else: ``text`` is what ``seq`` counts, which
compresses as nothing else does; ``source`` is this project's own code; ``random`` is base64 of
random bytes, of which a quarter can be saved and no more.
"""

from __future__ import annotations

import base64
import functools
import random
import statistics
import time
from pathlib import Path
from typing import Any

from harness.console_shell import ConsoleShell
from harness.deadline import Deadline
from harness.target import Shell

SIZE = 1 << 20
HOUSE = Path(__file__).resolve().parents[1]
COMMANDS = {"true_ms": "true", "program_ms": "/usr/bin/true"}
"""In labgrid's shell the first one starts no program; ours always starts one."""
PLACE = "/tmp/trustbox-bench-"  # noqa: S108 - on a throwaway box
KEYS = (*COMMANDS, "text_s", "source_s", "random_s")
OPEN_SECONDS, HANG_SECONDS, BULK_SECONDS = 180.0, 8.0, 600.0


@functools.cache
def payloads() -> dict[str, bytes]:
    """1 MiB each, of ASCII lines; the same all through a run, whoever edits that code meanwhile."""
    text = b"".join(b"%d\n" % number for number in range(1, 200_001))
    code = b"".join(path.read_bytes() for path in sorted(HOUSE.glob("[a-z]*/**/*.py")))
    code = bytes(byte for byte in code[: 2 * SIZE] if byte == ord("\n") or 32 <= byte < 127)
    noise = base64.encodebytes(random.Random(7).randbytes(SIZE))  # noqa: S311 - repeatable
    return {
        name: data[:SIZE] for name, data in (("text", text), ("source", code), ("random", noise))
    }


def put_payloads(shell: Shell) -> None:
    """As files on the box, over whatever is fast."""
    for name, data in payloads().items():
        shell.write(f"{PLACE}{name}", data, by=Deadline.after(OPEN_SECONDS))


def speed(shell: ConsoleShell, times: int) -> dict[str, Any]:
    """Milliseconds of a short command (median) and seconds of 1 MiB; wrong output is an error."""
    shell.run("true", by=Deadline.after(OPEN_SECONDS))
    found: dict[str, Any] = {}
    for key, command in COMMANDS.items():
        found[key] = milliseconds(shell, command, times)
    for name, data in payloads().items():
        began = time.perf_counter()
        done = shell.run("cat", f"{PLACE}{name}", by=Deadline.after(BULK_SECONDS))
        found[f"{name}_s"] = round(time.perf_counter() - began, 3)
        if done.stdout != data:
            raise AssertionError(f"{name} came back wrong")
    return found


def milliseconds(shell: Shell, command: str, times: int) -> float:
    """The median time of a command that says nothing."""
    seconds = []
    for _ in range(times):
        began = time.perf_counter()
        shell.run(command, by=Deadline.after(HANG_SECONDS))
        seconds.append(time.perf_counter() - began)
    return round(statistics.median(seconds) * 1000, 2)
