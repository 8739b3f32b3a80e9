"""Profile ``shipped``: an emulated box as those in the field are today."""

from __future__ import annotations

import os
import re
import socket
import subprocess
from collections.abc import Iterator

import paramiko
import pytest

from emulator.build import ensure_image
from emulator.flags import ENTROPY_TA, PKCS11_TA
from emulator.image import Image
from emulator.opening import hold_own
from harness.deadline import Deadline
from harness.history import History
from harness.holding import Holding
from harness.ssh import SshShell
from harness.target import World
from provisioning.observe_script import read_normal_world

# The first test may have to build the image.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

SERIAL = f"TB-SHIPPED-{os.environ.get('PYTEST_XDIST_WORKER', 'gw0').upper()}"


@pytest.fixture(scope="module")
def image() -> Image:
    return ensure_image("shipped", archive=None, progress=print)


@pytest.fixture(scope="module")
def held(image: Image) -> Iterator[Holding]:
    holding = hold_own(name="field", serial=SERIAL, by=Deadline.after(120), profile="shipped")
    yield holding
    holding.rig.close()


@pytest.fixture
def by() -> Deadline:
    return Deadline.after(60)


def names(image: Image, directory: str) -> str:
    done = subprocess.run(
        ["/usr/sbin/debugfs", "-R", f"ls -p {directory}", str(image.root)],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def test_nothing_of_the_token_is_on_its_disk(image: Image) -> None:
    tas = names(image, "/usr/lib/optee_armtz")
    libraries = names(image, "/usr/lib/aarch64-linux-gnu")

    assert PKCS11_TA not in tas
    assert "libckteec" not in libraries
    assert "/p11-kit/" not in names(image, "/usr/bin")
    assert ENTROPY_TA in tas  # without it a restored box would repeat its randomness
    assert "libteec" in libraries


def test_both_worlds_share_one_uart(held: Holding) -> None:
    said = held.consoles[World.NORMAL].transcript()

    assert World.SECURE not in held.consoles
    assert re.search(rb"I/TC: OP-TEE version: ", said)
    assert re.search(rb"Hit any key to stop autoboot: +2", said)
    assert re.search(rb"\] Booting Linux on physical CPU", said)


def test_the_manual_s_password_is_asked_for_on_the_uart(held: Holding, by: Deadline) -> None:
    console = held.consoles[World.NORMAL]
    for password, answer in (("wrong", rb"Login incorrect"), ("root", rb"# $")):
        console.send(b"\n")
        console.expect(re.compile(rb"login: $"), by=by)
        console.send(b"root\n")
        console.expect(re.compile(rb"Password: $"), by=by)
        console.send(password.encode() + b"\n")
        console.expect(re.compile(answer), by=by)
    console.send(b"exit\n")


def logs_in(held: Holding, user: str, password: str) -> bool:
    """Whether the password opens SSH, tried as anybody would."""
    endpoint = held.endpoint()
    with socket.create_connection((endpoint.host, endpoint.port), timeout=30) as sock:
        transport = paramiko.Transport(sock)
        try:
            transport.start_client(timeout=30)
            transport.auth_password(user, password)
            return transport.is_authenticated()
        except paramiko.AuthenticationException:
            return False
        finally:
            transport.close()


def test_the_manual_s_password_opens_ssh(held: Holding) -> None:
    assert not logs_in(held, "root", "wrong")
    assert logs_in(held, "root", "root")


@pytest.fixture
def shell(held: Holding) -> Iterator[SshShell]:
    shell = SshShell(held.endpoint, held.vitals, History())
    yield shell
    shell.close()


@pytest.fixture
def changed_password(shell: SshShell, by: Deadline) -> Iterator[None]:
    """Root's password is one that nobody knows, for the length of a test."""
    before = shell.read("/etc/shadow", by=by)
    script = 'h=$(openssl passwd -6 -stdin) && sed -i "s|^root:[^:]*|root:$h|" /etc/shadow'
    shell.run("sh", "-c", script, by=by, stdin=os.urandom(16).hex().encode())
    yield
    shell.write("/etc/shadow", before, by=Deadline.after(30), mode=0o640)


def passwords(shell: SshShell, held: Holding, by: Deadline) -> object:
    return read_normal_world(shell, held.layout, by=by)[0]["passwords"]


@pytest.mark.integrity
@pytest.mark.case("N-41", expect="default-passwords fails as shipped")
def test_the_manual_s_password_is_told_by_the_check(
    shell: SshShell, held: Holding, by: Deadline
) -> None:
    assert passwords(shell, held, by) == {"root": "default"}


@pytest.mark.integrity
@pytest.mark.case("N-41", expect="the login is refused, and default-passwords passes")
def test_once_it_is_changed_the_manual_s_password_opens_nothing(
    changed_password: None, shell: SshShell, held: Holding, by: Deadline
) -> None:
    assert not logs_in(held, "root", "root")
    assert not logs_in(held, "admin", "trust")
    assert passwords(shell, held, by) == {"root": "other"}


def test_it_takes_its_time_to_boot(held: Holding) -> None:
    """The countdown is a real one: two seconds pass between its line and the kernel's start."""
    lines = held.consoles[World.NORMAL].lines()
    begin = next(line.at for line in lines if "Hit any key" in line.text)
    end = next(line.at for line in lines if "Starting kernel" in line.text)

    assert end - begin > 1.5
