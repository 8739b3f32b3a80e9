"""An emulated box that is presented as a bench: what a lab would see of a real one."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from emulator import bench_entry, launch, registry
from harness.config import choose_bench, load_targets
from harness.config_bench import BenchConfig
from harness.console import SerialConsole
from harness.deadline import Deadline
from harness.errors import LinkError, TrustBoxError, Unreachable
from harness.history import History
from harness.ssh import SshShell
from harness.target import World
from harness.vitals import Vitals

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

# A kept box is one box on one disk: each parallel worker needs one of its own.
SERIAL = f"TB-BENCH-{os.environ.get('PYTEST_XDIST_WORKER', 'gw0').upper()}"
NAME = "bench-07"


@pytest.fixture
def by() -> Deadline:
    return Deadline.after(120)


@pytest.fixture(scope="module")
def bench() -> Iterator[BenchConfig]:
    """What a targets file says of the box; nothing else of it is used by most tests here."""
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory(prefix="tb-") as home:
        # A name that is short enough for sockets.
        patch.setenv("XDG_RUNTIME_DIR", home)
        facts = launch.start(SERIAL, seconds=100, as_bench=True, autoboot_seconds=2)
        yield entry(facts, Path(home) / "targets.toml")
        if registry.is_kept(SERIAL):
            launch.stop(SERIAL, by=Deadline.after(30))


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


def entry(facts: dict[str, Any], file: Path) -> BenchConfig:
    file.write_text(bench_entry.toml(NAME, facts["bench"]))
    return choose_bench(NAME, file)


def ask(*, power: str) -> None:
    registry.ask(SERIAL, "power", by=Deadline.after(30), state=power)


def boot_id(bench: BenchConfig) -> bytes:
    """As soon as the box is up."""
    by = Deadline.after(100)
    while True:
        try:
            return asked(bench, "cat", "/proc/sys/kernel/random/boot_id", by=by)
        except Unreachable:
            by.left("the box to come up")


def asked(bench: BenchConfig, *argv: str, by: Deadline) -> bytes:
    shell = SshShell(lambda: bench.endpoint, Vitals(NAME), History())
    try:
        return shell.run(*argv, by=by).stdout
    finally:
        shell.close()


def test_its_targets_entry_is_all_that_the_harness_needs(bench: BenchConfig, by: Deadline) -> None:
    assert asked(bench, "cat", "/etc/trustbox/serial", by=by).decode().strip() == SERIAL


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
    with pytest.raises(TrustBoxError):
        asked(bench, "sh", "-c", "poweroff -f; sleep 60", by=by.sooner(5))
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
