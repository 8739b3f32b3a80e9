"""Stages of a boot, recognised and timed from what the UARTs said. Pure.

::

    lines of both UARTs, merged by time --> split into boots --> stages, findings, where it stopped

What the box prints is not trusted: lines and quotes are bounded, each line is searched alone.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from operator import attrgetter

from harness.boot_findings import Finding, findings, quote
from harness.boot_markers import MARKERS, Chain, Marker, Stage
from harness.target import ConsoleLine

MOST_TEXT = 1024
"""Characters of a line that are searched."""
AT_ONCE = 0.02
"""Seconds: a whole boot within these was handed over as one piece, so its times say nothing."""

_OLD_PROMPT = re.compile(r"^[\w.-]{1,64} login: ?", re.ASCII)


@dataclass(frozen=True, slots=True)
class StageSeen:
    """A stage that began: seconds since the boot's origin, how long it lasted, and its first line.

    ``since`` and ``seconds`` are None when the record has no times; ``seconds`` is None as well
    for the last stage, whose end nobody sees.
    """

    stage: Stage
    since: float | None
    seconds: float | None
    line: str


@dataclass(frozen=True, slots=True)
class Boot:
    """One boot. ``origin`` is what its times count from: ``power-on`` or ``first line``."""

    chain: Chain
    origin: str
    stages: tuple[StageSeen, ...]
    findings: tuple[Finding, ...]
    reached: Stage | None
    """The stage whose sign came last: not always the last to begin."""
    last_line: str
    """The last line that is not empty, printable and bounded; empty when nothing was said."""
    seconds: float | None
    """From the origin to the last line that is not empty."""

    @property
    def complete(self) -> bool:
        """Somebody could log in."""
        return any(seen.stage is Stage.READY for seen in self.stages)

    @property
    def stopped(self) -> str | None:
        """Where a boot that is not complete stands, in one sentence; None when it is complete."""
        if self.complete:
            return None
        if self.reached is None:
            said = f"only {self.last_line!r}" if self.last_line else "nothing"
            return f"no stage of the boot was recognised; the consoles said {said}"
        after = "" if self.seconds is None else f" {self.seconds:.2f} s after {self.origin}"
        return f"the boot stands in {self.reached.value}; its last line{after}: {self.last_line!r}"

    def to_dict(self) -> dict[str, object]:
        """For JSON; times in seconds, rounded to the millisecond."""
        return {
            "chain": self.chain.value,
            "origin": self.origin,
            "complete": self.complete,
            "stopped": self.stopped,
            "seconds": _rounded(self.seconds),
            "stages": [
                {
                    "stage": seen.stage.name.lower(),
                    "name": seen.stage.value,
                    "since": _rounded(seen.since),
                    "seconds": _rounded(seen.seconds),
                    "line": seen.line,
                }
                for seen in self.stages
            ],
            "findings": [
                {
                    "name": found.name,
                    "weight": found.weight.value,
                    "meaning": found.meaning,
                    "line": found.line,
                    "count": found.count,
                }
                for found in self.findings
            ],
        }


def merged(*uarts: Iterable[ConsoleLine]) -> list[ConsoleLine]:
    """Lines of several UARTs in the order of their times."""
    return list(heapq.merge(*uarts, key=attrgetter("at")))


def boots(lines: Iterable[ConsoleLine], *, own: Sequence[Marker] = ()) -> list[Boot]:
    """Every boot in ``lines``, oldest first; what came before the first one's first stage counts.

    Times count from each boot's first line: a record does not tell when power came.
    """
    markers = (*own, *MARKERS)
    return [_boot(part, None, markers) for part in _split(lines, markers)]


def boot_since(
    uarts: Iterable[Iterable[ConsoleLine]], power_on: float, *, own: Sequence[Marker] = ()
) -> Boot:
    """The boot that power at ``power_on`` (monotonic seconds) began; earlier lines are left out.

    Give what each UART's ``lines(since=power_on)`` returned. A box that restarts by itself in
    between shows its last start, still timed from power-on.
    """
    markers = (*own, *MARKERS)
    lines = merged(*(_after(uart, power_on) for uart in uarts))
    parts = list(_split(lines, markers))
    return _boot(parts[-1] if parts else [], power_on, markers)


def _after(lines: Iterable[ConsoleLine], power_on: float) -> list[ConsoleLine]:
    """Without what came before; but a prompt that stood there when power came has the new boot's
    first words behind it, which came no later than the next line."""
    kept = list(lines)
    late = [line for line in kept if line.at >= power_on]
    if len(kept) - len(late) != 1:
        return late
    text = _OLD_PROMPT.sub("", kept[0].text)
    return [ConsoleLine(late[0].at if late else power_on, text), *late]


def _split(lines: Iterable[ConsoleLine], markers: Sequence[Marker]) -> Iterable[list[ConsoleLine]]:
    part: list[ConsoleLine] = []
    greeted: set[Marker] = set()
    ranks: set[int] = set()
    for line in lines:
        marker = _marker(line.text, markers)
        if marker is not None:
            if marker.greeting and not ranks:
                part = []  # the tail of an earlier life, or noise
            elif ranks and _begins_another(marker, marker in greeted, ranks):
                yield part
                part, greeted, ranks = [], set(), set()
            if marker.greeting:
                greeted.add(marker)
            ranks.add(marker.stage.rank)
        part.append(line)
    if ranks or any(line.text.strip() for line in part):
        yield part


def _begins_another(marker: Marker, again: bool, ranks: set[int]) -> bool:
    """Only the earliest stage that a box shows can: U-Boot's greeting may be its ``version``."""
    rank = marker.stage.rank
    if rank == Stage.FIRST.rank < max(ranks):
        return True
    return (
        marker.greeting and rank <= min(ranks) and (again or max(ranks) >= Stage.KERNEL.rank > rank)
    )


