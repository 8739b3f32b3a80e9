"""The shell over a serial line: right answers under noise and loss, and how fast, beside labgrid's.

    python -m benchmarks.console [--commands 120] [--no-emulator] [--serial TB-EMU-BENCH]

Each row: so many commands, each of which takes a tenth of a second in which log lines fall, on a
local shell behind a pty and on the emulated box's UART. ``right``: exact output and status;
``wrong``: returned, but another one; ``hangs``: no end within 8 s. Log lines come a ``noise`` a
second, from the kernel on the UART; ``loss`` is the chance of each byte, both ways, to be lost.
The last line is one JSON object; times are medians, ``mib_s`` the seconds that 1 MiB of text takes.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from benchmarks.console_line import on_a_pty, on_a_uart
from benchmarks.console_peer import measure_labgrid
from emulator.opening import hold
from harness.console import SerialConsole
from harness.console_shell import ConsoleShell
from harness.deadline import Deadline
from harness.errors import DeadlineExpired, TrustBoxError
from harness.holding import Holding
from harness.target import World

BUILD_SECONDS = 1800.0
OPEN_SECONDS = 180.0
HANG_SECONDS = 8.0
BULK = "seq 1 200000 | head -c 1048576"
BULK_TEXT = b"".join(b"%d\n" % number for number in range(1, 200_001))[: 1 << 20]
CONDITIONS = ((0.0, 0.0), (1.0, 0.0), (5.0, 0.0), (20.0, 0.0), (0.0, 5e-4))


def count(shell: ConsoleShell, commands: int) -> dict[str, Any]:
    """How ``commands`` commands ended."""
    tally = {"right": 0, "wrong": 0, "exceptions": 0, "hangs": 0}
    shell.run("true", by=Deadline.after(OPEN_SECONDS))
    before, began = shell.health(), time.perf_counter()
    for number in range(commands):
        script = f"echo value-{number}; sleep 0.1; echo end-{number} >&2; exit 3"
        try:
            by = Deadline.after(HANG_SECONDS)
            done = shell.run("sh", "-c", script, by=by, check=False)
        except DeadlineExpired:
            tally["hangs"] += 1
        except TrustBoxError as problem:
            print(f"  {problem}", flush=True)
            tally["exceptions"] += 1
        else:
            expected = (b"value-%d\n" % number, b"end-%d\n" % number, 3)
            exact = (done.stdout, done.stderr, done.status) == expected
            tally["right" if exact else "wrong"] += 1
    seconds = time.perf_counter() - began
    health = shell.health() - before
    return {
        **tally,
        "seconds": round(seconds, 1),
        "log_lines": health.noise_lines,
        "resent": health.resent + health.doubled,
        "gaps": health.gaps,
    }


def speed(shell: ConsoleShell, times: int, bulks: int) -> dict[str, Any]:
    """``true_ms`` and ``mib_s``."""
    shell.run("true", by=Deadline.after(OPEN_SECONDS))
    single, bulk = [], []
    for _ in range(times):
        began = time.perf_counter()
        shell.run("true", by=Deadline.after(HANG_SECONDS))
        single.append(time.perf_counter() - began)
    for _ in range(bulks):
        began = time.perf_counter()
        done = shell.run("sh", "-c", BULK, by=Deadline.after(600))
        bulk.append(time.perf_counter() - began)
        assert done.stdout == BULK_TEXT
    return {
        "true_ms": round(statistics.median(single) * 1000, 2),
        "mib_s": round(statistics.median(bulk), 3),
    }


class OpenShell:
    """How a shell is opened under a condition: on a pty, or on a held box's UART."""

    def __init__(self, holding: Holding | None = None) -> None:
        self._holding = holding

    def __call__(
        self, noise: float = 0.0, loss: float = 0.0
    ) -> AbstractContextManager[ConsoleShell]:
        if self._holding is None:
            return on_a_pty(noise=noise, loss=loss)
        return on_a_uart(self._holding, noise=noise, loss=loss)


def rows(line: str, commands: int, open_shell: OpenShell) -> Iterator[dict[str, Any]]:
    for noise, loss in CONDITIONS:
        with open_shell(noise, loss) as shell:
            row = {"line": line, "noise": noise, "loss": loss, **count(shell, commands)}
        print(json.dumps(row), flush=True)
        yield row


@contextmanager
def held(serial: str) -> Iterator[Holding]:
    holding = hold(
        name="emulator",
        serial=serial,
        fresh=True,
        by=Deadline.after(BUILD_SECONDS),
        progress=lambda line: print(line, flush=True),
    )
    try:
        holding.rig.on(by=Deadline.after(OPEN_SECONDS))
        yield holding
    finally:
        holding.rig.close()


def labgrid_on(holding: Holding, times: int) -> dict[str, Any]:
    """labgrid on the same UART of the same box; ours lets go of it meanwhile."""
    console = holding.consoles[World.NORMAL]
    assert isinstance(console, SerialConsole)
    url = console.url
    console.detach()
    try:
        return measure_labgrid(url, times=times, bulk=BULK, size=len(BULK_TEXT))
    finally:
        console.attach(url)


def beside_labgrid(
    holding: Holding, open_shell: OpenShell, options: argparse.Namespace
) -> dict[str, Any]:
    """Both in turn, so that a machine that is busy for a while is busy for both; medians.

    After the rows: labgrid silences the kernel on the console for good (``dmesg -n 1``).
    """
    ours, theirs = [], []
    for turn in range(options.rounds):
        with open_shell() as shell:
            ours.append(speed(shell, options.times, 1))
        print(f"uart, round {turn + 1}: {ours[-1]}", flush=True)
        if not options.no_labgrid:
            theirs.append(labgrid_on(holding, options.times))
            print(f"labgrid, round {turn + 1}: {theirs[-1]}", flush=True)
    if not theirs:
        return {"uart": medians(ours)}
    uart, labgrid = medians(ours), medians(theirs)
    ratios = {key: round(labgrid[key] / uart[key], 1) for key in labgrid}
    return {"uart": uart, "labgrid": labgrid, "ratio": ratios}


def medians(found: list[dict[str, Any]]) -> dict[str, float]:
    """Of those rounds that got through."""
    return {
        key: round(statistics.median(values), 3)
        for key in ("true_ms", "mib_s")
        if (values := [one[key] for one in found if key in one])
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--commands", type=int, default=120)
    parser.add_argument("--times", type=int, default=50, help="single commands that are timed")
    parser.add_argument("--rounds", type=int, default=3, help="ours and labgrid's in turn")
    parser.add_argument("--serial", default="TB-EMU-CONSOLE", help="the emulated box to measure")
    parser.add_argument("--no-emulator", action="store_true", help="only the pty")
    parser.add_argument("--no-labgrid", action="store_true")
    options = parser.parse_args()
    if min(options.commands, options.times, options.rounds) < 1:
        parser.error("a row needs at least one command, and a median one measurement")
    on_pty = OpenShell()
    result: dict[str, Any] = {"rows": list(rows("pty", options.commands, on_pty))}
    with on_pty() as shell:
        result["pty"] = speed(shell, options.times, 3)
    print(f"pty: {result['pty']}", flush=True)
    if not options.no_emulator:
        with held(options.serial) as holding:
            on_uart = OpenShell(holding)
            result["rows"] += list(rows("uart", options.commands, on_uart))
            result |= beside_labgrid(holding, on_uart, options)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
