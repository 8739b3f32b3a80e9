"""A box that a station provisioned while everything that could show a secret was watched."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from fixtures.evidence import sections
from harness.deadline import Deadline
from harness.errors import TokenRefused
from harness.secret import Secret
from harness.wire import TRAFFIC
from provisioning.plan import Plan, example_plan, parse_plan
from provisioning.record import load
from provisioning.report import as_data, as_text
from provisioning.run import Provisioned, provision
from provisioning.station import Station
from provisioning.trustbox import TrustBox
from tests.device.sampling import Samples, sampled

SO, USER = "so-pin-51733917", "user-pin-80264411"
_GENERATE = '"generate"\n'


@dataclass(frozen=True, slots=True)
class Watched:
    """``run`` is the box's first one; ``record`` and ``written`` (all files in the record's
    directory, together) are as that run left them. ``told`` is what reports, log and errors said.
    """

    station: Station
    plan: Plan
    run: Provisioned
    record: dict[str, object]
    written: bytes
    told: str
    levels: frozenset[int]
    """Of the log's records."""
    seen: Samples


def provision_watched(box: TrustBox, place: Path) -> Watched:
    """The whole example plan, with planted PINs. ``place`` is an empty directory."""
    pins = place / "pins.toml"
    pins.touch(mode=0o600)
    pins.write_text(f'so_pin = "{SO}"\nuser_pin = "{USER}"\n')
    text = example_plan()
    assert _GENERATE in text
    plan = parse_plan(
        text.replace(_GENERATE, f'"{pins}"\n').encode(), where="plan.toml", beside=Path("/")
    )
    station = Station(place / "station")
    with everything_logged() as records, sampled(box) as seen:
        run = provision(box.target, plan, station)
        with (
            TrustBox(box.target) as again,
            pytest.raises(TokenRefused) as refusal,
        ):
            again.keys.login("trustbox", Secret(f"{USER}-wrong".encode()), by=Deadline.after(30))
    with TrustBox(box.target) as again:  # so that no wrong PIN counts any more
        again.keys.login("trustbox", Secret(USER.encode()), by=Deadline.after(30))
    record = load(run.directory / "record.json")
    assert record is not None
    lines = logging.Formatter("%(levelname)s %(name)s %(message)s")
    told = (
        *(lines.format(one) for one in records),
        repr([one.args for one in records]),
        f"{refusal.value!r} {refusal.value.__dict__} {refusal.value.__context__!r}",
        repr(sections([box.target], since=0)),
        as_text(run),
        json.dumps(as_data(run)),
        *(str(entry) for entry in box.target.history.since(0)),
    )
    return Watched(
        station=station,
        plan=plan,
        run=run,
        record=record,
        written=b"".join(f.read_bytes() for f in run.directory.rglob("*") if f.is_file()),
        told="\n".join(told),
        levels=frozenset(one.levelno for one in records),
        seen=seen,
    )


@contextmanager
def everything_logged() -> Iterator[list[logging.LogRecord]]:
    """Every record of every logger, that of the harness's traffic included."""
    keeper = _Keeper()
    loggers = [(logging.getLogger(), 1), (logging.getLogger("harness"), TRAFFIC)]
    before = [logger.level for logger, _ in loggers]
    for logger, level in loggers:
        logger.setLevel(level)
    logging.getLogger().addHandler(keeper)
    try:
        yield keeper.records
    finally:
        logging.getLogger().removeHandler(keeper)
        for (logger, _), level in zip(loggers, before, strict=True):
            logger.setLevel(level)


class _Keeper(logging.Handler):
    def __init__(self) -> None:
        super().__init__(level=1)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)
