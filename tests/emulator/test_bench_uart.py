"""The serial device that a bench shows, between a real pty that plays the box and real readers."""

from __future__ import annotations

import contextlib
import os
import select
import stat
import threading
import tty
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import serial

from emulator.bench_uart import BenchUart
from harness.console import SerialConsole
from harness.deadline import Deadline
from harness.target import World
from harness.vitals import Vitals

SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Box:
    """The far end of the console that the device shows."""

    uart: BenchUart
    console: SerialConsole
    end: int

    def says(self, data: bytes) -> None:
        while data:
            data = data[os.write(self.end, data) :]

    def said(self, count: int) -> None:
        """Until that much was recorded."""
        offset, by = 0, Deadline.after(SECONDS)
        while offset < count:
            offset, _ = self.console.follow(offset, by=by)

    def hears(self) -> bytes:
        assert select.select([self.end], [], [], SECONDS)[0]
        return os.read(self.end, 4096)


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    end, far = os.openpty()
    tty.setraw(far)
    console = SerialConsole(World.NORMAL, Vitals("the box"))
    console.attach(os.ttyname(far))
    os.close(far)
    uart = BenchUart(tmp_path / "uart", console)
    yield Box(uart, console, end)
    uart.close()
    console.close()
    os.close(end)


@contextlib.contextmanager
def reader(box: Box) -> Iterator[serial.SerialBase]:
    port = serial.serial_for_url(str(box.uart.path), timeout=SECONDS)
    try:
        yield port
    finally:
        port.close()


def soon_first(box: Box) -> bytes:
    """What new readers get first: what the box says now, as soon as the device is idle."""
    by, first = Deadline.after(SECONDS), b""
    while first != b"fresh-" and not by.expired:
        with reader(box) as port:
            box.says(b"fresh-")
            first = port.read(6)
    return first


def test_the_device_is_a_terminal_that_a_path_leads_to(box: Box) -> None:
    assert stat.S_ISCHR(box.uart.path.stat().st_mode)


def test_what_the_box_says_is_read_and_what_is_typed_reaches_it(box: Box) -> None:
    with reader(box) as port:
        box.says(b"login: \xff\x00\r\n\x03\x11\x13")
        assert port.read(14) == b"login: \xff\x00\r\n\x03\x11\x13"

        port.write(b"root\r\x03\x1a\x11")
        assert box.hears() == b"root\r\x03\x1a\x11"


def test_what_nobody_reads_does_not_stop_the_box_and_is_not_kept(box: Box) -> None:
    box.says(b"unread" * 40_000)  # far more than a pty holds

    assert soon_first(box) == b"fresh-"


def test_readers_come_and_go_on_the_same_device(box: Box) -> None:
    for turn in (b"first", b"second", b"third"):
        with reader(box) as port:
            box.says(turn)
            assert port.read_until(turn).endswith(turn)
        box.says(b"between")


def test_a_slow_reader_loses_nothing(box: Box) -> None:
    everything = b"".join(b"%07d\n" % number for number in range(64 * 1024))
    with reader(box) as port:
        writing = threading.Thread(target=box.says, args=(everything,))
        writing.start()
        writing.join()  # nothing was read yet, and the box has said it all
        box.said(len(everything))

        assert port.read(len(everything)) == everything


def test_what_waits_for_a_slow_reader_goes_when_it_leaves(box: Box) -> None:
    with reader(box) as port:
        box.says(b"flood-" * 1_000_000)
        assert port.read(6) == b"flood-"

    assert soon_first(box) == b"fresh-"


def test_a_box_without_power_takes_keys_and_does_nothing_with_them(box: Box) -> None:
    with reader(box) as port:
        box.console.detach()
        port.write(b"into the void")

        far_box, far = os.openpty()
        tty.setraw(far)
        box.console.attach(os.ttyname(far))
        os.close(far)
        port.write(b"heard")
        said = b""
        while not said.endswith(b"heard"):
            assert select.select([far_box], [], [], SECONDS)[0]
            said += os.read(far_box, 100)
        os.close(far_box)


def test_a_closed_device_is_gone(box: Box) -> None:
    box.uart.close()

    assert not box.uart.path.is_symlink()
