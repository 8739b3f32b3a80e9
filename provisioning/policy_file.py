"""Policy files: what must hold of which boxes (``policies/default.toml`` says it to people)."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

from harness.config_table import Table
from harness.errors import BadInput, Misuse
from harness.target import EvidenceLevel
from provisioning.evidence import AttestationKey
from provisioning.policies import DEFAULT
from provisioning.policy import TEE_GROUPS, Check, Policy

LARGEST = 1 << 20
_PORT = re.compile(r"(?:tcp|udp)6?/(?:\*|[0-9a-f.:]{1,45})/[0-9]{1,5}", re.ASCII)
_TA_NAME = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\.ta", re.ASCII)
_GROUP = re.compile(r"[a-z_][a-z0-9_-]{0,31}", re.ASCII)
_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)


@dataclass(frozen=True, slots=True)
class PolicyEnclave:
    """An enclave to measure, with what its file says it must be."""

    uuid: UUID
    memory: bytes | None
    """The golden measurement; None for an encrypted file, whose contents cannot be read here."""
    identity: bytes
    measures: int | None
    counter_command: int | None


@dataclass(frozen=True, slots=True)
class Pinned:
    """What was kept of an enrolment. None: it was not there."""

    key: AttestationKey | None = None
    ta_files: Mapping[str, str] | None = None
    counter: int | None = None
    tee_uuid: UUID | None = None
    tokens: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class PolicyFile:
    """The policy of a station, without what belongs to one question to one box."""

    require: Mapping[EvidenceLevel, frozenset[Check]]
    tolerate: Mapping[EvidenceLevel, frozenset[Check]]
    golden: bytes | None = None
    """The TEE core's golden measurement, for who has no firmware to compute it from."""
    ports: frozenset[str] | None = None
    tee_groups: frozenset[str] = TEE_GROUPS
    counter: int | None = None
    ta_files: Mapping[str, str] | None = None
    enclave: PolicyEnclave | None = None
    where: str = field(default="", compare=False)

    def policy(
        self,
        *,
        nonce: bytes,
        level: EvidenceLevel,
        golden: bytes | None,
        pinned: Pinned | None = None,
        tee_uuid: UUID | None = None,
    ) -> Policy:
        """For one question. What the file says goes before what was pinned, but for the sealed
        counter, of which the higher one counts. Raises BadInput."""
        kept = pinned or Pinned()
        counters = [count for count in (self.counter, kept.counter) if count is not None]
        enclave = self.enclave
        measured = enclave is not None and enclave.measures is not None
        try:
            return Policy(
                nonce=nonce,
                tee_memory=self.golden if self.golden is not None else golden,
                level=level,
                key=kept.key,
                enclave=enclave.uuid if enclave else None,
                enclave_memory=enclave.memory if enclave and measured else None,
                enclave_identity=enclave.identity if enclave else None,
                tee_uuid=tee_uuid or kept.tee_uuid,
                ta_files=self.ta_files if self.ta_files is not None else kept.ta_files,
                tokens=kept.tokens,
                counter=max(counters, default=None),
                ports=self.ports,
                tee_groups=self.tee_groups,
                require=self.require[level],
                tolerate=self.tolerate[level],
            )
        except Misuse as problem:
            raise BadInput(
                where=self.where, key="tolerate", value=problem.message, expected="other checks"
            ) from problem


def read_policy(path: Path = DEFAULT) -> PolicyFile:
    """Raises BadInput: file, key, value and the form that would be right."""
    where = str(path)
    try:
        with path.open("rb") as file:
            text = file.read(LARGEST + 1)
        if len(text) > LARGEST:
            raise ValueError(f"it has more than {LARGEST} bytes")
        values = tomllib.loads(text.decode())
    except (OSError, ValueError) as problem:
        raise BadInput(
            where=where, key="the file", value=str(problem), expected="a policy in TOML"
        ) from problem
    top = Table(values, where=where, name="policy")
    require, tolerate = _checks(top, "require"), _checks(top, "tolerate")
    levels = {level: top.table_or_none(level.value) for level in EvidenceLevel}
    found = PolicyFile(
        require={lv: require | (_checks(t, "require") if t else set()) for lv, t in levels.items()},
        tolerate={
            lv: tolerate | (_checks(t, "tolerate") if t else set()) for lv, t in levels.items()
        },
        golden=_golden(top),
        ports=_ports(top),
        tee_groups=_groups(top),
        counter=top.whole_or("counter", 0, least=0, most=(1 << 63) - 1)
        if "counter" in top
        else None,
        ta_files=_ta_files(top, values.get("ta_files")),
        enclave=_enclave(top.table_or_none("enclave")),
        where=where,
    )
    for table in levels.values():
        if table is not None:
            table.finish()
    top.finish()
    for level in EvidenceLevel:
        found.policy(nonce=bytes(32), level=level, golden=None)
    return found


def _checks(table: Table, key: str) -> frozenset[Check]:
    names = table.texts_or(key, ())
    known = [check.value for check in Check]
    for name in names:
        if name not in known:
            raise table.bad(key, f"names of checks: {', '.join(known)}")
    return frozenset(Check(name) for name in names)


def _golden(table: Table) -> bytes | None:
    if "golden" not in table:
        return None
    text = table.text("golden")
    if not _SHA256.fullmatch(text):
        raise table.bad("golden", "64 hex digits in lower case")
    return bytes.fromhex(text)


def _ports(table: Table) -> frozenset[str] | None:
    if "ports" not in table:
        return None
    ports = table.texts_or("ports", ())
    if not all(_PORT.fullmatch(port) for port in ports):
        raise table.bad("ports", 'protocol/address/port, as in ["tcp/*/22"]')
    return frozenset(ports)


def _groups(table: Table) -> frozenset[str]:
    names = table.texts_or("tee_groups", tuple(TEE_GROUPS))
    if not all(_GROUP.fullmatch(name) for name in names):
        raise table.bad("tee_groups", 'names of groups, as in ["tee"]')
    return frozenset(names)


def _ta_files(top: Table, values: object) -> Mapping[str, str] | None:
    if (table := top.table_or_none("ta_files")) is None or not isinstance(values, dict):
        return None
    for name, digest in values.items():
        right = isinstance(digest, str) and _SHA256.fullmatch(digest)
        if not right or not _TA_NAME.fullmatch(name):
            raise table.bad(name, '"<uuid>.ta" = "<SHA-256 in hex>"')
    return dict(values)


def _enclave(table: Table | None) -> PolicyEnclave | None:
    if table is None:
        return None
    path = table.path("file")
    commands = {
        key: table.whole_or(key, 0, least=0, most=(1 << 32) - 1) if key in table else None
        for key in ("measures", "counter_command")
    }
    table.finish()
    try:
        data = path.read_bytes()
    except OSError as problem:
        raise table.bad("file", f"a signed .ta file ({problem.strerror})") from problem
    # Here: who names no enclave need not wait for these and what they need to be imported.
    from provisioning.enclave_golden import golden_ta
    from provisioning.enclave_image import Kind, parse

    image = parse(data, where=str(path))
    return PolicyEnclave(
        uuid=image.uuid,
        memory=golden_ta(data, where=str(path)) if image.kind is Kind.PLAIN else None,
        identity=image.digest,
        measures=commands["measures"],
        counter_command=commands["counter_command"],
    )
