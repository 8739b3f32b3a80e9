"""The shell over a serial line, against a real shell on a real pty."""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.console_shell import ConsoleShell
from harness.deadline import Deadline
from harness.errors import BoxDied, DeviceRefused, LinkLost
from tests.links.faulty_line import Box
from tests.shell_claims import ShellClaims


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ConsoleShell]:
    box = Box(("dash", "-i"), tmp_path_factory.mktemp("box")).on()
    yield box.shell()
    box.off()


class TestOverAConsole(ShellClaims):
    bulk = 1_000_000

    @pytest.fixture
    def shell(self, kept: ConsoleShell) -> ConsoleShell:
        return kept


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    made = Box(("dash", "-i"), tmp_path)
    made.on()
    yield made
    made.off()


def lines(count: int) -> bytes:
    return b"".join(b"%06d the quick brown fox # $ login: Password: \n" % n for n in range(count))


def test_log_lines_do_not_get_into_the_output_nor_the_output_into_the_record(
    box: Box, by: Deadline
) -> None:
    shell = box.shell()
    shell.run("true", by=by)
    wanted = lines(20_000)[:200_000]
    box.log_lines(0.002)

    logged: list[tuple[bytes, bytes]] = []
    line = rb"\[ *(\d+)\.123456\] usb 1-1: new high-speed device (\d+) # \$ \r?\n"
    while len(logged) <= 20:  # how many lines meet one command is the machine's speed
        done = shell.run("cat", stdin=wanted, by=by)
        assert done.stdout == wanted
        said = box.console.transcript()
        assert b"quick brown fox" not in said
        logged = re.findall(line, said)
    assert all(first == second for first, second in logged)
    assert shell.health().noise_lines >= len(logged)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize(("loss", "double"), [(1e-3, 0.0), (0.0, 1e-3), (5e-4, 5e-4)])
def test_lost_and_doubled_bytes_cost_time_and_no_answer(
    tmp_path: Path, loss: float, double: float
) -> None:
    by = Deadline.after(240)  # a shell that is not ours loses bytes, too, until the helper is there
    box = Box(("dash", "-i"), tmp_path, loss=loss, double=double).on()
    try:
        shell = box.shell()
        for number in range(20):
            done = shell.run("sh", "-c", f"echo value-{number}; exit 3", by=by, check=False)
            assert (done.stdout, done.status) == (b"value-%d\n" % number, 3)
        data = bytes(range(256)) * 200
        assert shell.run("cat", stdin=data, by=by).stdout == data
        health = shell.health()
        assert health.resent + health.doubled + health.gaps > 0
        assert not health.sound
    finally:
        box.off()


@pytest.mark.parametrize("echo", ["echo", "-echo"])
def test_a_shell_with_and_without_echo_is_found(box: Box, by: Deadline, echo: str) -> None:
    box.console.send(f"stty {echo}\r".encode())
    box.console.expect(re.compile(rb"# "), by=by)

    assert box.shell().run("echo", "here", by=by).text == "here"


def test_a_half_written_line_is_left(box: Box, by: Deadline) -> None:
    """A peer's shell was lost for good at such a prompt."""
    box.console.expect(re.compile(rb"# "), by=by)
    box.console.send(b"echo 'never ended\r")
    box.console.expect(re.compile(rb"> "), by=by)

    assert box.shell().run("echo", "here", by=by).text == "here"
    assert b"never ended\n" not in box.console.transcript()


def test_what_is_sent_to_a_program_is_not_recorded(box: Box, by: Deadline) -> None:
    shell = box.shell()
    shell.run("cat", stdin=b"hunter2", by=by)
    parent = shell.run("sh", "-c", "echo $PPID", by=by).text
    # The helper dies unnoticed, and the shell behind it echoes what was meant for a program.
    os.kill(int(parent), signal.SIGKILL)
    with contextlib.suppress(LinkLost):
        shell.run("cat", stdin=b"hunter2 and more of it", by=by)

    said = box.console.transcript()
    low = bytes(byte & 0x7F for byte in said)
    assert b"hunter2" not in said + low


def test_a_helper_that_was_killed_in_mid_command_is_a_lost_link_soon_and_the_next_one_is_good(
    box: Box, by: Deadline
) -> None:
    shell = box.shell()
    with pytest.raises(LinkLost, match="the helper on the box ended"):
        shell.run("sh", "-c", "kill -KILL $PPID; sleep 1000", by=by)

    assert shell.run("echo", "next", by=by).text == "next"


def test_a_box_that_falls_silent_is_a_lost_link_that_quotes_the_console(
    box: Box, by: Deadline
) -> None:
    shell = box.shell(silence=1.5)
    shell.run("true", by=by)
    box.says(b"the last line before it hung\r\n")
    box.console.expect(re.compile(rb"hung"), by=by)
    hangs = threading.Timer(0.5, box.hang)
    hangs.start()
    began = time.monotonic()
    with pytest.raises(LinkLost, match="said nothing for") as caught:
        shell.run("sleep", "1000", by=by)
    hangs.join()
    box.hang(signal.SIGCONT)

    assert time.monotonic() - began < 15
    assert "the last line before it hung" in caught.value.hint


