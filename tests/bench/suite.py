"""The device suite in a process of its own, for one round, with its output line by line."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from harness.errors import TrustBoxError
from tests.bench.rounds import Round

_END_SECONDS = 60.0
"""An interrupted pytest still closes its bench."""


def say(line: str) -> None:
    """Rounds run side by side: one write a line."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


@dataclass(frozen=True, slots=True)
class Result:
    """How a round ended. ``why``: no suite could be run at all. ``load``: the machine's load
    average over one minute when it began and when it ended, without which seconds say little."""

    name: str
    seconds: float
    load: tuple[float, float]
    status: int = 1
    tests: int = 0
    failed: int = 0
    skipped: int = 0
    known: int = 0
    why: str = ""

    @property
    def passed(self) -> bool:
        return self.status == 0 and self.tests > self.skipped

    def __str__(self) -> str:
        verdict = "passed" if self.passed else "FAILED"
        good = self.tests - self.failed - self.skipped - self.known
        counts = f"{good} passed, {self.failed} failed, {self.skipped} skipped"
        if self.known:
            counts += f", {self.known} failed as expected"
        took = f"{self.seconds:.0f} s, load {self.load[0]:.1f} to {self.load[1]:.1f}"
        return f"{verdict}  {self.name:9} {self.why or counts}  ({took})"


class Suites:
    """Runs suites, and can stop all of them."""

    def __init__(self, directory: Path, root: Path, arguments: Sequence[str]) -> None:
        self._directory, self._root, self._arguments = directory, root, list(arguments)
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[str]] = set()
        self._stopped = False

    def run(self, one: Round) -> Result:
        """From a box that is off to a box that is gone."""
        started, load = time.monotonic(), os.getloadavg()[0]
        directory = self._directory / one.name
        directory.mkdir()
        report = directory / "report.xml"
        try:
            with one.bench(directory, lambda line: say(f"{one.name}: {line}")) as targets:
                status = self._suite(one, targets, report)
        except (TrustBoxError, OSError) as problem:
            status, why = 1, str(problem)
        else:
            why = ""
        seconds, loads = time.monotonic() - started, (load, os.getloadavg()[0])
        return Result(one.name, seconds, loads, status, *_counts(report), why=why)

    def stop(self) -> None:
        """Interrupt what runs; nothing new starts."""
        with self._lock:
            self._stopped = True
            for child in self._running:
                child.send_signal(signal.SIGINT)

    def _suite(self, one: Round, targets: Path, report: Path) -> int:
        command = [
            *(sys.executable, "-m", "pytest", "tests/device", "-p", "no:cacheprovider"),
            *("-m", "not long"),
            *("--target", one.name, "--serial", one.serial, "--targets-file", str(targets)),
            *("--junit-xml", str(report), "-o", "console_output_style=classic", "--color=no"),
            *self._arguments,
        ]
        with self._lock:
            if self._stopped:
                return 1
            child = subprocess.Popen(
                command,
                cwd=self._root,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                start_new_session=True,  # a terminal's Ctrl-C comes to it through stop()
            )
            self._running.add(child)
        try:
            assert child.stdout is not None
            with child.stdout:
                for line in child.stdout:
                    say(f"{one.name}: {line.rstrip()}")
            return child.wait(_END_SECONDS)
        finally:
            with self._lock:
                self._running.discard(child)
            with contextlib.suppress(ProcessLookupError):
                child.kill()
            child.wait()


def _counts(report: Path) -> tuple[int, int, int, int]:
    """Tests, of which failed, skipped, failed as expected, from pytest's own report."""
    try:
        suite = next(ElementTree.parse(report).getroot().iter("testsuite"))  # noqa: S314 - ours
    except (OSError, ElementTree.ParseError, StopIteration):
        return 0, 0, 0, 0
    count = {key: int(suite.get(key, "0")) for key in ("tests", "failures", "errors")}
    kinds = [skip.get("type", "") for skip in suite.iter("skipped")]
    known = kinds.count("pytest.xfail")
    failed = count["failures"] + count["errors"]
    return count["tests"], failed, len(kinds) - known, known
