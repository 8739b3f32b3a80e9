"""In which order this suite runs: few restores, and no worker idle for the image or the last test.

In each file the tests that only read from the shared box come before those that get a pristine one:
after one of the latter the box would have to be restored for each of the former.

A new machine has no image yet, and building it takes minutes. So one worker starts with the tests
of a box that asked for the most time, which build it, while the others run what needs no box. Of
both kinds those come first that asked for more time than usual: a long one that begins last would
leave the other workers without work. Within each of these groups the order stays random.
"""

from __future__ import annotations

import os
import signal
from itertools import groupby

import pytest
from hypothesis import HealthCheck, settings

NO_BOX = ("tests/unit/", "tests/links/")
USUAL_SECONDS = 120.0
"""``timeout`` in pyproject.toml."""


@pytest.hookimpl(tryfirst=True)
def pytest_configure() -> None:
    """Hypothesis judges what it sees, not how fast a busy machine was: pytest-timeout ends what
    hangs. Before test modules are imported: their own ``settings`` begin from this profile.

    A shell's ``&`` and ``nohup`` have SIGINT ignored, and every program below inherits that: a
    test of Ctrl-C would then see nothing end. Workers come here as well.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.register_profile("suite", patient)
    settings.load_profile("suite")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """After pytest-randomly and ``-m``."""
    items[:] = reading_first(items)
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    if workers > 1:
        items[:] = ordered(items, workers)


def reading_first(items: list[pytest.Item]) -> list[pytest.Item]:
    """Within each file; files stay where they are."""
    return [
        item
        for _, file in groupby(items, key=lambda item: item.path)
        for item in sorted(file, key=lambda item: "box" in getattr(item, "fixturenames", ()))
    ]


def ordered(items: list[pytest.Item], workers: int) -> list[pytest.Item]:
    """One piece for each worker after the other, as ``--dist worksteal`` cuts them.

    Neighbours stay neighbours where they can: tests of one file may share a box.
    """
    items = sorted(items, key=lambda item: -seconds(item))
    boxless = [item for item in items if item.nodeid.startswith(NO_BOX)]
    boxed = [item for item in items if not item.nodeid.startswith(NO_BOX)]
    builds = [item for item in boxed if item.path == boxed[0].path]
    others = [item for item in boxed if item.path != boxed[0].path]
    long = [item for item in others if seconds(item) > USUAL_SECONDS]
    usual = others[len(long) :]
    pieces: list[list[pytest.Item]] = [builds, *([] for _ in range(workers - 1))]
    sizes = [len(items) * (n + 1) // workers - len(items) * n // workers for n in range(workers)]
    for group, takers in ((boxless, range(1, workers)), (long, range(workers))):
        share = -(-len(group) // len(takers))
        for number in takers:
            _move(group, pieces[number], min(share, sizes[number] - len(pieces[number])))
    for piece, size in zip(pieces, sizes, strict=True):
        for group in (boxless, long, usual):
            _move(group, piece, size - len(piece))
    return [item for piece in pieces for item in piece]


def _move(group: list[pytest.Item], piece: list[pytest.Item], most: int) -> None:
    piece += group[: max(0, most)]
    del group[: max(0, most)]


def seconds(item: pytest.Item) -> float:
    """How long the test may take; what asks for less than usual is like the others."""
    marker = item.get_closest_marker("timeout")
    asked = float(marker.args[0]) if marker and marker.args else USUAL_SECONDS
    return max(asked, USUAL_SECONDS)
