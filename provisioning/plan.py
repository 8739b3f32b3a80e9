"""Plans: what shall be true of a box, read from TOML as strictly as a contract.

``provisioning/plans/first.toml`` is the documented example. A key that is not known here is an
error: a typing mistake must not become a default.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from uuid import UUID

from harness.errors import BadInput
from harness.shown import HIDDEN
from provisioning.plan_edge import EdgePlan
from provisioning.plan_enrollment import DpsPlan, EstPlan, read_enrollment
from provisioning.plan_keys import read_keys, read_profile, read_secrets
from provisioning.plan_table import Table
from provisioning.token_public import KeyProfile
from provisioning.token_secrets import SecretProfile

EXAMPLE = "first.toml"


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that a run is asked for. Made by ``read_plan``; every value is valid."""

    token_label: str
    pins: Path | None
    """The operator's PIN file; None: random PINs in this station's store, unless the next two say
    otherwise."""
    pin_command: tuple[str, ...] | None
    """A program that prints the PIN file."""
    pin_hsm: str | None
    """The factory's token with the secret that PINs are derived from."""
    key_purpose: str
    key_profile: KeyProfile
    keys: Mapping[str, KeyProfile | SecretProfile]
    """More keys of the box's, by purpose."""
    validity_days: int | None
    """None: without end, 99991231235959Z."""
    enclave: Path | None
    """A signed .ta file; None: the sample enclave, built with the dev kit of the firmware."""
    enclave_uuid: UUID | None
    golden: bytes | None
    """The expected TEE measurement; None: the one that came with the firmware."""
    token_ta: bytes | None
    """The header digest that the PKCS#11 TA must have, of 32 bytes; None: that of the earlier
    record, which the first run trusts."""
    mark_unfused: bool
    """A box whose identity others share is enrolled, and marked in its record, not refused."""
    accept_unknown: bool
    """A box of which nobody knows whether its identity is its own is enrolled, not refused."""
    est: EstPlan | None
    """None: the station's CA certifies the device key itself."""
    dps: DpsPlan | None
    """None: the box is registered nowhere."""
    edge: EdgePlan | None
    """None: nothing is written for IoT Edge."""
    beside: Path
    """What relative paths in the plan are relative to."""
    text: bytes
    """The file as it was read: a record keeps its digest."""


def example_plan() -> str:
    """The documented plan that ships with the project."""
    return resources.files("provisioning").joinpath("plans", EXAMPLE).read_text()


def read_plan(path: Path) -> Plan:
    """Raises BadInput, naming file, table and key of the first thing that is wrong.

    Relative paths in the plan are relative to the plan's directory.
    """
    try:
        text = path.read_bytes()
    except OSError as problem:
        raise BadInput(
            where=str(path), key="the file", value=problem.strerror, expected="a readable plan"
        ) from problem
    return parse_plan(text, where=str(path), beside=path.parent)


def is_plan(path: Path) -> bool:
    """Whether the file is meant for a plan, good or not: it is TOML and has a table [secrets]."""
    try:
        return "secrets" in tomllib.loads(path.read_text())
    except (OSError, ValueError):
        return False


def parse_plan(text: bytes, *, where: str, beside: Path) -> Plan:
    """See ``read_plan``; ``where`` names the plan in errors."""
    try:
        found = tomllib.loads(text.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as problem:
        raise BadInput(
            where=where, key="the file", value=str(problem), expected="a TOML document"
        ) from problem
    known = (*_TABLES, "secrets", "keys", "enrollment", "iotedge")
    for name in found:
        if name not in known:
            expected = "no such table; known are " + ", ".join(known)
            raise BadInput(where=where, key=f"[{name}]", value=HIDDEN, expected=expected)
    tables = {name: Table(where, name, found.get(name, {}), keys) for name, keys in _TABLES.items()}
    token, key, certificate = tables["token"], tables["key"], tables["certificate"]
    enclave, integrity = tables["enclave"], tables["integrity"]
    pins = read_secrets(found.get("secrets", {}), where, beside)
    purpose = key.text("purpose", r"[a-z0-9-]{1,32}", "1 to 32 of a-z, 0-9 and -")
    source = enclave.text("source", r".+", '"sample" or the path of a .ta file')
    uuid = enclave.optional("uuid", _UUID, "a UUID in lower case")
    if source != "sample" and uuid is None:
        raise enclave.wrong("uuid", None, "the UUID of the enclave in the .ta file")
    if source == "sample" and uuid is not None:
        raise enclave.wrong("uuid", uuid, 'no uuid beside source = "sample"')
    golden = integrity.text("golden", r"firmware|[0-9a-f]{64}", '"firmware" or 64 hex digits')
    token_ta = integrity.optional("token_ta", r"[0-9a-f]{64}", "64 hex digits")
    unfused = integrity.optional("unfused", r"refuse|mark", '"refuse" or "mark"')
    unknown = tables["identity"].optional("unknown", r"refuse|accept", '"refuse" or "accept"')
    keys = read_keys(found.get("keys", {}), where, purpose)
    est, dps, edge = read_enrollment(found, where, beside, (purpose, *keys))
    return Plan(
        est=est,
        dps=dps,
        edge=edge,
        beside=beside,
        token_label=token.text("label", r"[ -~]{1,32}", "1 to 32 printable ASCII characters"),
        pins=pins.file,
        pin_command=pins.command,
        pin_hsm=pins.hsm,
        key_purpose=purpose,
        key_profile=read_profile(found.get("key", {}).get("profile"), where),
        keys=keys,
        validity_days=certificate.days("validity_days"),
        enclave=None if source == "sample" else enclave.file("source", beside),
        enclave_uuid=UUID(uuid) if uuid else None,
        golden=None if golden == "firmware" else bytes.fromhex(golden),
        token_ta=bytes.fromhex(token_ta) if token_ta else None,
        mark_unfused=unfused == "mark",
        accept_unknown=unknown == "accept",
        text=text,
    )


_UUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_TABLES: Mapping[str, tuple[str, ...]] = {
    "token": ("label",),
    "key": ("purpose", "profile"),
    "certificate": ("validity_days",),
    "enclave": ("source", "uuid"),
    "integrity": ("golden", "token_ta", "unfused"),
    "identity": ("unknown",),
}
