"""``trustbox keys`` as it is typed, at a station with a box that it has provisioned.

The box that the commands open is the one under test, which stays open between them: a test puts it
in the place of ``keys_options.opened``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from harness.deadline import Deadline
from provisioning.certificates import pem
from provisioning.pins import Pins
from provisioning.plan import Plan, example_plan, parse_plan
from provisioning.run import Provisioned, provision
from provisioning.station import Station
from provisioning.steps import EffectStep, LookStep
from provisioning.steps_box import ReachStep, RecordStep
from provisioning.steps_identity import CertificateStep, InstallStep
from provisioning.steps_key import KeyStep, MoreKeysStep, TokenStep
from provisioning.trustbox import TrustBox
from tests.typed import Said, trustbox


@dataclass(frozen=True)
class Factory:
    """A station with its box. ``keys`` types ``trustbox keys`` there."""

    box: TrustBox
    station: Station

    def keys(self, *words: str | Path) -> Said:
        return trustbox("keys", *words, "--state", self.station.state)

    def done(self, *words: str | Path) -> Any:
        """What a command that must end well tells as JSON."""
        found = self.keys(*words, "--json")
        assert found.status == 0, found.err
        return found.told

    def run(self, steps: Callable[[], tuple[EffectStep | LookStep, ...]]) -> Provisioned:
        return provision(self.box.target, the_plan(), self.station, steps=steps)

    @contextmanager
    def opened(self) -> Iterator[tuple[TrustBox, Deadline]]:
        """The box with its token open, for what no command does; and time of its own, as each
        command has."""
        by = Deadline.after(60)
        [pins] = self.station.state.glob("pins/*.toml")
        with TrustBox(self.box.target) as box:
            box.keys.login("trustbox", Pins.read(pins).user, by=by)
            yield box, by

    def chain(self) -> bytes:
        """The box's file with its identity."""
        path = self.box.identity.chain_path
        return self.box.target.shell.read(path, by=Deadline.after(30))


def everything() -> tuple[EffectStep | LookStep, ...]:
    return (*identity_only()[:-1], MoreKeysStep(), RecordStep())


def identity_only() -> tuple[EffectStep | LookStep, ...]:
    made: tuple[EffectStep | LookStep, ...] = (ReachStep(), TokenStep(), KeyStep())
    return (*made, CertificateStep(), InstallStep(), RecordStep())


def more_keys_only() -> tuple[EffectStep | LookStep, ...]:
    return (ReachStep(), TokenStep(), MoreKeysStep())


def the_plan() -> Plan:
    text = example_plan().partition("\n[enrollment.est]\n")[0]
    text = text.replace("[keys]", '[keys]\nsigning = "ec-p256"', 1)
    return parse_plan(text.encode(), where="plan", beside=Path("/"))


def certificate_for(factory: Factory, request: Path, out: Path) -> Path:
    """From the station's CA; its root is in the file beside it."""
    asked = x509.load_pem_x509_csr(request.read_bytes())
    by = Deadline.after(60)
    with factory.station.authority(by=by) as ca:
        der = asked.public_bytes(Encoding.DER)
        serial = factory.box.target.serial
        there = next((entry.number for entry in ca.good(serial)), None)
        issued = ca.certify(der, serial, days=30, replaces=there, by=by)
        out.write_bytes(pem(issued, ca.issuing))
        out.with_name("root.pem").write_bytes(pem(ca.root))
    return out
