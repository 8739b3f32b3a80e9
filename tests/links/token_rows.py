"""What the tables of token faults share: a plan, a run to the key's proof, and tokens to run on."""

from __future__ import annotations

from collections.abc import Callable

from harness.deadline import Deadline
from harness.secret import Secret
from provisioning.keys import KeySession
from provisioning.plan import Plan, example_plan, parse_plan
from provisioning.run import Provisioned, provision
from provisioning.station import Station
from provisioning.steps import EffectStep, LookStep
from provisioning.steps_box import RecordStep
from provisioning.steps_key import KeyProofStep, KeyStep, TokenStep
from provisioning.token_public import KeyProfile
from provisioning.token_template import STRICT, KeyTemplate
from tests.links.host_box import HostBox, Who

LABEL, SO, USER = "trustbox", "so-pin-40127788", "user-pin-40127788"
PURPOSE = "device-id"


def to_the_proof() -> tuple[EffectStep | LookStep, ...]:
    return (Who(), TokenStep(), KeyStep(), KeyProofStep(), RecordStep())


def plan(box: HostBox, *, user: str = USER, label: str = LABEL) -> Plan:
    box.pins.write_text(f"so_pin = '{SO}'\nuser_pin = '{user}'\n")
    text = (
        example_plan().partition("\n[enrollment.est]\n")[0].replace('"generate"', f'"{box.pins}"')
    )
    text = text.replace(f'\nlabel = "{LABEL}"', f"\nlabel = '{label}'")
    return parse_plan(text.encode(), where="plan.toml", beside=box.place)


def run(box: HostBox, wanted: Plan, station: Station) -> Provisioned:
    return provision(box.target, wanted, station, steps=to_the_proof)


def objects(box: HostBox) -> set[str]:
    """The files of the token's objects; the token's own file, which counts PINs, apart."""
    found = (box.place / "tokens").rglob("*.object")
    return {f"{file.parent.name}/{file.name}" for file in found if file.name != "token.object"}


def ours(keys: KeySession, by: Deadline, label: str = LABEL) -> None:
    keys.initialise(label, so_pin=Secret(SO.encode()), user_pin=Secret(USER.encode()), by=by)
    keys.login(label, Secret(USER.encode()), by=by)


def made_with(
    template: KeyTemplate = STRICT, profile: KeyProfile = KeyProfile.EC_P256
) -> Callable[[KeySession, Deadline], None]:
    def arrange(keys: KeySession, by: Deadline) -> None:
        ours(keys, by)
        keys.token.ensure(keys.id_of(PURPOSE), PURPOSE, profile, templates=(template,), by=by)

    return arrange
