"""A console attached to a pty; the test plays the box."""

from __future__ import annotations

import contextlib
import os
import tty
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from harness.console import SerialConsole
from harness.deadline import Deadline
from harness.target import World
from harness.vitals import Vitals


@dataclass(frozen=True, slots=True)
class Uart:
    """A console attached to a pty, and the descriptor that plays the box."""

    console: SerialConsole
    vitals: Vitals
    box: int

    def says(self, data: bytes) -> None:
        while data:
            data = data[os.write(self.box, data) :]

    def replug(self) -> Uart:
        box, far = os.openpty()
        tty.setraw(far)
        self.console.attach(os.ttyname(far))
        os.close(far)
        return Uart(self.console, self.vitals, box)


@pytest.fixture
def uart() -> Iterator[Uart]:
    vitals = Vitals("the box")
    console = SerialConsole(World.NORMAL, vitals)
    held = Uart(console, vitals, -1).replug()
    yield held
    console.close()
    with contextlib.suppress(OSError):
        os.close(held.box)


def soon() -> Deadline:
    return Deadline.after(10)
