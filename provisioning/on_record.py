"""Around what cannot be undone on a box: an intent before, its end after, and what becomes of the
certificates of keys that are gone. All of it in the box's journal, whoever does it.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from harness.deadline import Deadline
from harness.errors import TrustBoxError
from provisioning.journal import Begun, Journal, unended
from provisioning.lost_keys import Going, Outliving, outliving, put_on_list
from provisioning.station import Station, alone_with


@dataclass(slots=True)
class Effect:
    """``said`` is what was done, set by who did it; ``gone`` the keys that are gone then, with
    those of earlier attempts; ``left`` their certificates, once it is done.
    """

    said: str = ""
    gone: Going = field(default_factory=Going)
    left: Outliving = field(default_factory=Outliving)


def journal_of(station: Station, serial: str) -> Path:
    return station.records(serial) / "journal.jsonl"


@contextmanager
def on_record(
    station: Station,
    serial: str,
    step: str,
    doing: str,
    *,
    gone: Going | None = None,
    still: Callable[[], Collection[str]] = lambda: (),
    by: Deadline,
) -> Iterator[Effect]:
    """The block is not entered before its intent is on the disk. ``step`` names the command and
    what it is done to, so that the same command ends an attempt that was cut.

    Certificates of ``gone`` are put on the CA's list when the block ended well, but for those of
    keys that are ``still`` there then (SHA-256 of each). Raises Misuse when somebody else works on
    that box or the record cannot be written, DiskFailed; and what the block raises, which is on the
    record then.
    """
    place = journal_of(station, serial)
    run = secrets.token_hex(8)
    with alone_with(place.parent, serial), Journal(place, run) as journal:
        effect = Effect(gone=gone or Going())
        for earlier in attempts(station, serial, step):
            effect.gone = effect.gone.and_of(earlier.facts)
        attempt = journal.begin(step, doing, effect.gone.facts if effect.gone.keys else None)
        try:
            yield effect
            effect.gone = effect.gone.without(still() if effect.gone.keys else ())
            effect.left = outliving(station, effect.gone)
            put_on_list(station, effect.left, f"{step}: its key is gone (run {run})", by=by)
        except BaseException as problem:
            # Class and sentence: errors carry no secrets.
            kind = type(problem).__name__
            with suppress(TrustBoxError):
                attempt.failed(f"{kind}: {problem}" if isinstance(problem, TrustBoxError) else kind)
            raise
        attempt.done(effect.said or doing, effect.left.facts if effect.gone.keys else None)


def attempts(station: Station, serial: str, step: str) -> tuple[Begun, ...]:
    """Those of this very step that nobody brought to an end."""
    found = unended(journal_of(station, serial), failed=True)
    return tuple(one for one in found if one.step == step)
