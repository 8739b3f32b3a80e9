"""A bench's serial lines: attached as long as the bench is held, over power cycles and lost cables.

A UART that is fed by the box goes away with its power and comes back: so lines that ended are
attached again when power is given.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Mapping

import tenacity

from harness.config_bench import BenchConfig
from harness.console import SerialConsole
from harness.deadline import Deadline
from harness.errors import LinkLost, Unreachable
from harness.shown import printable
from harness.target import World

_LONGEST = 120


class Lines:
    """The consoles of one bench, by world."""

    def __init__(self, consoles: Mapping[World, SerialConsole], config: BenchConfig) -> None:
        self.consoles = consoles
        self._config = config

    @property
    def main(self) -> SerialConsole:
        """The normal world's: where a boot is seen and a getty listens."""
        return self.consoles[World.NORMAL]

    def attach(self, *, by: Deadline) -> None:
        """Open each line that is not open. Raises Unreachable when one cannot be in time."""
        self._attach(tuple(self.consoles), by)

    def _attach_remote(self, by: Deadline) -> None:
        """A server keeps its end of a line when a box goes off; a UART that the box feeds does
        not."""
        self._attach(tuple(w for w in self.consoles if "://" in self._config.uarts[w]), by)

    def _attach(self, worlds: tuple[World, ...], by: Deadline) -> None:
        for world in worlds:
            console = self.consoles[world]
            if console.attached:
                continue
            for attempt in tenacity.Retrying(
                stop=lambda state: by.expired,
                wait=tenacity.wait_fixed(0.5),
                retry=tenacity.retry_if_exception_type(Unreachable),
                reraise=True,
            ):
                with attempt:
                    console.attach(self._config.uarts[world], baudrate=self._config.speed)

    def attach_if_there(self, *, by: Deadline) -> None:
        """As ``attach``, but a line that cannot be opened is no error: ``ended`` tells it."""
        with contextlib.suppress(Unreachable):
            self.attach(by=by)

    @property
    def ended(self) -> tuple[str, ...]:
        """What nobody listens to now: lines that ended, or never could be opened."""
        return tuple(
            self._config.uarts[world] for world, one in self.consoles.items() if not one.attached
        )

    def begin(self, at: float) -> None:
        """A new life of the box began at ``at`` (monotonic seconds): see ``Console.began``."""
        for console in self.consoles.values():
            console.begin(at)

    def mark(self) -> int:
        """This moment in the normal world's record, for ``boot_text``."""
        return self.main.recorded

    def boot_text(self, mark: int) -> str:
        """The first line after ``mark`` that only a boot prints; empty when there is none."""
        markers = [marker.encode() for marker in self._config.boot_markers]
        for line in self._since(mark).splitlines():
            if any(marker in line for marker in markers):
                return printable(line.decode(errors="replace")).strip()[:_LONGEST]
        return ""

    def fall_silent(self, seconds: float, *, by: Deadline) -> str:
        """Wait until a key brings no byte on any console within ``seconds``; a living box echoes.

        Returns "", or the last words when time is up before. A device whose line ended counts as
        silent: the box may feed it, see ``ended``. A server's line is opened again to be heard;
        raises Unreachable when that cannot be in time.
        """
        while True:
            self._attach_remote(by)
            heard, quiet = self._counts(), Deadline.after(seconds)
            with contextlib.suppress(LinkLost):
                self.main.send(b"\r")
            while self._counts() == heard:
                if quiet.expired:
                    return ""
                threading.Event().wait(0.05)
            if by.expired:
                return self._last()
            # What has begun to be said ends before the next key: one answer is not taken for two.
            threading.Event().wait(max(0.0, quiet.at - time.monotonic()))

    def detach(self) -> None:
        """Nothing is sent there any more; ``attach`` opens them again."""
        for console in self.consoles.values():
            console.detach()

    def close(self) -> None:
        """For good; the records can still be read."""
        for console in self.consoles.values():
            console.close()

    def _counts(self) -> tuple[int, ...]:
        return tuple(console.recorded for console in self.consoles.values())

    def _since(self, mark: int) -> bytes:
        if self.main.recorded <= mark:
            return b""
        return self.main.follow(mark, by=Deadline.after(1.0))[1]

    def _last(self) -> str:
        lines = self.main.lines()
        return lines[-1].text[-_LONGEST:] if lines else ""
