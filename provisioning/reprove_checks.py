"""The claims of a record, and how each is proved again. Every check only looks."""

from __future__ import annotations

import datetime
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from uuid import UUID

from cryptography import x509

from harness.deadline import Deadline
from harness.errors import BadFrame, IntegrityFailure
from provisioning.certificates import der, pem
from provisioning.challenge import ChallengeServer
from provisioning.csr import registration_id
from provisioning.dps_answers import parse_assigned
from provisioning.enrolling import dps_device, is_ours, judge_of
from provisioning.http_box import box_connector, station_address
from provisioning.http_client import Http
from provisioning.incidents import first_seen
from provisioning.key_rotation import generations, in_use
from provisioning.local_services import ServiceFiles, listening_at
from provisioning.local_trust import why_not
from provisioning.record import value
from provisioning.reprove_certificate import certificate, files, path, same
from provisioning.reprove_keys import keys
from provisioning.reprove_storage import storage
from provisioning.steps_edge import EdgeStep, alone_with_its_label, edge_of, edge_there
from provisioning.steps_key import known_pins
from provisioning.steps_tee import AttestStep
from provisioning.token_state import TokenFlags
from provisioning.work import Work, need

_SPENT = {
    TokenFlags.USER_PIN_COUNT_LOW: "a wrong user PIN was tried since the last right one",
    TokenFlags.USER_PIN_FINAL_TRY: "the user PIN has one try left",
    TokenFlags.USER_PIN_LOCKED: "the user PIN is locked",
    TokenFlags.SO_PIN_COUNT_LOW: "a wrong SO PIN was tried since the last right one",
    TokenFlags.SO_PIN_FINAL_TRY: "the SO PIN has one try left",
    TokenFlags.SO_PIN_LOCKED: "the SO PIN is locked, for ever",
}


@dataclass(frozen=True, slots=True)
class Check:
    """``look`` says what is so, or raises; ``needs`` are checks without which it makes no sense,
    ``steps`` those of a run that change what it looks at. ``ours``: it looks at the station.
    """

    name: str
    look: Callable[[Work, Deadline], str]
    needs: tuple[str, ...] = ()
    seconds: float = 120.0
    wanted: Callable[[Work], bool] = lambda work: True
    steps: tuple[str, ...] = ()
    ours: bool = False


def identity(work: Work, by: Deadline) -> str:
    """The box behind the label is the one of the record, by its own word and by its TEE's."""
    target, facts = work.box.target, work.box.info.look(by=by)
    if facts["serial number"] not in (None, target.serial):
        raise IntegrityFailure(f"the box says that it is {facts['serial number']}")
    claimed = (work.earlier or {}).get("evidence_level")
    if claimed != target.evidence_level.value:
        raise IntegrityFailure(
            f"the record claims evidence of level {claimed!r}, and this target can give"
            f" {target.evidence_level.value!r}"
        )
    found = {s.tee_uuid for s in work.box.keys.tokens(by=by) if s.tee_uuid is not None}
    same(work, "box", "tee_uuid", ", ".join(sorted(map(str, found))), "the TEE's UUID")
    (work.tee_uuid,) = found
    return f"{target.serial}, TEE UUID {work.tee_uuid}"


def station(work: Work, by: Deadline) -> str:
    """The CA that the box is compared with is there and whole: its trouble is not the box's."""
    ca = work.authority()
    published = ca.files.crl("issuing")
    until = published.next_update_utc if published is not None else None
    over = until is not None and until <= datetime.datetime.now(datetime.UTC)
    late = f"; its CRL's time ran out on {until:%Y-%m-%d}: trustbox ca renew --crl" if over else ""
    return f"the CA is {ca.issuing.subject.rfc4514_string()}, and its index is there{late}"


