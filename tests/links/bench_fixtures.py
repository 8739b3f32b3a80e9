"""A stand-in bench for one test, and the ways to open it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.links.bench import BenchBox
from tests.links.power_server import PowerServer, power_server

SERIAL = "TB-0042"


@pytest.fixture
def bench_box(tmp_path: Path) -> Iterator[BenchBox]:
    box = BenchBox(tmp_path, serial=SERIAL)
    box.open()
    yield box
    box.close()


@pytest.fixture
def pdu(bench_box: BenchBox) -> Iterator[PowerServer]:
    """Switches the box: paths end with on, off or cycle."""

    def switch(path: str) -> int:
        do = path.rpartition("/")[2]
        if do in ("off", "cycle"):
            bench_box.off()
        if do in ("on", "cycle"):
            bench_box.on()
        return 200

    with power_server(switch) as server:
        yield server


def power_line(pdu: PowerServer) -> str:
    """The ``power`` of an entry, with short times: this box has no capacitors."""
    times = "settle_seconds = 0.1, silence_seconds = 0.3, answer_seconds = 5"
    return f'{{ http = "{pdu.url}/{{action}}", {times} }}'
