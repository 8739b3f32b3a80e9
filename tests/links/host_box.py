"""This host in the place of a box, for the steps that enroll: SSH to the loopback, SoftHSM2 for the
token of the TEE. Links, files, OpenSSL and PKCS#11 are real; what is not there is a TEE, so this is
for what servers and files do to a run, and for nothing about keys.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Never, Protocol
from uuid import UUID

from harness.capability import Capability
from harness.deadline import Deadline
from harness.history import History
from harness.holding import Endpoint
from harness.ssh import SshShell
from harness.target import Console, Layout, Stream, Target, World
from harness.vitals import Vitals
from provisioning.plan import Plan, example_plan, parse_plan
from provisioning.record import load, value
from provisioning.run import Provisioned, provision
from provisioning.softhsm import softhsm_module
from provisioning.station import Station
from provisioning.steps import EffectStep, LookStep
from provisioning.steps_box import RecordStep
from provisioning.steps_dps import RegisterStep
from provisioning.steps_identity import CertificateStep, InstallStep
from provisioning.steps_key import KeyStep, TokenStep
from provisioning.work import Work
from tests.links.peers import pkcs11_provider

SERIAL = "TB-HOST-0001"
DEVICE = SERIAL.lower()
USER_PIN = "planted-user-pin-51884420"


class Listening(Protocol):
    """An SSH server of this host."""

    def endpoint(self) -> Endpoint: ...


class NoRig:
    """Nothing holds this box."""

    def __getattr__(self, name: str) -> Never:
        raise AssertionError(f"the run used the rig's {name}")


class WithEnvironment:
    """SSH gives programs no environment of ours; SoftHSM, unlike a box's module, needs one."""

    def __init__(self, ssh: SshShell, words: tuple[str, ...]) -> None:
        self._ssh, self._words = ssh, words

    def stream(self, *argv: str, by: Deadline, secret: bool = False) -> Stream:
        return self._ssh.stream("env", *self._words, *argv, by=by, secret=secret)


class Who:
    """The first step's part that needs no TEE: which box this is."""

    name, doing, seconds = "reach", "asking the box who it is", 10.0

    def look(self, work: Work, by: Deadline) -> str:
        work.tee_uuid = UUID(int=1)
        return "this host"


class As:
    """The first step of a run on a box that an earlier run gave key and certificate."""

    name, doing, seconds = "reach", "asking the box who it is", 10.0

    def __init__(self, earlier: Work) -> None:
        self._earlier = earlier

    def look(self, work: Work, by: Deadline) -> str:
        before = self._earlier
        work.tee_uuid, work.pins = before.tee_uuid, before.pins
        work.key, work.chain = before.key, before.chain
        return "this host, as before"


@dataclass(frozen=True)
class HostBox:
    """``place``: its file system's part of ours. ``run`` does the steps that enroll."""

    target: Target
    place: Path
    pins: Path

    def plan(self, enrollment: str, *, purpose: str = "device-id") -> Plan:
        """The example's first tables, and then these."""
        text = example_plan().partition("\n[enrollment.est]\n")[0] + "\n" + enrollment
        text = text.replace('"generate"', f'"{self.pins}"')
        text = text.replace('purpose = "device-id"', f'purpose = "{purpose}"')
        return parse_plan(text.encode(), where="plan.toml", beside=self.place)

    def run(self, plan: Plan, station: Station, **seconds: float) -> Provisioned:
        """``seconds``: how long steps may take, by name, instead of as long as they usually may."""

        def steps() -> tuple[EffectStep | LookStep, ...]:
            register = (RegisterStep(),) if plan.dps else ()
            made: tuple[EffectStep | LookStep, ...] = (
                *(Who(), TokenStep(), KeyStep(), CertificateStep(), InstallStep(), *register),
                RecordStep(),
            )
            for step in made:
                step.seconds = seconds.get(step.name, step.seconds)
            return made

        return provision(self.target, plan, station, steps=steps)

    def register(
        self, plan: Plan, station: Station, *, earlier: Work, seconds: float
    ) -> Provisioned:
        """Only the registration, of a box that an earlier run has prepared."""

        def steps() -> tuple[EffectStep | LookStep, ...]:
            registering = RegisterStep()
            registering.seconds = seconds
            return (As(earlier), registering, RecordStep())

        return provision(self.target, plan, station, steps=steps)

    @property
    def chain(self) -> Path:
        return self.place / "identity" / "device.pem"

    def clean(self) -> None:
        """As it was before its first certificate; its key stays."""
        shutil.rmtree(self.place / "identity", ignore_errors=True)

    def left_in_run(self) -> list[str]:
        """What a run put into the RAM disk and did not remove."""
        return sorted(p.name for p in (self.place / "run").iterdir())


def last_words(station: Station) -> tuple[str, str]:
    """Step and phase of the journal's last line."""
    text = (station.records(SERIAL) / "journal.jsonl").read_text()
    entry = json.loads(text.splitlines()[-1])
    return entry["step"], entry["phase"]


def recorded(station: Station, about: str, name: str) -> object:
    return value(load(station.records(SERIAL) / "record.json"), about, name)


@contextmanager
def host_box(sshd: Listening, place: Path) -> Iterator[HostBox]:
    """``place`` is its file system; one that was there before is taken as it is."""
    for name in ("tokens", "run"):
        (place / name).mkdir(exist_ok=True)
    (place / "softhsm2.conf").write_text(f"directories.tokendir = {place / 'tokens'}\n")
    pins = place / "pins.toml"
    pins.touch(mode=0o600)
    pins.write_text(f'so_pin = "planted-so-pin-9917"\nuser_pin = "{USER_PIN}"\n')
    shell = SshShell(sshd.endpoint, Vitals("host"), History())
    consoles: Mapping[World, Console] = {}
    p11_kit = shutil.which("p11-kit")
    assert p11_kit is not None, "the tests need the Debian package p11-kit"
    try:
        yield HostBox(
            Target(
                name="host",
                serial=SERIAL,
                capabilities=frozenset({Capability.PKCS11, Capability.PKCS11_REMOTE}),
                shell=shell,
                streams=WithEnvironment(shell, (f"SOFTHSM2_CONF={place / 'softhsm2.conf'}",)),
                consoles=consoles,
                rig=NoRig(),
                layout=Layout(
                    pkcs11_module=softhsm_module(),
                    pkcs11_provider=str(pkcs11_provider()),
                    p11_kit=p11_kit,
                    agent_directory=str(place / "run"),
                    identity_directory=str(place / "identity"),
                ),
            ),
            place,
            pins,
        )
    finally:
        shell.close()
