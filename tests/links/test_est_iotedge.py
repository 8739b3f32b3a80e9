"""IoT Edge's configuration on a box's file system, over a real shell."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from harness.deadline import Deadline
from harness.errors import BadInput, CommandFailed, DeviceRefused, IntegrityFailure
from harness.ssh import SshShell
from harness.target import Completed, Layout, Target
from provisioning.iotedge import Applied, IotEdge
from provisioning.plan import Plan
from provisioning.reprove_checks import iotedge
from provisioning.run import Outcome, provision
from provisioning.station import Station
from provisioning.steps import EffectStep, LookStep
from provisioning.steps_edge import EdgeStep
from provisioning.steps_key import KeyStep, TokenStep
from provisioning.work import Work
from tests.links.est_pki import Pki
from tests.links.host_box import DEVICE, SERIAL, HostBox, Who, host_box
from tests.links.sshd import LocalSshd
from tests.unit.test_iotedge import CONFIG

pytestmark = pytest.mark.slow


@pytest.fixture
def by() -> Deadline:
    return Deadline.after(60)


@pytest.fixture
def edge(ssh: SshShell, place: str) -> IotEdge:
    return IotEdge(ssh, path=f"{place}/aziot/config.toml")


class WithTool:
    """A shell whose box has an aziotctl of the test's making."""

    def __init__(self, ssh: SshShell, tool: Path, script: str) -> None:
        self._ssh, self._tool = ssh, tool
        tool.write_text(f"#!/bin/sh\n{script}\n")
        tool.chmod(0o755)

    def run(self, *argv: str, by: Deadline, stdin: bytes = b"", check: bool = True) -> Completed:
        path = f"PATH={self._tool.parent}:/usr/bin:/bin"
        return self._ssh.run("env", path, *argv, by=by, stdin=stdin, check=check)

    def read(self, path: str, *, by: Deadline) -> bytes:
        return self._ssh.read(path, by=by)

    def write(self, path: str, data: bytes, *, by: Deadline, mode: int = 0o600) -> None:
        self._ssh.write(path, data, by=by, mode=mode)


def edge_plan(box: HostBox) -> Plan:
    service = '[enrollment.dps]\nservice = "https://dps.invalid"\nid_scope = "0ne00ABCDEF"\n'
    return box.plan(service + '[iotedge]\nidentity = "installed"\n')


def to_the_edge() -> tuple[EffectStep | LookStep, ...]:
    return (Who(), TokenStep(), KeyStep(), EdgeStep())


def with_edge(box: HostBox) -> Layout:
    return replace(box.target.layout, edge_config=str(box.place / "aziot" / "config.toml"))


def with_tool(box: HostBox, tool: Path, script: str) -> Target:
    assert isinstance(box.target.shell, SshShell)
    shell = WithTool(box.target.shell, tool, script)
    return replace(box.target, shell=shell, layout=with_edge(box))


BY_EST = """[enrollment.dps]
service = "https://dps.invalid"
id_scope = "0ne00ABCDEF"
[iotedge]
identity = "est"
server = "https://est.invalid:8443"
label = "boxes"
"""


