"""The shell over a serial line: right answers under noise and loss, and how fast, beside labgrid's.

    python -m benchmarks.console [--commands 120] [--no-emulator] [--serial TB-EMU-BENCH]

Each row: so many commands, each of which takes a tenth of a second in which log lines fall, on a
local shell behind a pty and on the emulated box's UART. ``right``: exact output and status;
``wrong``: returned, but another one; ``hangs``: no end within 8 s. Log lines come a ``noise`` a
second, from the kernel on the UART; ``loss`` is the chance of each byte, both ways, to be lost.
Then times, ours and labgrid's in turn on the same box, over QEMU's pty and, as in a lab, over RFC
2217 (``exporter``: ser2net in front of that pty, started as labgrid's exporter does): ``true_ms``,
for labgrid a shell builtin, and ``program_ms``, for both a program; ``text_s``, ``source_s`` and
``random_s``, 1 MiB each. ``floor``: the helper's ``true`` over SSH. The last line is one JSON
object; times are medians, ``load`` the machine's.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from benchmarks.console_line import normal_console, on_a_pty, on_a_uart, through_an_exporter
from benchmarks.console_peer import measure_labgrid
from benchmarks.console_speed import (
    HANG_SECONDS,
    KEYS,
    OPEN_SECONDS,
    milliseconds,
    put_payloads,
    speed,
)
from emulator.opening import hold
from harness.agent_shell import AgentShell
from harness.console_shell import ConsoleShell
from harness.deadline import Deadline
from harness.errors import DeadlineExpired, TrustBoxError
from harness.history import History
from harness.holding import Holding
from harness.ssh import SshShell

BUILD_SECONDS = 1800.0
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
    console = normal_console(holding)
    url = console.url
    console.detach()
    try:
        return measure_labgrid(url, times=times)
    finally:
        console.attach(url)


def beside_labgrid(
    holding: Holding, open_shell: OpenShell, options: argparse.Namespace
) -> dict[str, Any]:
    """Both in turn, so that a machine that is busy for a while is busy for both; medians.

    After the rows: labgrid silences the kernel on the console for good (``dmesg -n 1``).
    """
    ours: dict[str, list[dict[str, Any]]] = {"pty": [], "exporter": []}
    theirs: dict[str, list[dict[str, Any]]] = {"pty": [], "exporter": []}
    floors = []
    ssh = SshShell(holding.endpoint, holding.vitals, History())
    helper = AgentShell(ssh, holding.layout, holding.vitals, History())
    try:
        put_payloads(helper)
        for turn in range(options.rounds):
            floors.append({"spawn_ms": milliseconds(helper, "true", options.times)})
            print(f"helper over SSH, round {turn + 1}: {floors[-1]}", flush=True)
            for name, transport in (("pty", nullcontext), ("exporter", through_an_exporter)):
                with transport(holding):
                    with open_shell() as shell:
                        ours[name].append(speed(shell, options.times))
                    print(f"uart, {name}, round {turn + 1}: {ours[name][-1]}", flush=True)
                    if not options.no_labgrid:
                        theirs[name].append(labgrid_on(holding, options.times))
                        print(f"labgrid, {name}, round {turn + 1}: {theirs[name][-1]}", flush=True)
    finally:
        helper.close()
        ssh.close()
    return compared(ours, theirs, floors)


def compared(
    ours: dict[str, list[dict[str, Any]]],
    theirs: dict[str, list[dict[str, Any]]],
    floors: list[dict[str, Any]],
) -> dict[str, Any]:
    """``uart``, ``labgrid``, ``ratio``: over the pty, and through labgrid's exporter; ``floor``."""
    result: dict[str, Any] = {"floor": medians(floors)}
    for suffix, name in (("", "pty"), ("_exporter", "exporter")):
        uart, labgrid = medians(ours[name]), medians(theirs[name])
        result["uart" + suffix] = uart
        if labgrid:
            result["labgrid" + suffix] = labgrid
            both = [key for key in uart if key in labgrid]
            result["ratio" + suffix] = {key: round(labgrid[key] / uart[key], 1) for key in both}
    return result


def explained(result: dict[str, Any]) -> str:
    """What the figures mean, for people."""
    spawn = result["floor"]["spawn_ms"]
    said = f"A program takes {spawn} ms through the same helper over SSH, without any UART."
    if "labgrid" in result:
        goal = round(result["labgrid"]["true_ms"] / 5, 1)
        reach = "within" if goal > spawn else "out of"
        said += f"\n5x labgrid's true, which starts none, is {goal} ms: {reach} a program's reach."
    return said


def medians(found: list[dict[str, Any]]) -> dict[str, float]:
    """Of those rounds that got through."""
    return {
        key: round(statistics.median(values), 3)
        for key in ("spawn_ms", *KEYS)
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
        put_payloads(shell)
        result["pty"] = speed(shell, options.times)
    print(f"pty: {result['pty']}", flush=True)
    if not options.no_emulator:
        with held(options.serial) as holding:
            on_uart = OpenShell(holding)
            result["rows"] += list(rows("uart", options.commands, on_uart))
            result |= beside_labgrid(holding, on_uart, options)
            print(explained(result))
    result["load"] = [round(value, 1) for value in os.getloadavg()]
    print(json.dumps(result))


if __name__ == "__main__":
    main()
