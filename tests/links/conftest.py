"""Real ends for the links: an OpenSSH server on the loopback."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.agent_shell import AgentShell
from harness.history import History
from harness.ssh import SshShell
from harness.target import Layout
from harness.vitals import Vitals
from tests.links.bench_fixtures import bench_box, pdu  # noqa: F401 - fixtures
from tests.links.ca_hsm import Factory
from tests.links.est_pki import Pki
from tests.links.sshd import LocalSshd
from tests.links.uart_end import uart  # noqa: F401 - a fixture


@pytest.fixture(scope="session")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalSshd]:
    server = LocalSshd(tmp_path_factory.mktemp("sshd"))
    server.open()
    yield server
    server.close()


@pytest.fixture
def vitals() -> Vitals:
    return Vitals("loopback")


@pytest.fixture
def history() -> History:
    return History()


@pytest.fixture
def ssh(sshd: LocalSshd, vitals: Vitals, history: History) -> Iterator[SshShell]:
    shell = SshShell(sshd.endpoint, vitals, history, most_output=16 * 1024 * 1024)
    yield shell
    shell.close()


@pytest.fixture
def agent(
    ssh: SshShell,
    vitals: Vitals,
    history: History,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[AgentShell]:
    """The shell through the helper, which is built for this machine."""
    layout = Layout(agent_directory=str(tmp_path_factory.mktemp("helper")))
    shell = AgentShell(ssh, layout, vitals, history, most_output=16 * 1024 * 1024)
    yield shell
    shell.close()


@pytest.fixture
def place(tmp_path: Path) -> str:
    """A directory that the server's side can write to."""
    return str(tmp_path)


@pytest.fixture
def pki(tmp_path: Path) -> Pki:
    """Certificates for both ends of TLS."""
    return Pki.make(tmp_path)


@pytest.fixture(scope="module")
def ca_ground(tmp_path_factory: pytest.TempPathFactory) -> Factory:
    """Two tokens, made once; and once the ceremony of ``trustbox ca init`` was run with them."""
    made = Factory(tmp_path_factory.mktemp("factory") / "place")
    made.keep("blank")
    done = made.ca("init", *made.tokens())
    assert done.returncode == 0, done.stderr
    made.keep("set up")
    return made


@pytest.fixture
def factory(ca_ground: Factory) -> Factory:
    """Two blank tokens, no CA."""
    ca_ground.bring_back("blank")
    return ca_ground


@pytest.fixture
def set_up(ca_ground: Factory) -> Factory:
    """A CA with its root and its issuing key in two tokens."""
    ca_ground.bring_back("set up")
    return ca_ground