@pytest.mark.parametrize("login", [False, True], ids=["by the installed certificate", "by a login"])
def test_run_tells_iot_edge_where_to_get_its_certificate_by_est(
    sshd: LocalSshd, tmp_path: Path, login: bool
) -> None:
    (tmp_path / "box").mkdir()
    pki = Pki.make(tmp_path)
    password = tmp_path / "password"
    password.touch(mode=0o600)
    password.write_text("planted-edge-pwd\n")
    more = f'user = "edge"\npassword_file = "{password}"\nrotate_key = false\n' if login else ""
    with host_box(sshd, tmp_path / "box") as box:
        target = replace(box.target, layout=with_edge(box))
        trusting = f'{BY_EST}trusted = "{tmp_path / "ca.pem"}"\n{more}'
        plan = box.plan(trusting, purpose="idevid")
        runs = [
            provision(target, plan, Station(tmp_path / "st"), steps=to_the_edge) for _ in range(2)
        ]
        roots = box.place / "identity" / "edge-est-roots.pem"
        found = tomllib.loads(Path(target.layout.edge_config).read_text())
        trusted = roots.read_text()
        roots.unlink()
        again = provision(target, plan, Station(tmp_path / "st"), steps=to_the_edge)

    assert [run.reports[3].outcome for run in (*runs, again)] == [
        *(Outcome.DONE, Outcome.ALREADY, Outcome.DONE)
    ]
    assert trusted == pki.text
    identity = found["provisioning"]["attestation"]["identity_cert"]
    assert (identity["method"], identity["common_name"]) == ("est", DEVICE)
    est = found["cert_issuance"]["est"]
    assert est["urls"] == {"default": "https://est.invalid:8443/.well-known/est/boxes"}
    assert est["trusted_certs"] == [f"file://{roots}"]
    assert est["identity_auto_renew"]["rotate_key"] is not login
    if login:
        assert est["auth"] == {"username": "edge", "password": "planted-edge-pwd"}
        journal = (Station(tmp_path / "st").records(SERIAL) / "journal.jsonl").read_text()
        assert "planted-edge-pwd" not in journal + str(again.work.facts)
    else:
        assert est["auth"]["bootstrap_identity_cert"] == f"file://{box.chain}"
        assert "object=idevid" in est["auth"]["bootstrap_identity_pk"]


def test_file_is_put_there_for_its_owner_alone_and_once(
    edge: IotEdge, place: str, by: Deadline
) -> None:
    assert edge.apply(CONFIG, by=by) == Applied(changed=True, by_aziotctl=False)
    assert edge.apply(CONFIG, by=by) == Applied(changed=False, by_aziotctl=False)

    file = Path(place, "aziot/config.toml")
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.read_bytes() == CONFIG.render().reveal()
    assert edge.check(by=by) == ""


def test_file_that_others_may_read_is_written_anew(edge: IotEdge, place: str, by: Deadline) -> None:
    edge.apply(CONFIG, by=by)
    file = Path(place, "aziot/config.toml")
    file.chmod(0o644)

    with pytest.raises(IntegrityFailure, match="mode 644"):
        edge.check(by=by)
    assert edge.apply(CONFIG, by=by).changed
    assert file.stat().st_mode & 0o777 == 0o600


def test_file_that_is_broken_or_absent_is_found(edge: IotEdge, place: str, by: Deadline) -> None:
    with pytest.raises(DeviceRefused, match="there is no"):
        edge.check(by=by)
    edge.apply(CONFIG, by=by)
    Path(place, "aziot/config.toml").write_text("[provisioning]\nsource = 'manual'\n")
    with pytest.raises(BadInput, match=r"provisioning\.source"):
        edge.check(by=by)


def test_aziotctl_applies_what_was_written(
    ssh: SshShell, place: str, tmp_path: Path, by: Deadline
) -> None:
    tool = tmp_path / "aziotctl"
    shell = WithTool(ssh, tool, f'echo "$@" >> {tmp_path}/called')
    edge = IotEdge(shell, path=f"{place}/aziot/config.toml")

    done = edge.apply(replace(CONFIG, hostname="other"), by=by)

    assert done == Applied(changed=True, by_aziotctl=True)
    assert (tmp_path / "called").read_text() == f"config apply -c {place}/aziot/config.toml\n"


REFUSES_ONCE = """[ "$1" = config ] || exit 0
echo "$@" >> {here}/called
[ -e {here}/refused ] && exit 0
touch {here}/refused
echo no such slot >&2
exit 1"""


