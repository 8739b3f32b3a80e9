"""The shell over the box's UART: what every shell promises, and what only a UART can show."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator

import pytest

from harness.capability import Capability
from harness.deadline import Deadline
from harness.errors import BoxDied, LinkLost
from harness.target import SerialShell, Target, World
from provisioning.trustbox import TrustBox
from tests.shell_claims import ShellClaims

pytestmark = [
    pytest.mark.slow,
    pytest.mark.needs(Capability.CONSOLE_LOGIN),
    pytest.mark.timeout(300),
]


@pytest.fixture
def by() -> Deadline:
    """A UART is slow, and the first request logs in and brings the helper along."""
    return Deadline.after(250)


@pytest.fixture
def place(target: Target, by: Deadline) -> Iterator[str]:
    """A directory of this test's own on the box."""
    made = target.shell.run("mktemp", "-d", by=by).text
    yield made
    target.shell.run("rm", "-rf", made, by=Deadline.after(30))


@pytest.fixture
def serial(target: Target) -> SerialShell:
    assert target.console_shell is not None
    return target.console_shell


class TestOverTheUart(ShellClaims):
    bulk = 50_000

    @pytest.fixture
    def shell(self, serial: SerialShell) -> SerialShell:
        return serial


def test_the_shell_on_the_uart_is_roots(serial: SerialShell, by: Deadline) -> None:
    assert serial.run("id", "-u", by=by).text == "0"


def test_kernel_lines_do_not_get_into_an_answer(
    target: Target, serial: SerialShell, by: Deadline
) -> None:
    """A peer returned such lines as a command's output, and called it success."""
    serial.run("true", by=by)
    before = serial.health()
    script = "i=0; while [ $i -lt 30 ]; do echo '<1>noise # $ login: ' >/dev/kmsg; i=$((i+1)); done"
    noise = threading.Thread(target=target.shell.run, args=("sh", "-c", script), kwargs={"by": by})
    noise.start()
    done = serial.run("sh", "-c", "yes exactly this | head -n 2000", by=by)
    noise.join()

    assert done.stdout == b"exactly this\n" * 2000
    target.consoles[World.NORMAL].expect(re.compile(rb"noise # \$ login: \r?\n"), by=by)
    assert (serial.health() - before).noise_lines > 0


@pytest.mark.needs(Capability.POWER, Capability.RESTORE)
def test_a_box_that_reboots_under_a_command_is_said_soon_and_then_logged_in_to_again(
    box: TrustBox, by: Deadline
) -> None:
    serial = box.target.console_shell
    assert serial is not None
    serial.run("true", by=by)
    began = time.monotonic()
    script = "echo 1 >/proc/sys/kernel/sysrq; sleep 1; echo b >/proc/sysrq-trigger; sleep 1000"
    with pytest.raises((LinkLost, BoxDied), match=r"began anew|ended|died") as caught:
        serial.run("sh", "-c", script, by=by)

    assert time.monotonic() - began < 30
    assert "'" in caught.value.message or "died" in caught.value.message
    box.target.rig.off()
    box.target.rig.on(by=by)
    assert serial.run("cat", "/proc/sys/kernel/ostype", by=by).text == "Linux"


@pytest.mark.needs(Capability.POWER, Capability.RESTORE)
def test_a_box_that_loses_power_ends_a_running_command(box: TrustBox, by: Deadline) -> None:
    serial = box.target.console_shell
    assert serial is not None
    serial.run("true", by=by)
    off = threading.Timer(1, box.target.rig.off)
    off.start()
    with pytest.raises((BoxDied, LinkLost)):
        serial.run("sleep", "1000", by=by)
    off.join()