def pin_counters(work: Work, by: Deadline) -> str:
    label = work.plan.token_label
    state = work.box.keys.state(label, by=by)
    if state is None or not state.has_user_pin:
        seen = first_seen(work.station, work.box.target.serial)
        raise IntegrityFailure(
            f"there is no initialised token {label}, and the record has one in it{seen}"
        )
    spent = [said for flag, said in _SPENT.items() if flag in state.flags]
    if spent:
        raise IntegrityFailure(f"token {label}: {'; '.join(spent)}")
    return f"token {label}: no wrong PIN was tried"


def key(work: Work, by: Deadline) -> str:
    """Found by its CKA_ID, with the public half that the record has."""
    work.pins = known_pins(work, by=by)
    work.box.keys.login(work.plan.token_label, work.pins.user, by=by)
    work.key = in_use(generations(work.box.keys, work.plan.key_purpose, by=by))
    if work.key is None:
        raise IntegrityFailure(f"the token holds no key {work.plan.key_purpose} of this box")
    same(work, "key", "cka_id", work.key.id.hex(), "its CKA_ID")
    same(work, "key", "spki_sha256", work.key.spki_sha256, "its public key")
    return f"CKA_ID {work.key.id.hex()[:16]}…, public key {work.key.spki_sha256[:16]}…"


def key_proof(work: Work, by: Deadline) -> str:
    found = work.box.keys.evidence(need(work.key, "the key"), by=by)
    if faults := found.faults():
        raise IntegrityFailure("; ".join(faults))
    # Another module with the same key may keep it less well.
    same(work, "key", "module", found.module, "the PKCS#11 module")
    same(work, "key", "module_sha256", found.module_sha256, "the PKCS#11 module's digest")
    same(work, "key", "ta_file_sha256", found.code.ta_file_sha256, "the PKCS#11 TA file's digest")
    return "it signed a fresh challenge, and the token withholds its value"


def handshake(work: Work, by: Deadline) -> str:
    """The box proves itself to a server of ours by mutual TLS with the key in its token."""
    target, pins = work.box.target, need(work.pins, "the PIN")
    chain = need(work.chain, "the certificate")
    files, address = ServiceFiles(work.station.state), station_address(target, by=by)
    files.prepare([address])
    root = pem(judge_of(work).root).decode()
    listen = listening_at(address)
    with (
        ChallengeServer(
            files.tls.server, trusted=root, judge=_judging(work), listen=listen
        ) as server,
        box_connector(
            target,
            label=work.plan.token_label,
            key_id=need(work.key, "the key").id,
            chain=chain,
            pin=lambda: pins.user,
            check=partial(work.box.keys.login, work.plan.token_label),
            trusted=files.trusted,
            by=by,
        ) as connector,
    ):
        host = f"[{address}]" if ":" in address else address
        http = Http(f"https://{host}:{server.port}", connector)
        try:
            answer = http.request("GET", server.path, by=by)
        finally:
            http.close()
        if server.refused:
            raise IntegrityFailure(server.refused)
        if answer.status != 200 or _said(answer.body) != {"nonce": server.nonce}:
            raise BadFrame("the answer that the box was given is not the one that was sent")
        if not server.heard_from(hashlib.sha256(der(chain[0])).hexdigest()):
            raise IntegrityFailure("somebody else's certificate was shown in the handshake")
    return "mutual TLS with the key in the token carried a fresh nonce"


def _said(body: bytes) -> object:
    """What the box relayed, which may be anything."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise BadFrame("the answer that the box was given did not come back as JSON") from None


def _judging(work: Work) -> Callable[[x509.Certificate], str]:
    """Another CA's certificates are judged by their chain alone: its index is not ours to read."""
    if not judge_of(work).ours:
        return lambda _: ""
    return lambda shown: why_not(work.authority(), shown)


