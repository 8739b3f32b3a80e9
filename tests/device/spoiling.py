"""What the tests of a provisioned box do to it, and look at, behind the back of what is tested."""

from __future__ import annotations

import shutil
import sqlite3
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.deadline import Deadline
from harness.secret import Secret
from provisioning.device_id import PKCS11_TA
from provisioning.enclave_format import Algorithm
from provisioning.enclave_image import parse
from provisioning.enclave_make import resigned_ta
from provisioning.iotedge import CONFIG_PATH
from provisioning.sample_enclave import SAMPLE
from provisioning.station import Station
from provisioning.trustbox import TrustBox
from provisioning.work import Work
from tests.device.enclaves import box_signer, put
from tests.device.provisioned import USER, Watched


def secrets_of(station: Station) -> set[bytes]:
    """What this station made and keeps in files of its own."""
    services = station.state / "services"
    found = {(services / name).read_bytes().strip() for name in ("est-login", "dps-key")}
    for token in ("hsm", "hsm-root"):
        text = tomllib.loads((station.state / token / "pins.toml").read_text())
        found |= {pin.encode() for pin in text.values()}
    return found


def files_of(box: TrustBox) -> str:
    """Digests of what a check could change: settings, certificates, enclaves, programs left."""
    directories = ("/etc", "/usr/lib/optee_armtz", "/root", "/var/lib/optee-client")
    script = 'find "$@" -type f -not -path "*/tee/*" -exec sha256sum {} + ; ls -A /run /tmp'
    return box.target.shell.run("sh", "-c", script, "sh", *directories, by=Deadline.after(60)).text


@contextmanager
def put_back(station: Station, aside: Path) -> Iterator[None]:
    """What the station keeps is afterwards what it was."""
    shutil.copytree(station.state, aside / "state", symlinks=True)
    yield
    shutil.rmtree(station.state)
    shutil.move(aside / "state", station.state)


@contextmanager
def spoilt(box: TrustBox, done: Watched) -> Iterator[None]:
    """Certificate revoked, registration deleted, settings readable, enclave and PKCS#11 module
    changed. The box is mended in the end, and a right PIN makes it forget the wrong one."""
    shell, by = box.target.shell, Deadline.after(60)
    changed = (box.enclave.path(SAMPLE), box.target.layout.pkcs11_module)
    assert done.run.work.chain is not None
    with done.station.authority(by=by) as ca:
        ca.revoke(done.run.work.chain[0].serial_number, "keyCompromise", by=by)
    with sqlite3.connect(done.station.state / "services" / "dps.sqlite") as service:
        service.execute("DELETE FROM registration")
    shell.run("chmod", "644", CONFIG_PATH, by=by)
    for file in changed:
        shell.run("sh", "-c", 'printf x >>"$1"', "sh", file, by=by)
    yield
    by = Deadline.after(60)
    shell.run("truncate", "-s", "-1", "--", *changed, by=by)
    shell.run("chmod", "600", CONFIG_PATH, by=by)
    with TrustBox(box.target) as fresh:
        fresh.keys.login(done.plan.token_label, Secret(USER.encode()), by=by)


class Checked:
    """A check of ``trustbox verify`` as a step of a run."""

    doing, seconds = "checking", 60.0

    def __init__(self, check: Callable[[Work, Deadline], str]) -> None:
        self._check, self.name = check, check.__name__

    def look(self, work: Work, by: Deadline) -> str:
        return self._check(work, by)


@contextmanager
def another_token_ta(box: TrustBox) -> Iterator[str]:
    """The PKCS#11 TA's own ELF and version, signed by the box's key in another scheme; its header
    digest. No version that would keep the first one out afterwards."""
    target, by = box.target, Deadline.after(60)
    path = box.enclave.path(PKCS11_TA)
    kept = target.shell.read(path, by=by)
    other = resigned_ta(kept, signer=box_signer(target), algorithm=Algorithm.PKCS1, by=by)
    put(target, PKCS11_TA, other, by)
    try:
        yield parse(other).digest.hex()
    finally:
        put(target, PKCS11_TA, kept, Deadline.after(60))
