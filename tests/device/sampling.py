"""Command lines and environments of all processes, here and on the box, sampled all the time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from harness.deadline import Deadline
from provisioning.trustbox import TrustBox

_EVERY_SECONDS = 0.05
_FILE = "/run/sampled"
# No fork but the two that it needs; the box has one slow processor for all of this.
_LOOP = f"""\
while [ ! -e {_FILE}.end ]; do
  cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ >>{_FILE} 2>/dev/null
  sleep 0.2
done
"""


@dataclass(slots=True)
class Samples:
    """Complete when the block has ended."""

    here: set[bytes] = field(default_factory=set)
    there: bytes = b""

    @property
    def all(self) -> bytes:
        return b"\n".join(self.here) + b"\n" + self.there


@contextmanager
def sampled(box: TrustBox) -> Iterator[Samples]:
    """Needs a box with streams; leaves nothing there."""
    assert box.target.streams is not None
    loop = box.target.streams.stream("sh", "-c", _LOOP, by=Deadline.after(30))
    with sampled_here() as found:
        try:
            yield found
        finally:
            by = Deadline.after(60)
            box.target.shell.run("touch", f"{_FILE}.end", by=by)
            while loop.receive(4096, by=by):  # until it has ended
                pass
            loop.close()
            found.there = box.target.shell.read(_FILE, by=by)
            box.target.shell.run("rm", "--", _FILE, f"{_FILE}.end", by=by)


@contextmanager
def sampled_here() -> Iterator[Samples]:
    """This host alone."""
    found, ended = Samples(), threading.Event()
    thread = threading.Thread(target=_here, args=(found.here, ended), daemon=True)
    thread.start()
    try:
        yield found
    finally:
        ended.set()
        thread.join()


def _here(found: set[bytes], ended: threading.Event) -> None:
    while not ended.wait(_EVERY_SECONDS):
        for process in Path("/proc").glob("[0-9]*"):
            for name in ("cmdline", "environ"):
                with suppress(OSError):  # it ended, or is somebody else's
                    found.add((process / name).read_bytes())