def registration(work: Work, by: Deadline) -> str:
    device = registration_id(work.box.target.serial)
    with dps_device(work, by=by) as service:
        found = service.look_up(by=by)
    if found is None or found.status != "assigned":
        said = "knows nothing of it" if found is None else f"says {found.status}"
        raise IntegrityFailure(f"the provisioning service {said}")
    assigned = parse_assigned(found, device)
    same(work, "enrollment", "hub", assigned.hub, "the hub")
    same(work, "enrollment", "device_id", assigned.device_id, "the device id")
    return f"{device} is assigned to {assigned.hub} as {assigned.device_id}"


def iotedge(work: Work, by: Deadline) -> str:
    edge, path = edge_of(work), work.box.target.layout.edge_config
    alone_with_its_label(work, by)
    edge.check(by=by)
    if not edge_there(work, EdgeStep.config(work, by), by):
        raise IntegrityFailure(f"{path} is not what it was made")
    if edge.applied(by=by) is False:
        raise IntegrityFailure(
            f"{path} is as it was made, but the box's aziotctl did not apply it",
            hint="Provision the box again: that has it applied.",
        )
    return f"{path} is as it was made, 0600"


def enclave(work: Work, by: Deadline) -> str:
    told = value(work.earlier, "enclave", "uuid")
    if told is None:
        raise IntegrityFailure("the record has no enclave to compare with")
    uuid = UUID(str(told))
    found = work.box.target.shell.read(work.box.enclave.path(uuid), by=by)
    same(work, "enclave", "file_sha256", hashlib.sha256(found).hexdigest(), "the enclave's file")
    work.enclave_uuid, work.enclave_bytes = uuid, found
    return f"{uuid} is the file that was installed"


def attestation(work: Work, by: Deadline) -> str:
    """Fresh evidence, by the attestation key that was pinned."""
    if value(work.earlier, "attestation", "evidence") is None:
        raise IntegrityFailure("the record has no attestation key to compare with")
    said = AttestStep().look(work, by)
    evidence = need(work.evidence, "the evidence")
    pinned = value(work.earlier, "attestation", "key_fingerprint")
    if evidence.key.fingerprint != pinned:
        raise IntegrityFailure(f"the attestation key is not the pinned one ({pinned})")
    digest = work.facts["key"]["token_ta_digest"].value
    same(work, "key", "token_ta_digest", digest, "the header digest of the PKCS#11 TA")
    return f"{said}; signed by the pinned key, and the PKCS#11 TA is the record's"


_CERTIFICATE = ("certificate", "install")
_KEY = ("token", "key", *_CERTIFICATE)
CHECKS = (
    Check("identity", identity),
    Check("station", station, wanted=lambda work: is_ours(work.plan), ours=True),
    Check("pin-counters", pin_counters, ("identity",), steps=("token",)),
    Check("key", key, ("pin-counters",), steps=_KEY),
    Check("key-proof", key_proof, ("key",), steps=_KEY),
    Check(
        "keys",
        keys,
        ("key",),
        seconds=300.0,
        wanted=lambda work: bool(work.plan.keys),
        steps=("token", "keys"),
    ),
    Check("certificate", certificate, ("key",), steps=_CERTIFICATE),
    Check("files", files, ("station", "certificate"), steps=_CERTIFICATE),
    Check("path", path, ("station", "certificate"), steps=_CERTIFICATE),
    Check("handshake", handshake, ("station", "certificate"), steps=_CERTIFICATE),
    Check(
        "registration",
        registration,
        ("certificate",),
        wanted=lambda work: work.plan.dps is not None,
        steps=("register", *_CERTIFICATE),
    ),
    Check(
        "iotedge",
        iotedge,
        ("key",),
        wanted=lambda work: work.plan.edge is not None,
        steps=("iotedge", *_KEY),
    ),
    Check("enclave", enclave, ("identity",), steps=("enclave",)),
    Check(
        "storage",
        storage,
        ("enclave",),
        wanted=lambda work: work.plan.enclave is None,
        steps=("enclave",),
    ),
    Check("attestation", attestation, ("enclave",), seconds=180.0, steps=("enclave",)),
)
