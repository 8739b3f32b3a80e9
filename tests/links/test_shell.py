"""Both shells against a real OpenSSH server, and what only a link can do wrong."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.agent_shell import AgentShell
from harness.deadline import Deadline
from harness.errors import (
    BoxDied,
    DeviceRefused,
    LinkLost,
    Misuse,
    RigError,
    Unreachable,
    UntrustedHost,
)
from harness.history import History
from harness.holding import Endpoint
from harness.ssh import SshShell
from harness.target import Layout
from harness.vitals import Vitals
from tests.links.held_port import held_port
from tests.links.sshd import LocalSshd, make_key
from tests.shell_claims import ShellClaims


class TestOverSsh(ShellClaims):
    @pytest.fixture
    def shell(self, ssh: SshShell) -> SshShell:
        return ssh


class TestThroughTheHelper(ShellClaims):
    @pytest.fixture
    def shell(self, agent: AgentShell) -> AgentShell:
        return agent

    def test_it_is_the_helper_that_answers(self, agent: AgentShell, by: Deadline) -> None:
        parent = agent.run("sh", "-c", "cat /proc/$PPID/comm", by=by).text

        assert parent.startswith("trustbox-agent")
        assert agent.why_not == ""


@pytest.fixture(params=["ssh", "agent"])
def shell(request: pytest.FixtureRequest) -> SshShell | AgentShell:
    found: SshShell | AgentShell = request.getfixturevalue(request.param)
    return found


Altered = Callable[..., SshShell]


@pytest.fixture
def altered(sshd: LocalSshd, vitals: Vitals, history: History) -> Altered:
    """A shell to the server with something else in its endpoint."""

    def make(**changes: object) -> SshShell:
        endpoint = dataclasses.replace(sshd.endpoint(), **changes)  # type: ignore[arg-type]
        return SshShell(lambda: endpoint, vitals, history)

    return make


@pytest.mark.integrity
@pytest.mark.case("N-48", expect="UntrustedHost with both fingerprints, before any login")
def test_another_host_key_is_refused_before_the_login(
    altered: Altered, sshd: LocalSshd, by: Deadline, tmp_path: Path
) -> None:
    pinned = make_key(tmp_path / "other")

    with pytest.raises(UntrustedHost) as caught:
        altered(host_key=pinned).run("true", by=by)
    assert caught.value.offered != caught.value.pinned
    assert {caught.value.offered[:7], caught.value.pinned[:7]} == {"SHA256:"}


def test_another_type_of_pinned_key_is_refused_with_both_fingerprints(
    altered: Altered, by: Deadline
) -> None:
    ed25519 = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"

    with pytest.raises(UntrustedHost, match=r"offers SSH host key SHA256:\S+, but SHA256:"):
        altered(host_key=ed25519).run("true", by=by)


def test_a_pinned_key_that_is_none_is_misuse(altered: Altered, by: Deadline) -> None:
    with pytest.raises(Misuse, match="type base64"):
        altered(host_key="nonsense").run("true", by=by)


def test_a_key_the_box_does_not_know_is_a_refusal(
    altered: Altered, by: Deadline, tmp_path: Path
) -> None:
    make_key(tmp_path / "stranger")

    with pytest.raises(DeviceRefused, match="does not let"):
        altered(client_key=tmp_path / "stranger").run("true", by=by)


def test_a_key_file_that_is_none_is_misuse(altered: Altered, by: Deadline) -> None:
    with pytest.raises(Misuse, match="/etc/hostname"):
        altered(client_key=Path("/etc/hostname")).run("true", by=by)


def test_nobody_there_is_unreachable_when_time_is_up(altered: Altered) -> None:
    with held_port() as held, pytest.raises(Unreachable, match="refused"):
        altered(port=held.getsockname()[1]).run("true", by=Deadline.after(0.5))


def test_a_server_that_comes_late_is_waited_for(
    sshd: LocalSshd, vitals: Vitals, history: History, by: Deadline
) -> None:
    with held_port() as held:
        port: int = held.getsockname()[1]
        shell = SshShell(lambda: dataclasses.replace(sshd.endpoint(), port=port), vitals, history)
        late = threading.Timer(0.3, forward, [port, sshd.endpoint().port])
        late.start()
        assert shell.run("echo", "late", by=by).text == "late"
        shell.close()
        late.join()


def forward(port: int, to: int) -> None:
    """Takes one connection on ``port`` and passes it on in both directions."""

    def copy(source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):  # either side may have gone by then
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)

    with socket.create_server(("127.0.0.1", port)) as server:
        near, _ = server.accept()
    far = socket.create_connection(("127.0.0.1", to))
    back = threading.Thread(target=copy, args=(far, near))
    back.start()
    copy(near, far)
    back.join()
    near.close()
    far.close()


def test_a_link_that_breaks_in_mid_command_is_lost_and_the_next_one_is_good(
    shell: SshShell | AgentShell, sshd: LocalSshd, by: Deadline
) -> None:
    shell.run("true", by=by)
    cut = threading.Timer(0.3, sshd.drop)
    cut.start()

    with pytest.raises(LinkLost):
        shell.run("sleep", "1000", by=by)
    cut.join()
    assert shell.run("echo", "again", by=by).text == "again"


def test_a_link_that_broke_between_commands_is_made_anew(
    shell: SshShell | AgentShell, sshd: LocalSshd, by: Deadline
) -> None:
    shell.run("true", by=by)
    sshd.drop()

    assert shell.run("echo", "again", by=by).text == "again"


def test_a_connection_to_an_earlier_life_of_the_box_is_not_used(
    shell: SshShell | AgentShell, vitals: Vitals, by: Deadline
) -> None:
    client = shell.run("sh", "-c", "echo $SSH_CONNECTION", by=by).text
    vitals.reset()

    assert shell.run("sh", "-c", "echo $SSH_CONNECTION", by=by).text != client


def test_the_death_of_the_box_ends_a_running_command_at_once(
    shell: SshShell | AgentShell, vitals: Vitals, by: Deadline
) -> None:
    shell.run("true", by=by)
    dies = threading.Timer(0.3, vitals.report_death, ["Kernel panic - not syncing"])
    dies.start()

    with pytest.raises(BoxDied, match="Kernel panic"):
        shell.run("sleep", "1000", by=by)
    dies.join()


def test_a_dead_box_is_asked_nothing(
    shell: SshShell | AgentShell, vitals: Vitals, by: Deadline
) -> None:
    vitals.report_death("QEMU exited")

    with pytest.raises(BoxDied, match="QEMU exited"):
        shell.run("true", by=by)
    with pytest.raises(BoxDied, match="QEMU exited"):
        shell.read("/etc/passwd", by=by)


def test_output_beyond_the_bound_is_an_error_and_the_program_is_killed(
    shell: SshShell | AgentShell, by: Deadline
) -> None:
    with pytest.raises(DeviceRefused, match="wrote more than 16777216 bytes"):
        shell.run("cat", "/dev/zero", by=by)

    assert shell.run("echo", "next", by=by).text == "next"


def test_the_history_tells_what_was_asked_never_what_went_in(
    shell: SshShell | AgentShell, history: History, by: Deadline, place: str
) -> None:
    shell.run("cat", by=by, stdin=b"hunter2")
    shell.run("false", by=by, check=False)
    shell.write(f"{place}/pin", b"hunter2", by=by)

    told = "\n".join(map(str, history.since(0)))
    assert "cat -> status 0" in told
    assert "false -> status 1" in told
    assert f"write {place}/pin (7 bytes, mode 0600) -> done" in told
    assert "hunter2" not in told


def test_where_the_helper_cannot_run_commands_go_over_ssh_and_that_is_said_once(
    ssh: SshShell,
    vitals: Vitals,
    history: History,
    by: Deadline,
    caplog: pytest.LogCaptureFixture,
) -> None:
    shell = AgentShell(ssh, Layout(agent_directory="/proc/nowhere"), vitals, history)
    with caplog.at_level(logging.WARNING, "harness"):
        assert shell.run("echo", "one", by=by).text == "one"
        assert shell.run("echo", "two", by=by).text == "two"

    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 1
    assert said[0].startswith("commands go over plain SSH")
    assert "/proc/nowhere" in shell.why_not
    assert "it cannot be entered" in shell.why_not


def test_a_missing_compiler_is_said_with_the_package_to_install(
    ssh: SshShell,
    vitals: Vitals,
    history: History,
    by: Deadline,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    ssh.run("true", by=by)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    shell = AgentShell(ssh, Layout(agent_directory=str(tmp_path)), vitals, history)

    assert shell.run("echo", "one", by=by).text == "one"
    assert "the compiler gcc is missing" in shell.why_not


def test_a_rig_that_is_off_for_a_moment_does_not_cost_the_helper(
    sshd: LocalSshd, vitals: Vitals, history: History, by: Deadline, tmp_path: Path
) -> None:
    """What keeps a rig from telling its endpoint says nothing about the helper."""
    off = True

    def endpoint() -> Endpoint:
        if off:
            raise RigError("the box is off")
        return sshd.endpoint()

    ssh = SshShell(endpoint, vitals, history)
    shell = AgentShell(ssh, Layout(agent_directory=str(tmp_path)), vitals, history)
    with pytest.raises(RigError, match="is off"):
        shell.run("true", by=by)
    off = False
    parent = shell.run("sh", "-c", "cat /proc/$PPID/comm", by=by).text
    shell.close()
    ssh.close()

    assert parent.startswith("trustbox-agent")
