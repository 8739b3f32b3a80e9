"""The station's own trouble (name server, cable, descriptors) is never held against a box."""

from __future__ import annotations

import errno
import os
import resource
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from harness.bench_answer import answers, nobody_listens
from harness.bench_lab import lab_directory, line_key
from harness.bench_opening import hold_bench
from harness.bench_owner import Owner, start_time
from harness.bench_quarantine import quarantined
from harness.bench_recovery import recover
from harness.bench_rig import BenchRig
from harness.deadline import Deadline
from harness.errors import NetworkFailed, RigError
from tests.links.bench import BenchBox
from tests.links.bench_fixtures import SERIAL, power_line
from tests.links.power_server import PowerServer

pytestmark = pytest.mark.slow

Trouble = Callable[[], None]
BOX = pytest.mark.fault(
    "Box",
    "the station's name server is gone, its own cable is out, or it has too many files open",
    comes="RigError, 8, names the station's trouble; the box is neither reset nor quarantined",
    then="mend the station's network, or raise ulimit -n, and run the command again",
)


def no_name_server(monkeypatch: pytest.MonkeyPatch, held: ExitStack) -> None:
    def look_up(*_: object, **__: object) -> list[object]:
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)


def no_cable(monkeypatch: pytest.MonkeyPatch, held: ExitStack) -> None:
    def connect(*_: object) -> None:
        raise OSError(errno.ENETUNREACH, os.strerror(errno.ENETUNREACH))

    monkeypatch.setattr(socket.socket, "connect", connect)


def no_descriptor(monkeypatch: pytest.MonkeyPatch, held: ExitStack) -> None:
    bounds = resource.getrlimit(resource.RLIMIT_NOFILE)
    held.callback(resource.setrlimit, resource.RLIMIT_NOFILE, bounds)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, bounds[1]))


@pytest.fixture(params=[no_name_server, no_cable, no_descriptor], ids=lambda kind: kind.__name__)
def trouble(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Trouble, ExitStack]]:
    """What begins it, and what ends what monkeypatch does not."""
    with ExitStack() as held:
        yield lambda: request.param(monkeypatch, held), held


@BOX
def test_the_station_s_own_trouble_climbs_no_ladder_and_leaves_no_quarantine(
    bench_box: BenchBox, pdu: PowerServer, trouble: tuple[Trouble, ExitStack]
) -> None:
    config, (begin, end) = bench_box.config(power=power_line(pdu)), trouble
    rig = hold_bench(config, serial=SERIAL, by=Deadline.after(20)).rig
    assert isinstance(rig, BenchRig)
    begin()
    believed_dead = nobody_listens(config.endpoint, by=Deadline.after(5))
    rig.vitals.examine()
    ours = r"cannot ask 127\.0\.0\.1:\d+|cannot be looked at: Too many"
    with pytest.raises(RigError, match=ours):
        recover(rig, why="it does not answer", ssh_seconds=1.0, sign_seconds=1.0)
    end.close()

    assert not believed_dead
    assert pdu.asked == []
    assert quarantined(lab_directory(config.lab_directory), [line_key(config.line)]) is None
    rig.close()


def test_a_station_that_cannot_ask_gives_no_power(
    bench_box: BenchBox,
    pdu: PowerServer,
    trouble: tuple[Trouble, ExitStack],
) -> None:
    begin, end = trouble
    endpoint = bench_box.config().endpoint
    begin()
    with pytest.raises(NetworkFailed) as told:
        answers(endpoint)
    end.close()

    assert told.value.exit_status == 8
    assert "ulimit" in told.value.diagnostics()


def test_a_box_that_refuses_is_no_trouble_of_the_station(bench_box: BenchBox) -> None:
    endpoint = bench_box.config().endpoint
    bench_box.hang()

    assert not answers(endpoint)
    assert nobody_listens(endpoint, by=Deadline.after(5))


def test_an_owner_that_cannot_be_looked_at_is_not_a_dead_one(
    bench_box: BenchBox, monkeypatch: pytest.MonkeyPatch
) -> None:
    us = Owner.here("bench-07")
    with ExitStack() as held:
        no_descriptor(monkeypatch, held)
        alive = us.alive
        with pytest.raises(OSError, match="Too many"):
            start_time(us.pid)

    assert alive is None
    assert us.alive is True
