"""Options and PINs of ``trustbox ca``: what is wrong is named, and no PIN is seen."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
from pathlib import Path

import pytest

from harness.deadline import Deadline
from tests.links.ca_hsm import PINS, SO_PIN, Factory

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--root-token", "pkcs11:token=a?pin-value=27182818"), "pin-value is '(hidden)'"),
        (("--root-token", "pkcs11:token=a?module-path=/no/such.so"), "no PKCS#11 module /no/such"),
        (("--root-token", "/etc/key.pem"), "root.token"),
        (("--root-key", "rsa-1024"), "root.key is 'rsa-1024'"),
        (("--root-days", "soon"), "days is 'soon'"),
        (("--device-key", "dsa"), "device_keys"),
        (("--crl-url", "ftp://x"), "crl_url"),
        (("--hardware-type", "1.2.x"), "hardware_type"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_wrong_option_is_named(
    factory: Factory, arguments: tuple[str, ...], complaint: str
) -> None:
    done = factory.ca("init", *arguments)

    assert done.returncode == 2
    assert complaint in done.stderr
    assert "27182818" not in done.stderr + done.stdout


def test_pin_file_that_others_may_read_is_refused(factory: Factory) -> None:
    factory.pin_file("Root CA").chmod(0o644)

    done = factory.ca("init", *factory.tokens())

    assert done.returncode == 2
    assert "its mode is '0644'" in done.stderr


def test_pin_that_is_nowhere_cannot_be_asked_for_without_a_terminal(factory: Factory) -> None:
    done = factory.ca("init", *factory.tokens(pin_source=False))

    assert done.returncode == 2
    assert "there is nobody to ask" in done.stderr


def test_person_at_a_terminal_is_asked_for_each_pin_unseen(factory: Factory) -> None:
    mine, theirs = pty.openpty()
    argv = factory.argv("init", *factory.tokens(pin_source=False))
    child = subprocess.Popen(
        argv, stdin=theirs, stdout=theirs, stderr=theirs, env=factory.environment,
        start_new_session=True, close_fds=True,
    )  # fmt: skip
    os.close(theirs)
    said, answered, by = b"", 0, Deadline.after(60)
    while child.poll() is None or select.select([mine], [], [], 0)[0]:
        if not select.select([mine], [], [], min(0.2, by.left("the ceremony")))[0]:
            continue
        try:
            said += os.read(mine, 4096)
        except OSError:
            break
        asked = re.findall(rb"PIN of token (Root CA|Line CA): ", said)
        for label in asked[answered:]:
            os.write(mine, PINS[label.decode()].encode() + b"\n")
            answered += 1
    os.close(mine)

    assert child.wait() == 0, said
    assert answered == 2
    assert not any(pin.encode() in said for pin in PINS.values())


def test_pins_are_in_no_output_file_or_command_line(factory: Factory) -> None:
    child = subprocess.Popen(
        factory.argv("init", *factory.tokens()),
        env=factory.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    seen = b""
    while child.poll() is None:
        for process in Path("/proc").glob("[0-9]*"):
            for name in ("cmdline", "environ"):
                try:
                    seen += (process / name).read_bytes()
                except OSError:
                    continue
    assert child.stdout is not None
    seen += child.stdout.read()
    child.stdout.close()
    seen += b"".join(f.read_bytes() for f in (factory.state / "ca").iterdir())

    assert child.returncode == 0
    assert b"provisioning.token_worker" in seen
    assert not any(pin.encode() in seen for pin in (*PINS.values(), SO_PIN))


@pytest.mark.parametrize(
    "uri",
    [
        "pkcs11:token=a?module-path=/lib/a.so&pin-value=27182818",
        "pkcs11:token=a b?pin-value=27182818",
        "pkcs11:token=a?pin-source=27182818&module-path=/lib/a.so",
        "pkcs11:token=a?module-path=/lib/a.so&pin-source=file:27182818",
        "pkcs11:token=a?pin-source=file:/a&pin-source=27182818",
        "pkcs11:token=a;pin=27182818",
        "PKCS11:token=a?pin-value=27182818",
        "27182818",
    ],
)
def test_pin_that_was_put_into_a_uri_is_neither_written_down_nor_repeated(
    factory: Factory, uri: str
) -> None:
    done = factory.ca("init", "--root-token", uri)

    kept = b"".join(f.read_bytes() for f in (factory.state / "ca").iterdir())
    assert done.returncode == 2
    assert "27182818" not in done.stdout + done.stderr
    assert b"27182818" not in kept