def test_a_long_silent_command_is_not_taken_for_a_dead_box(box: Box, by: Deadline) -> None:
    shell = box.shell(silence=3.0)  # the helper says each second that it is there

    assert shell.run("sh", "-c", "sleep 5; echo done", by=by).text == "done"


@pytest.mark.parametrize(
    "line",
    [
        b"[    0.000000] Booting Linux on physical CPU 0x0000000000 [0x410fd034]",
        b"U-Boot 2025.01-3+deb13u1 (Jun 24 2026 - 09:07:15 +0000)",
        b"reboot: Restarting system",
        b"trustbox login: ",
    ],
    ids=["linux", "u-boot", "reboot", "login"],
)
def test_a_box_that_begins_anew_ends_a_command_and_is_quoted(
    box: Box, by: Deadline, line: bytes
) -> None:
    shell = box.shell()
    helper = int(shell.run("sh", "-c", "echo $PPID", by=by).text)
    login = int(shell.run("ps", "-o", "ppid=", "-p", str(helper), by=by).text)

    def reboot() -> None:
        os.kill(login, signal.SIGSTOP)
        os.kill(helper, signal.SIGSTOP)
        box.says(b"\r\n" + line + b"\r\n")

    soon = threading.Timer(0.5, reboot)
    soon.start()
    began = time.monotonic()
    with pytest.raises(LinkLost, match=re.escape(line.decode().strip())):
        shell.run("sleep", "1000", by=by)
    soon.join()
    os.kill(helper, signal.SIGKILL)
    os.kill(login, signal.SIGKILL)

    assert time.monotonic() - began < 10


def test_a_log_line_that_looks_like_a_boot_is_a_false_alarm_when_the_helper_goes_on(
    box: Box, by: Deadline
) -> None:
    shell = box.shell()
    shell.run("true", by=by)
    soon = threading.Timer(0.5, box.says, [b"U-Boot 2025.01 is mentioned here, login: too\r\n"])
    soon.start()

    assert shell.run("sh", "-c", "sleep 4; echo still here", by=by).text == "still here"
    soon.join()


def test_a_host_that_died_is_followed_by_the_next_one_and_its_program_is_killed(
    box: Box, by: Deadline, tmp_path: Path
) -> None:
    first, second = box.shell(), box.shell()
    first.run("true", by=by)

    def command() -> None:
        with pytest.raises(LinkLost):
            first.run("sh", "-c", f"echo $$ >{tmp_path}/pid; exec sleep 1000", by=by)

    gone = threading.Thread(target=command)
    gone.start()
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
        by.left("the program to start")
        gone.join(0.02)
    pid = int((tmp_path / "pid").read_text())
    program = os.pidfd_open(pid)

    assert second.run("echo", "mine", by=by).text == "mine"
    assert select.select([program], [], [], by.left("the program to end"))[0]
    os.close(program)
    box.console.detach()
    gone.join()


def test_a_person_gets_the_console_back_with_three_line_ends(box: Box, by: Deadline) -> None:
    shell = box.shell()
    shell.run("true", by=by)
    box.console.send(b"\r\r\r")
    box.console.expect(re.compile(rb"trustbox-helper ended"), by=by)
    box.console.send(b"echo a$((6*7))b\r")

    assert box.console.expect(re.compile(rb"a42b"), by=by)
    assert shell.run("echo", "again", by=by).text == "again"


def test_closing_gives_the_console_back(box: Box, by: Deadline) -> None:
    shell = box.shell()
    shell.run("true", by=by)
    shell.close()
    box.console.expect(re.compile(rb"trustbox-helper ended"), by=by)
    box.console.send(b"stty -a\r")

    assert box.console.expect(re.compile(rb"(-?)echo "), by=by)[1] == b""


def test_a_console_that_is_not_attached_is_a_lost_link(box: Box, by: Deadline) -> None:
    shell = box.shell()
    shell.run("true", by=by)
    box.console.detach()
    with pytest.raises(LinkLost, match=r"attached|line ended"):
        shell.run("true", by=by)

    box.console.attach(box.host)
    assert shell.run("echo", "back", by=by).text == "back"


def test_the_death_of_the_box_ends_a_running_command_at_once(box: Box, by: Deadline) -> None:
    shell = box.shell()
    shell.run("true", by=by)
    dies = threading.Timer(0.3, box.says, [b"[ 1.2] Kernel panic - not syncing: sysrq\r\n"])
    dies.start()
    with pytest.raises(BoxDied, match="Kernel panic - not syncing: sysrq"):
        shell.run("sleep", "1000", by=by)
    dies.join()


def test_what_others_wait_for_on_the_console_is_found_beside_the_frames(
    box: Box, by: Deadline
) -> None:
    shell = box.shell()
    shell.run("true", by=by)
    shell.run("sh", "-c", f"echo tell-tale 4711 >{box.tty}", by=by)

    assert box.console.expect(re.compile(rb"tell-tale (\d+)"), by=by)[1] == b"4711"


def test_output_beyond_the_bound_is_an_error_and_the_program_is_killed(
    box: Box, by: Deadline
) -> None:
    shell = box.shell()
    with pytest.raises(DeviceRefused, match="wrote more than 16777216 bytes"):
        shell.run("cat", "/dev/zero", by=by)

    assert shell.run("echo", "next", by=by).text == "next"
