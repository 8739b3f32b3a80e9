"""The recorded console against a real pty: the test holds the box's end."""

from __future__ import annotations

import os
import re
import socket
import threading

import pytest

from harness.console import SerialConsole
from harness.deadline import Deadline
from harness.errors import BoxDied, DeadlineExpired, LinkLost, Unreachable
from harness.recording import Recording
from harness.target import World
from harness.vitals import Vitals
from tests.links.uart_end import Uart, soon


def test_expect_returns_the_match(uart: Uart) -> None:
    uart.says(b"U-Boot 2025.01\r\nlogin: ")

    match = uart.console.expect(re.compile(rb"U-Boot (\S+)"), by=soon())

    assert match[1] == b"2025.01"


def test_expect_waits_for_bytes_that_come_later(uart: Uart) -> None:
    later = threading.Timer(0.1, uart.says, [b"at last\n"])
    later.start()

    assert uart.console.expect(re.compile(rb"at \w+"), by=soon())[0] == b"at last"
    later.join()


def test_a_match_is_not_found_twice(uart: Uart) -> None:
    uart.says(b"ready 1\nready 2\n")

    found = [uart.console.expect(re.compile(rb"ready \d"), by=soon())[0] for _ in range(2)]

    assert found == [b"ready 1", b"ready 2"]
    with pytest.raises(DeadlineExpired, match="normal world's console"):
        uart.console.expect(re.compile(rb"ready"), by=Deadline.after(0.05))


def test_a_match_may_span_two_deliveries(uart: Uart) -> None:
    uart.says(b"Kernel com")
    with pytest.raises(DeadlineExpired):
        uart.console.expect(re.compile(rb"command"), by=Deadline.after(0.05))
    uart.says(b"mand line\n")

    assert uart.console.expect(re.compile(rb"command"), by=soon())


@pytest.mark.parametrize(
    "line",
    [
        b"[    1.2] Kernel panic - not syncing: VFS: Unable to mount root fs",
        b"E/TC:0 0 Panic 'unexpected' at core/kernel/x.c:12 <f>",
        b"E/TC:? 0 assertion 'x' failed at core/kernel/x.c:12 <f>",
        b"PANIC in EL3.",
        b"Unhandled Exception from EL3.",
        b"ERROR:   BL2: Failed to load image id 21 (-80)",
    ],
    ids=["linux", "optee-panic", "optee-assertion", "tf-a", "tf-a-from", "bl2"],
)
def test_a_panic_ends_the_wait_and_is_quoted(uart: Uart, line: bytes) -> None:
    uart.says(b"before\r\n" + line + b"\r\nafter\r\n")

    with pytest.raises(BoxDied, match=re.escape(line.decode())) as caught:
        uart.console.expect(re.compile(rb"never"), by=soon())
    assert caught.value.line == line.decode()


@pytest.mark.parametrize(
    "line",
    [
        b"E/TC:? 0 TA panicked with code 0xffff000f",
        b"E/TC:? 0 ldelf_init_with_ldelf:148 ldelf panicked",
        b"E/TA:  Panic 'in the TA only'",
        b"Kernel command line: panic=5 oops=panic",
    ],
)
def test_a_panic_in_a_trusted_application_is_not_the_death_of_the_box(
    uart: Uart, line: bytes
) -> None:
    uart.says(line + b"\r\nstill here\r\n")
    uart.console.expect(re.compile(rb"still here"), by=soon())

    assert uart.vitals.cause is None


def test_a_panic_line_that_came_in_pieces_is_quoted_whole(uart: Uart) -> None:
    uart.says(b"[    1.2] Kernel panic - not ")
    uart.says(b"syncing: Attempted to ")
    uart.says(b"kill init!\n")

    with pytest.raises(BoxDied, match="Attempted to kill init!"):
        uart.console.expect(re.compile(rb"never"), by=soon())


def test_a_death_seen_by_somebody_else_ends_the_wait(uart: Uart) -> None:
    dies = threading.Timer(0.1, uart.vitals.report_death, ["QEMU exited with status 1"])
    dies.start()

    with pytest.raises(BoxDied, match="QEMU exited"):
        uart.console.expect(re.compile(rb"never"), by=soon())
    dies.join()