@pytest.mark.fault(
    "Files",
    "aziotctl refuses the configuration",
    comes="CommandFailed, status 6; the file is there and not marked as applied",
    then="correct what aziotctl names and run again: the next run has it applied",
)
def test_what_aziotctl_refused_is_applied_by_the_next_run(
    sshd: LocalSshd, tmp_path: Path, by: Deadline
) -> None:
    """What stands in for aziotctl refuses its first call; none of its package is in reach."""
    (tmp_path / "box").mkdir()
    with host_box(sshd, tmp_path / "box") as box:
        station, plan = Station(tmp_path / "station"), edge_plan(box)
        script = REFUSES_ONCE.format(here=tmp_path)
        target = with_tool(box, tmp_path / "aziotctl", script)
        with pytest.raises(CommandFailed, match="no such slot"):
            provision(target, plan, station, steps=to_the_edge)
        written = Path(target.layout.edge_config).read_bytes()
        reports = [provision(target, plan, station, steps=to_the_edge).reports for _ in range(2)]

    assert [made[3].outcome for made in reports] == [Outcome.DONE, Outcome.ALREADY]
    assert "aziotctl applied it" in reports[1][3].said
    assert Path(target.layout.edge_config).read_bytes() == written
    called = (tmp_path / "called").read_text().splitlines()
    assert called == [f"config apply -c {target.layout.edge_config}"] * 2


@pytest.mark.fault(
    "Files",
    "aziotctl was installed after the file was written",
    comes="works: the next run has it applied",
    then="nothing",
)
def test_aziotctl_that_came_later_applies_what_was_there(
    sshd: LocalSshd, tmp_path: Path, by: Deadline
) -> None:
    (tmp_path / "box").mkdir()
    with host_box(sshd, tmp_path / "box") as box:
        station, plan = Station(tmp_path / "station"), edge_plan(box)
        bare = replace(box.target, layout=with_edge(box))
        first = [provision(bare, plan, station, steps=to_the_edge).reports[3] for _ in range(2)]
        tool = with_tool(box, tmp_path / "aziotctl", f'echo "$@" >> {tmp_path}/called')
        then = provision(tool, plan, station, steps=to_the_edge).reports[3]

    assert [report.outcome for report in first] == [Outcome.DONE, Outcome.ALREADY]
    assert "the box has no aziotctl" in first[1].said
    assert then.outcome is Outcome.DONE
    assert "config apply -c" in (tmp_path / "called").read_text()


class Verifying:
    """What ``trustbox verify`` asks about IoT Edge."""

    name, doing, seconds = "verify", "checking IoT Edge", 60.0

    def look(self, work: Work, by: Deadline) -> str:
        return iotedge(work, by)


def test_verify_tells_a_configuration_that_was_not_applied(sshd: LocalSshd, tmp_path: Path) -> None:
    def only_look() -> tuple[EffectStep | LookStep, ...]:
        return (Who(), TokenStep(), KeyStep(), Verifying())

    (tmp_path / "box").mkdir()
    with host_box(sshd, tmp_path / "box") as box:
        station, plan = Station(tmp_path / "station"), edge_plan(box)
        bare = replace(box.target, layout=with_edge(box))
        provision(bare, plan, station, steps=to_the_edge)
        tool = with_tool(box, tmp_path / "aziotctl", "exit 0")
        with pytest.raises(IntegrityFailure, match="did not apply it"):
            provision(tool, plan, station, steps=only_look)
        provision(tool, plan, station, steps=to_the_edge)
        done = provision(tool, plan, station, steps=only_look)

    assert "is as it was made" in done.reports[3].said


def test_mark_of_what_was_applied_is_the_owners_and_ends_with_another_file(
    ssh: SshShell, place: str, tmp_path: Path, by: Deadline
) -> None:
    edge = IotEdge(WithTool(ssh, tmp_path / "aziotctl", "exit 0"), path=f"{place}/aziot/c.toml")
    edge.apply(CONFIG, by=by)
    file, mark = Path(place, "aziot/c.toml"), Path(place, "aziot/.c.toml.applied")

    assert edge.applied(by=by) is True
    assert mark.stat().st_mode & 0o777 == 0o600
    again = Path(place, "aziot/again")
    again.write_bytes(file.read_bytes())
    again.replace(file)
    assert edge.applied(by=by) is False


def test_configuration_that_aziotctl_does_not_accept_is_a_refusal(
    ssh: SshShell, place: str, tmp_path: Path, by: Deadline
) -> None:
    shell = WithTool(ssh, tmp_path / "aziotctl", "echo no such slot >&2; exit 1")
    with pytest.raises(CommandFailed, match="no such slot"):
        IotEdge(shell, path=f"{place}/aziot/config.toml").apply(CONFIG, by=by)