def _boot(lines: list[ConsoleLine], power_on: float | None, markers: Sequence[Marker]) -> Boot:
    began: dict[Stage, ConsoleLine] = {}
    reached: Stage | None = None
    chain = Chain.UNKNOWN
    for line in lines:
        marker = _marker(line.text, markers)
        if marker is None:
            continue
        began.setdefault(marker.stage, line)
        reached = marker.stage
        if chain is Chain.UNKNOWN:
            chain = marker.chain
    said = [line for line in lines if line.text.strip()]
    origin = power_on if power_on is not None else said[0].at if said else 0.0
    timed = power_on is not None or _is_timed(said)
    return Boot(
        chain=chain,
        origin="first line" if power_on is None else "power-on",
        stages=_stages(began, origin) if timed else _untimed(began),
        findings=findings(said),
        reached=reached,
        last_line=quote(said[-1].text) if said else "",
        seconds=said[-1].at - origin if said and timed else None,
    )


def _is_timed(said: Sequence[ConsoleLine]) -> bool:
    return len(said) < 2 or said[-1].at - said[0].at > AT_ONCE


def _stages(began: dict[Stage, ConsoleLine], origin: float) -> tuple[StageSeen, ...]:
    order = sorted(began, key=lambda stage: (began[stage].at, stage.rank))
    ends: list[float | None] = [began[stage].at for stage in order[1:]]
    return tuple(
        StageSeen(
            stage,
            began[stage].at - origin,
            None if end is None else end - began[stage].at,
            quote(began[stage].text),
        )
        for stage, end in zip(order, [*ends, None], strict=False)
    )


def _untimed(began: dict[Stage, ConsoleLine]) -> tuple[StageSeen, ...]:
    order = sorted(began, key=lambda stage: stage.rank)
    return tuple(StageSeen(stage, None, None, quote(began[stage].text)) for stage in order)


def _marker(text: str, markers: Sequence[Marker]) -> Marker | None:
    searched = text[:MOST_TEXT]
    return next((marker for marker in markers if marker.pattern.search(searched)), None)


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)
