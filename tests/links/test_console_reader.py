"""The console's reader and its line: beyond 1023 descriptors, with a bug, closed twice at once."""

from __future__ import annotations

import contextlib
import os
import re
import resource
import threading

import pytest

from harness.console import SerialConsole
from harness.errors import BoxDied, LinkLost
from harness.serial_line import SerialLine
from harness.target import World
from harness.vitals import Vitals
from tests.links.uart_end import Uart, soon


def test_a_line_beyond_descriptor_1023_is_recorded_and_its_panic_seen() -> None:
    """select() ends with ValueError there: the reader died, and its silence looked like "off"."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard), hard))
    with contextlib.ExitStack() as held:
        held.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        low = os.open(os.devnull, os.O_RDONLY)
        held.callback(os.close, low)
        for _ in range(1024):
            held.callback(os.close, os.dup(low))
        vitals = Vitals("the box")
        console = SerialConsole(World.NORMAL, vitals)
        far = Uart(console, vitals, -1).replug()
        held.callback(os.close, far.box)
        held.callback(console.close)
        far.says(b"U-Boot\r\nKernel panic - not syncing: test\r\n")

        assert console.expect(re.compile(rb"U-Boot"), by=soon())
        with pytest.raises(BoxDied, match="not syncing: test"):
            console.expect(re.compile(rb"never"), by=soon())


class Defective:
    """A tap with a bug."""

    def take(self, data: bytes) -> bytes:
        raise IndexError("a bug")

    def ended(self) -> bytes:
        return b""


def test_a_reader_that_failed_is_a_line_that_ended_and_no_silence(
    uart: Uart, caplog: pytest.LogCaptureFixture
) -> None:
    uart.console.tap(Defective())
    uart.says(b"U-Boot\r\n")
    with pytest.raises(LinkLost, match="the line ended"):
        uart.console.expect(re.compile(rb"U-Boot"), by=soon())

    assert not uart.console.attached
    assert "IndexError: a bug" in caplog.text


def test_two_that_detach_at_once_close_a_line_once(
    uart: Uart, monkeypatch: pytest.MonkeyPatch
) -> None:
    both, closed = threading.Barrier(2, timeout=0.3), []

    def reader_of(console: SerialConsole) -> object:
        reader = console.__dict__["_reader"]
        if reader is not None:
            with contextlib.suppress(threading.BrokenBarrierError):
                both.wait()
        return reader

    def keep(console: SerialConsole, reader: object) -> None:
        console.__dict__["_reader"] = reader

    close = SerialLine.close

    def noting(line: SerialLine) -> None:
        closed.append(line)
        close(line)

    monkeypatch.setattr(SerialConsole, "_reader", property(reader_of, keep), raising=False)
    monkeypatch.setattr(SerialLine, "close", noting)
    other = threading.Thread(target=uart.console.detach)
    other.start()
    uart.console.detach()
    other.join()

    assert len(closed) == 1


def test_a_server_that_refuses_a_break_has_taken_none(
    uart: Uart, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:  # as serial/rfc2217.py does, TelnetSubnegotiation.check_answer
        raise ValueError("remote rejected value for option 'control'")

    monkeypatch.setattr("serial.Serial.send_break", refuse)
    with pytest.raises(LinkLost, match="takes no break: remote rejected"):
        uart.console.send_break()