def test_what_came_before_the_death_is_still_found(uart: Uart) -> None:
    uart.says(b"last words\n")
    uart.console.expect(re.compile(rb"last"), by=soon())
    uart.vitals.report_death("QEMU exited with status 1")

    assert uart.console.expect(re.compile(rb"words"), by=soon())


def test_a_line_that_ends_by_itself_is_a_lost_link(uart: Uart) -> None:
    os.close(uart.box)

    with pytest.raises(LinkLost, match="never"):
        uart.console.expect(re.compile(rb"never"), by=soon())


def test_the_record_goes_on_over_power_cycles(uart: Uart) -> None:
    uart.says(b"first life\n")
    uart.console.expect(re.compile(rb"life"), by=soon())
    uart.console.detach()
    second = uart.replug()
    second.says(b"second life\n")
    second.console.expect(re.compile(rb"life"), by=soon())
    os.close(second.box)

    assert uart.console.transcript() == b"first life\nsecond life\n"


def test_detach_takes_what_still_waits(uart: Uart) -> None:
    uart.says(b"x" * 3000)
    uart.console.detach()

    assert uart.console.transcript() == b"x" * 3000


def test_foreign_bytes_are_recorded_exactly_and_shown_harmlessly(uart: Uart) -> None:
    noise = bytes(range(256)).replace(b"\n", b"") + b"\n"
    uart.says(noise)
    uart.console.expect(re.compile(rb"\n"), by=soon())

    assert uart.console.transcript() == noise
    assert uart.console.lines()[0].text.isprintable() or "\t" in uart.console.lines()[0].text
    assert "\x1b" not in uart.console.lines()[0].text


def test_a_line_that_goes_on_after_the_mark_counts(uart: Uart) -> None:
    uart.says(b"one\r\ntwo\r\nthr")
    uart.console.expect(re.compile(rb"thr"), by=soon())
    mark = Deadline.after(0).at
    uart.says(b"ee\r\nfour\r\n")
    uart.console.expect(re.compile(rb"four\r\n"), by=soon())

    assert [line.text for line in uart.console.lines()] == ["one", "two", "three", "four"]
    assert [line.text for line in uart.console.lines(since=mark)] == ["three", "four"]
    assert uart.console.lines(since=mark)[0].at < mark


def test_a_flood_is_recorded_without_loss(uart: Uart) -> None:
    flood = b"".join(b"%07d\n" % n for n in range(131072))
    sender = threading.Thread(target=uart.says, args=(flood + b"END",))
    sender.start()
    uart.console.expect(re.compile(rb"END"), by=Deadline.after(30))
    sender.join()

    assert uart.console.transcript() == flood + b"END"


def test_send_reaches_the_box(uart: Uart) -> None:
    uart.console.send(b"help\n")

    assert os.read(uart.box, 100) == b"help\n"


def test_send_without_a_line_is_refused(uart: Uart) -> None:
    uart.console.detach()

    with pytest.raises(LinkLost, match="not attached"):
        uart.console.send(b"anybody?")


def test_a_line_that_is_not_there_cannot_be_attached(uart: Uart) -> None:
    with pytest.raises(Unreachable, match="/dev/no-such-uart"):
        uart.console.attach("/dev/no-such-uart")


def test_a_tcp_console_is_taken_in_chunks() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        console = SerialConsole(World.SECURE, Vitals("the box"))
        console.attach(f"socket://127.0.0.1:{server.getsockname()[1]}")
        box, _ = server.accept()
        box.sendall(b"y" * 1_000_000 + b"END")
        console.expect(re.compile(rb"END"), by=soon())
        console.close()
        box.close()

    assert len(console.transcript()) == 1_000_003


def test_old_bytes_are_dropped_and_it_says_so() -> None:
    recording = Recording(most_bytes=10)
    recording.append(b"first\nsecond\nthird\n")

    assert recording.transcript() == b"[9 older bytes were dropped]\nond\nthird\n"
    texts = [line.text for line in recording.lines(0)]
    assert texts == ["[9 older bytes were dropped]", "ond", "third"]


def test_a_flood_of_empty_lines_stays_bounded() -> None:
    recording = Recording(most_lines=3)
    recording.append(b"\n" * 1000)

    assert recording.transcript() == b"[997 older bytes were dropped]\n\n\n\n"
    assert len(recording.lines(0)) == 4
