"""A box held in U-Boot: power it, catch its autoboot, and let it go on afterwards.

Giving power waits until the box is up, so it runs in a thread of its own while U-Boot is held.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from harness.deadline import Deadline
from harness.errors import TrustBoxError
from harness.target import Console, Rig
from harness.uboot import PROMPT, UBoot

_CATCH_SECONDS = 120.0
_GOES_ON_SECONDS = 10.0


@contextmanager
def held_in_uboot(
    rig: Rig,
    console: Console,
    *,
    by: Deadline,
    prompt: bytes = PROMPT,
    stop_key: bytes = b" ",
) -> Iterator[UBoot]:
    """Power-cycle the box and yield its U-Boot; on leaving the box boots on, until it is up.

    Only U-Boot is to be asked inside: nothing else of the box is there. Raises what ``Rig.on``
    and ``UBoot.catch`` raise. When U-Boot was not caught the box was left to boot by itself.
    """
    rig.off()
    uboot = UBoot(console, prompt=prompt, stop_key=stop_key)
    power = _Powering(lambda: rig.on(by=by))
    try:
        uboot.catch(by=by.sooner(_CATCH_SECONDS), check=power.check)
        try:
            yield uboot
        finally:
            power.go_on(lambda: uboot.boot(by=Deadline.after(_GOES_ON_SECONDS)))
    finally:
        power.join()
    power.check()


class _Powering:
    """``on`` in a thread; its error is kept until somebody asks."""

    def __init__(self, on: Callable[[], None]) -> None:
        self._on = on
        self._problem: BaseException | None = None
        self._later: TrustBoxError | None = None
        self._thread = threading.Thread(target=self._run, name="power-on", daemon=True)
        self._thread.start()

    def go_on(self, order: Callable[[], None]) -> None:
        """Let the box boot on; what fails is told by ``check``, after what ``on`` raised."""
        try:
            order()
        except TrustBoxError as problem:
            self._later = problem

    def join(self) -> None:
        """Wait until ``on`` has ended, which its deadline bounds."""
        self._thread.join()

    def check(self) -> None:
        """Raises what ``on`` raised, if it did."""
        problem = self._problem or self._later
        if problem is not None:
            raise problem

    def _run(self) -> None:
        try:
            self._on()
        except BaseException as problem:  # noqa: BLE001 - told by check(), whatever it was
            self._problem = problem
