"""A bench's power, against real ends: what is believed of a switch, and what a cut does."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from harness.agent_shell import AgentShell
from harness.bench_answer import nobody_listens
from harness.bench_recovery import recover
from harness.bench_rig import BenchRig
from harness.console import SerialConsole
from harness.deadline import Deadline
from harness.errors import (
    BoxDied,
    DeadlineExpired,
    RigError,
    TrustBoxError,
)
from harness.history import History
from harness.power import ConfiguredSwitch
from harness.ssh import SshShell
from harness.target import World
from harness.vitals import Vitals
from tests.links.bench import BenchBox
from tests.links.bench_fixtures import SERIAL, power_line
from tests.links.power_server import PowerServer

pytestmark = pytest.mark.slow


@pytest.fixture
def rig(bench_box: BenchBox, pdu: PowerServer) -> Iterator[BenchRig]:
    rig = made(bench_box, pdu)
    yield rig
    rig.close()


def made(bench_box: BenchBox, pdu: PowerServer, **lines: str) -> BenchRig:
    """Opened, with little patience for a box that goes on talking; ``lines`` of its entry."""
    config, vitals = bench_box.config(power=power_line(pdu), **lines), Vitals("bench-07")
    assert config.power is not None
    rig = BenchRig(
        config,
        serial=SERIAL,
        vitals=vitals,
        consoles={World.NORMAL: SerialConsole(World.NORMAL, vitals)},
        switch=ConfiguredSwitch("bench-07", config.power),
        off_seconds=-4.0,
    )
    rig.open(by=soon())
    return rig


def soon() -> Deadline:
    return Deadline.after(20)


def test_off_is_off_and_on_is_another_boot(rig: BenchRig, bench_box: BenchBox) -> None:
    before = rig.awake(by=soon())
    rig.off()
    assert not bench_box.is_on
    with pytest.raises(RigError, match="TB-0042 is off"):
        rig.endpoint()
    rig.on(by=soon())

    assert rig.awake(by=soon()) != before
    assert "the console is silent, SSH is gone" in rig.log()


def test_off_twice_and_on_twice_happen_once(rig: BenchRig, bench_box: BenchBox) -> None:
    rig.off()
    rig.off()
    rig.on(by=soon())
    rig.on(by=soon())

    assert bench_box.cuts == 1


def test_a_switch_that_does_not_obey_is_not_believed(rig: BenchRig, pdu: PowerServer) -> None:
    pdu.switch = lambda path: 200
    with pytest.raises(RigError, match=r"was switched off, but its console still talks: .*login"):
        rig.off()


def test_a_box_that_is_quiet_but_still_answers_is_not_off(
    rig: BenchRig, bench_box: BenchBox, pdu: PowerServer
) -> None:
    pdu.switch = lambda path: 200
    bench_box.answers_keys = False
    with pytest.raises(RigError, match="was switched off, but it still answers as an SSH"):
        rig.off()


def test_a_box_that_comes_back_in_the_same_life_was_never_off(
    rig: BenchRig, bench_box: BenchBox
) -> None:
    before = (bench_box.directory / "boot_id").read_text()
    rig.off()
    bench_box.on()
    (bench_box.directory / "boot_id").write_text(before)
    with pytest.raises(RigError, match="came back in the life"):
        rig.on(by=soon())


def test_a_cycle_has_evidence(rig: BenchRig) -> None:
    before = rig.awake(by=soon())
    evidence = rig.cycle(by=soon())

    assert evidence.before == before != evidence.after
    assert evidence.said.startswith("U-Boot 2025.01")


def test_power_that_is_cut_in_mid_command_ends_it_at_once(rig: BenchRig) -> None:
    ssh = SshShell(rig.endpoint, rig.vitals, History())
    ended: list[TrustBoxError] = []

    def wait() -> None:
        try:
            ssh.run("sleep", "60", by=Deadline.after(60))
        except TrustBoxError as error:
            ended.append(error)

    ssh.run("true", by=soon())
    waiting = threading.Thread(target=wait)
    waiting.start()
    rig.off()
    waiting.join(timeout=10)

    assert [str(error).partition(" during")[0] for error in ended] in (
        ["bench-07 died: its power was cut by the bench"],
        ["the SSH connection broke"],
    )
    ssh.close()


@pytest.mark.parametrize("helper", [True, False], ids=["helper", "plain SSH"])
def test_a_plug_that_somebody_pulls_in_mid_command_is_what_the_error_says(
    rig: BenchRig, bench_box: BenchBox, helper: bool
) -> None:
    ssh = SshShell(rig.endpoint, rig.vitals, History())
    layout = rig.config.layout
    shell = AgentShell(ssh, layout, rig.vitals, History()) if helper else ssh
    shell.run("true", by=soon())
    bench_box.sshd.fall_silent()
    by = Deadline.after(6)
    with pytest.raises(BoxDied, match=r"nobody listens at 127\.0\.0\.1:\d+ any more"):
        shell.run("sleep", "60", by=by)

    assert not by.expired  # somebody looked in the meantime
    shell.close()
    ssh.close()


def test_a_plug_that_is_pulled_in_the_last_moment_is_found_at_the_deadline(
    rig: BenchRig, bench_box: BenchBox
) -> None:
    ssh = SshShell(rig.endpoint, rig.vitals, History())
    ssh.run("true", by=soon())
    bench_box.sshd.fall_silent()
    with pytest.raises(BoxDied, match="nobody listens"):
        ssh.run("sleep", "60", by=Deadline.after(0.2))
    ssh.close()


def test_a_server_that_is_restarted_is_not_a_dead_box(rig: BenchRig, bench_box: BenchBox) -> None:
    endpoint = rig.endpoint()
    bench_box.sshd.shut()
    again = threading.Timer(0.2, bench_box.sshd.reopen)
    again.start()

    assert not nobody_listens(endpoint, by=soon())
    again.join()


def test_a_command_that_is_only_slow_is_not_a_dead_box(rig: BenchRig) -> None:
    ssh = SshShell(rig.endpoint, rig.vitals, History())
    ssh.run("true", by=soon())  # the second is the command's, not the login's
    with pytest.raises(DeadlineExpired):
        ssh.run("sleep", "60", by=Deadline.after(1))
    rig.vitals.check()
    ssh.close()


def test_a_panic_while_it_boots_ends_the_wait(
    rig: BenchRig, bench_box: BenchBox, pdu: PowerServer
) -> None:
    def panics(path: str) -> int:
        bench_box.says(b"Kernel panic - not syncing: no root\r\n")
        return 200

    rig.off()
    pdu.switch = panics
    with pytest.raises(BoxDied, match="no root"):
        rig.on(by=soon())


def test_a_console_that_nobody_listens_to_is_attached_before_its_silence_counts(
    rig: BenchRig, pdu: PowerServer
) -> None:
    rig.lines.detach()
    pdu.switch = lambda path: 200
    with pytest.raises(RigError, match=r"was switched off, but its console still talks: .*login"):
        rig.off()


def test_a_line_that_went_away_with_the_box_is_no_silence_and_is_named(
    bench_box: BenchBox, pdu: PowerServer
) -> None:
    adapter = bench_box.directory / "ttyUSB0"
    adapter.symlink_to(bench_box.uart)
    rig = made(bench_box, pdu, serial_url=f'"{adapter}"')
    rig.lines.detach()
    adapter.unlink()
    rig.off()

    assert f"off: the serial line ended ({adapter}), SSH is gone" in rig.log()
    rig.close()


def test_a_server_s_line_that_cannot_be_opened_again_proves_nothing(
    bench_box: BenchBox, pdu: PowerServer
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        where = f"socket://127.0.0.1:{server.getsockname()[1]}"
        rig = made(bench_box, pdu, serial_url=f'"{where}"')
        rig.off()  # a silent line that is open
        assert "the console is silent" in rig.log()
        rig.on(by=soon())
        far = server.accept()[0]
        far.recv(64)  # what was typed; unread, it would make a reset of the goodbye
        far.close()
    with pytest.raises(RigError, match="switched off, but nobody can hear whether it is silent"):
        rig.off()
    rig.close()


def test_a_relay_that_did_not_switch_off_resets_no_box_that_answers(
    rig: BenchRig, pdu: PowerServer
) -> None:
    pdu.switch = lambda path: 200  # another box's
    with pytest.raises(RigError, match="was switched off, but"):
        rig.off()

    assert [(rung.name, rung.worked) for rung in recover(rig, why="test", ssh_seconds=10)] == [
        ("SSH", True)
    ]
    rig.vitals.check()
