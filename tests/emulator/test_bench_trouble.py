"""What goes wrong on a desk, shown on an emulated box that is presented as a bench.

The error says it, and says it before its deadline.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from harness.config_bench import BenchConfig
from harness.deadline import Deadline
from harness.errors import BoxDied, IntegrityFailure, LinkLost, UntrustedHost
from harness.ssh import SshShell
from harness.ssh_transport import fingerprint
from harness.target import Shell, Target
from harness.targets import open_target
from tests.emulator.bench import NAME, SERIAL, Presented, ask, asked, boot_id

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

HOST_KEY = "/etc/ssh/ssh_host_ecdsa_key"
# In memory only: the power cycle that follows forgets it. init starts another server at once.
SWAP = f"""
umask 077
cat >/run/other-key
mount --bind /run/other-key {HOST_KEY}
old=$(cat /run/sshd.pid)
kill "$old"
while kill -0 "$old" 2>/dev/null; do sleep 0.05; done
"""


@pytest.fixture
def by() -> Deadline:
    """For what prepares and ends a test; what is claimed has a deadline of its own."""
    return Deadline.after(120)


@pytest.fixture(autouse=True)
def powered(bench: BenchConfig) -> Iterator[None]:
    """Every test finds the box on, in a life that nobody has meddled with."""
    ask(power="on")
    boot_id(bench)
    yield


@contextmanager
def opened(presented: Presented, *, by: Deadline, serial: str = SERIAL) -> Iterator[Target]:
    with open_target(NAME, serial=serial, by=by, config=presented.file) as target:
        yield target


def test_a_plug_that_is_pulled_in_mid_command_ends_it_before_its_deadline(
    presented: Presented, by: Deadline
) -> None:
    with opened(presented, by=by) as target:
        assert isinstance(target.streams, SshShell)
        assert target.console_shell is not None
        shells: list[Shell] = [target.shell, target.streams, target.console_shell]
        for shell in shells:
            shell.run("true", by=by)
        limit = Deadline.after(40)

        def ending(shell: Shell) -> tuple[str, bool]:
            with pytest.raises((BoxDied, LinkLost)) as caught:
                shell.run("sleep", "1000", by=limit)
            return str(caught.value), limit.expired

        with ThreadPoolExecutor(len(shells)) as pool:
            waiting = [pool.submit(ending, shell) for shell in shells]
            target.shell.run("sh", "-c", "until [ $(pidof sleep | wc -w) = 3 ]; do :; done", by=by)
            ask(power="off")
            (helper, _), (plain, _), (console, _) = ended = [each.result() for each in waiting]

    assert [late for _, late in ended] == [False] * 3
    assert "nobody listens at 127.0.0.1:" in helper
    assert "nobody listens at 127.0.0.1:" in plain
    assert "the box said nothing for" in console or "nobody listens" in console


def test_power_that_the_bench_cuts_in_mid_command_is_what_the_error_says(
    presented: Presented, by: Deadline
) -> None:
    with opened(presented, by=by) as target:
        target.shell.run("true", by=by)
        cut = threading.Timer(0.5, target.rig.off)
        cut.start()
        limit = Deadline.after(30)
        with pytest.raises(BoxDied, match="its power was cut by the bench"):
            target.shell.run("sleep", "1000", by=limit)

        assert not limit.expired
        cut.join()


def test_a_swapped_host_key_is_refused_with_both_fingerprints(
    presented: Presented, bench: BenchConfig, by: Deadline
) -> None:
    private, public = key_pair()
    asked(bench, "sh", "-c", SWAP, by=by, stdin=private)
    limit = Deadline.after(30)
    with pytest.raises(UntrustedHost) as caught, opened(presented, by=limit):
        pass

    assert not limit.expired
    assert (caught.value.pinned, caught.value.offered) == (
        fingerprint_of(bench.endpoint.host_key),
        fingerprint_of(public),
    )
    assert "trustbox bench repin" in caught.value.diagnostics()
    ask(power="cycle")


def test_a_second_process_is_told_who_has_the_bench(presented: Presented, by: Deadline) -> None:
    with opened(presented, by=by):
        second = trustbox(presented.file, "info", "--serial", SERIAL)

    assert second.returncode == 8, second.stderr
    assert f"{NAME} is held by" in second.stderr
    assert f"process {os.getpid()}" in second.stderr


def test_another_box_than_the_one_on_the_label_is_refused_and_untouched(
    presented: Presented, bench: BenchConfig, by: Deadline, tmp_path: Path
) -> None:
    first = boot_id(bench)
    unlabelled = Presented(presented.facts, tmp_path / "targets.toml")
    label = f"serial = {json.dumps(SERIAL)}\n"
    assert label in presented.file.read_text()
    unlabelled.file.write_text(presented.file.read_text().replace(label, ""))
    limit = Deadline.after(30)
    said = f"reports serial number {SERIAL} .*, not TB-9999"
    with (
        pytest.raises(IntegrityFailure, match=said),
        opened(unlabelled, by=limit, serial="TB-9999"),
    ):
        pass

    assert not limit.expired
    assert boot_id(bench) == first


def trustbox(file: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Another process. It must come to its end by itself, well before this."""
    program = Path(sys.executable).with_name("trustbox")
    command = [str(program), *words, "--target", NAME, "--targets", str(file)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def key_pair() -> tuple[bytes, str]:
    key = ec.generate_private_key(ec.SECP256R1())
    private = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    return private, key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


def fingerprint_of(line: str) -> str:
    return fingerprint(base64.b64decode(line.split()[1]))
