"""An emulated box that is presented as a bench: what a lab would see of a real one."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from emulator import launch, registry
from harness.capability import Capability
from harness.config import load_targets
from harness.config_bench import BenchConfig
from harness.console import SerialConsole
from harness.deadline import Deadline
from harness.errors import LinkError, TrustBoxError
from harness.target import World
from harness.targets import open_target
from harness.vitals import Vitals
from tests.emulator.bench import NAME, SERIAL, Presented, ask, asked, boot_id, shell_of
from tests.emulator.test_capabilities import OF_A_FORK, OF_HARDWARE

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

AUTOBOOT_SECONDS = 2


@pytest.fixture
def by() -> Deadline:
    return Deadline.after(120)


@pytest.fixture(autouse=True)
def powered(bench: BenchConfig) -> None:
    """Every test finds the box on, whatever the last one did to it."""
    ask(power="on")
    boot_id(bench)


@pytest.fixture
def uart(bench: BenchConfig) -> Iterator[SerialConsole]:
    console = SerialConsole(World.NORMAL, Vitals(NAME))
    console.attach(bench.uarts[World.NORMAL])
    yield console
    console.close()


def test_its_targets_entry_is_all_that_the_harness_needs(bench: BenchConfig, by: Deadline) -> None:
    assert asked(bench, "cat", "/etc/trustbox/serial", by=by).decode().strip() == SERIAL


def test_a_desk_lacks_only_what_a_desk_cannot_have(presented: Presented, by: Deadline) -> None:
    """Else the device suite would skip there, unnoticed, what it shows on the emulator, which
    lacks only what docs/security.md tells of its storage."""
    with open_target(NAME, serial=SERIAL, by=by, config=presented.file) as target:
        missing = set(target.missing(Capability)) - OF_HARDWARE - OF_A_FORK

    assert missing == {Capability.MORE_BOXES, Capability.TAMPER}


def test_port_devices_and_disk_stay_over_a_power_cut(bench: BenchConfig, by: Deadline) -> None:
    first = boot_id(bench)
    asked(bench, "sh", "-c", "echo lasting >/root/mark; sync", by=by)
    ask(power="off")
    ask(power="on")

    assert boot_id(bench) != first
    assert asked(bench, "cat", "/root/mark", by=by) == b"lasting\n"


def test_the_serial_device_sees_a_whole_boot_through_a_power_cycle(
    bench: BenchConfig, uart: SerialConsole, by: Deadline
) -> None:
    ask(power="cycle")

    for stage in (rb"NOTICE:  BL1: v", rb"U-Boot 20", rb"Starting kernel", rb"login: "):
        uart.expect(re.compile(stage), by=by)


def test_the_countdown_that_was_asked_for_can_be_stopped(
    bench: BenchConfig, uart: SerialConsole, by: Deadline
) -> None:
    ask(power="cycle")
    uart.expect(re.compile(rb"Hit any key to stop autoboot: +2"), by=by)
    uart.send(b" ")
    uart.expect(re.compile(rb"=> $"), by=by)
    uart.send(b"printenv serial#\n")
    uart.expect(re.compile(rb"serial#=" + SERIAL.encode()), by=by)

    ask(power="cycle")


def test_power_that_is_on_is_left_alone(bench: BenchConfig) -> None:
    first = boot_id(bench)
    ask(power="on")

    assert boot_id(bench) == first


def test_without_power_nobody_answers(
    bench: BenchConfig, uart: SerialConsole, by: Deadline
) -> None:
    ask(power="off")
    said = uart.recorded
    uart.send(b"\r\n")

    with pytest.raises(LinkError):
        asked(bench, "true", by=by.sooner(5))
    assert uart.recorded == said


def test_a_box_that_switches_itself_off_needs_its_power_cut_first(
    bench: BenchConfig, uart: SerialConsole, by: Deadline
) -> None:
    first = boot_id(bench)
    with shell_of(bench) as shell:
        shell.run("true", by=by)  # the time is the command's, not the login's
        with pytest.raises(TrustBoxError):
            shell.run("sh", "-c", "poweroff -f; sleep 60", by=by.sooner(5))
    ask(power="on")
    with pytest.raises(LinkError):
        asked(bench, "true", by=by.sooner(5))

    ask(power="cycle")
    assert boot_id(bench) != first


def test_the_power_command_of_the_entry_works(bench: BenchConfig) -> None:
    first = boot_id(bench)
    command = registry.ask(SERIAL, "info", by=Deadline.after(10))["bench"]["power"]["command"]
    for action in ("off", "on"):
        subprocess.run([word.replace("{action}", action) for word in command], check=True)

    assert boot_id(bench) != first


def test_the_command_line_prints_the_entry_of_a_bench_that_runs(bench: BenchConfig) -> None:
    start = ["emulator", "start", "--serial", SERIAL, "--as-bench", "--name", NAME]
    program = Path(sys.executable).with_name("trustbox")
    said = subprocess.run([program, *start], check=True, capture_output=True, text=True).stdout
    file = Path(os.environ["XDG_RUNTIME_DIR"]) / "said.toml"
    file.write_text(said)

    assert load_targets(file)[NAME] == bench


def test_a_killed_keeper_leaves_paths_that_lead_nowhere(bench: BenchConfig, by: Deadline) -> None:
    facts = launch.start(f"{SERIAL}-K", seconds=100, as_bench=True)
    uarts = [Path(facts["bench"][key]) for key in ("serial_url", "secure_serial_url")]
    assert all(uart.is_char_device() for uart in uarts)

    os.kill(facts["keeper_pid"], signal.SIGKILL)

    # A pty's number is soon somebody else's terminal.
    while any(uart.exists() for uart in uarts):
        threading.Event().wait(by.slice("what cleans up after a keeper", 0.05))
