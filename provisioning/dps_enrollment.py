"""Enrollments of Azure's Device Provisioning Service: what we wish of one, and what one is. Pure.

The fields are those of ``EnrollmentGroup`` and ``IndividualEnrollment`` in the service's REST API,
2021-10-01. An enrollment has more of them than we have a word for, and others change them as well
(portal, az): what nobody wished is given back as it was found.
"""

from __future__ import annotations

import base64
import copy
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import TypedDict
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from harness.errors import BadFrame, Misuse
from provisioning.dps_answers import parse_object
from provisioning.http_client import Answer


class Kind(Enum):
    """Which sort of enrollment, and what its address and its certificates are called."""

    INDIVIDUAL = "individual"
    GROUP = "group"

    @property
    def path(self) -> str:
        return "enrollments" if self is Kind.INDIVIDUAL else "enrollmentGroups"

    @property
    def id_key(self) -> str:
        return "registrationId" if self is Kind.INDIVIDUAL else "enrollmentGroupId"

    @property
    def certificates_key(self) -> str:
        return "clientCertificates" if self is Kind.INDIVIDUAL else "signingCertificates"


class Allocation(Enum):
    """How a hub is chosen; CUSTOM asks a webhook."""

    HASHED = "hashed"
    GEO_LATENCY = "geoLatency"
    STATIC = "static"
    CUSTOM = "custom"


class Reprovision(Enum):
    """What becomes of a device's data when it registers again and another hub is its own."""

    MIGRATE = "migrate"
    RESET = "reset"
    NEVER = "never"

    @property
    def policy(self) -> dict[str, bool]:
        moves = self is not Reprovision.NEVER
        return {"updateHubAssignment": moves, "migrateDeviceData": self is Reprovision.MIGRATE}


class Wish(TypedDict, total=False):
    """What an enrollment shall be. A key that is absent is no wish: the field stays as it is."""

    enabled: bool
    device_id: str
    """The device's id at its hub, for individual enrollments; "" is no wish."""
    hub: str
    """Host name; "" is no wish."""
    edge: bool | None
    """Whether devices become IoT Edge devices at their hub; None is no wish."""
    twin: Mapping[str, object] | None
    """``initialTwin``: tags, properties.desired; None is no wish."""
    allocation: Allocation | None
    webhook: tuple[str, str] | None
    """Address and API version of what CUSTOM asks."""
    reprovision: Reprovision | None


@dataclass(frozen=True, slots=True)
class Enrollment:
    """Who may register. ``sha256`` is of the certificate, hexadecimal in lower case."""

    kind: Kind
    id: str
    sha256: str
    enabled: bool = True
    device_id: str = ""
    hub: str = ""
    etag: str = ""
    edge: bool = False
    found: Mapping[str, object] = field(default_factory=dict, compare=False, repr=False)
    """All that the service said of it."""


_NOT_OURS = ("createdDateTimeUtc", "etag", "lastUpdatedDateTimeUtc", "registrationState")
"""Fields that the service alone writes; the ETag goes into a header."""
_TWIN = frozenset({"$metadata", "$version", "count", "metadata", "version"})
"""What the service may add to a twin (TwinCollection)."""
_NAMES = {
    "provisioningStatus": "status",
    "deviceId": "device id",
    "iotHubHostName": "hub",
    "capabilities": "IoT Edge capability",
    "initialTwin": "initial twin",
    "allocationPolicy": "allocation policy",
    "customAllocationDefinition": "webhook",
    "reprovisionPolicy": "reprovision policy",
}


def checked_wish(kind: Kind, wish: Wish) -> None:
    """Raises Misuse for wishes that do not go together."""
    if kind is Kind.GROUP and wish.get("device_id"):
        raise Misuse("a group has no device id: each device gets its registration id")
    webhook, allocation = wish.get("webhook"), wish.get("allocation")
    if (webhook is not None) != (allocation is Allocation.CUSTOM):
        raise Misuse("the allocation policy custom and the webhook that it asks need each other")
    if webhook is not None and (urlsplit(webhook[0]).scheme, bool(webhook[1])) != ("https", True):
        raise Misuse("the webhook must be an https URL and have an API version")
    twin = wish.get("twin")
    if twin is not None and not _is_twin(twin):
        raise Misuse(
            "the initial twin has another form",
            hint='It is {"tags": {...}, "properties": {"desired": {...}}}; each may be absent.',
        )


def differences(present: Enrollment, certificate: x509.Certificate, wish: Wish) -> list[str]:
    """What is not as it is wished, in words."""
    other = [] if present.sha256 == thumbprint(certificate) else ["certificate"]
    wanted = _fields(wish, present.found)
    return other + [
        _NAMES[key] for key, value in wanted.items() if not _same(present.found.get(key), value)
    ]


def body_of(
    kind: Kind, id: str, certificate: x509.Certificate, wish: Wish, present: Enrollment | None
) -> dict[str, object]:
    """The whole enrollment to be sent: the present one with the wishes in their places."""
    found: Mapping[str, object] = present.found if present else {"provisioningStatus": "enabled"}
    kept = {
        key: copy.deepcopy(value)
        for key, value in found.items()
        if key not in _NOT_OURS and value is not None
    }
    if present is None or present.sha256 != thumbprint(certificate):
        kept["attestation"] = _attestation(kind, found, certificate)
    return {**kept, kind.id_key: id, **_fields(wish, found)}


def parse_enrollment(kind: Kind, answer: Answer) -> Enrollment:
    """Raises BadFrame for anything but what the service documents."""
    found = parse_object(answer)
    id, status, etag = found.get(kind.id_key), found.get("provisioningStatus"), found.get("etag")
    device, hub = found.get("deviceId") or "", found.get("iotHubHostName") or ""
    edge = _capabilities(found).get("iotEdge", False)
    texts = (id, etag, device, hub)
    if (
        not all(isinstance(text, str) for text in texts)
        or status not in ("enabled", "disabled")
        or not isinstance(edge, bool)
    ):
        raise BadFrame("the provisioning service's enrollment has another form")
    if re.search(r"[^ -~]", str(etag)):
        raise BadFrame("the provisioning service's ETag is none")
    return Enrollment(
        kind, str(id), _thumbprint(kind, found), status == "enabled", str(device), str(hub),
        str(etag), edge, found,
    )  # fmt: skip


def thumbprint(certificate: x509.Certificate) -> str:
    """SHA-256 of its DER, hexadecimal."""
    return hashlib.sha256(_der(certificate)).hexdigest()


def _fields(wish: Wish, found: Mapping[str, object]) -> dict[str, object]:
    made: dict[str, object] = {}
    if "enabled" in wish:
        made["provisioningStatus"] = "enabled" if wish["enabled"] else "disabled"
    if device := wish.get("device_id"):
        made["deviceId"] = device
    if hub := wish.get("hub"):
        made["iotHubHostName"] = hub
    if (edge := wish.get("edge")) is not None:
        made["capabilities"] = {**_capabilities(found), "iotEdge": edge}
    if (twin := wish.get("twin")) is not None:
        made["initialTwin"] = dict(twin)
    if allocation := wish.get("allocation"):
        made["allocationPolicy"] = allocation.value
    if webhook := wish.get("webhook"):
        made["customAllocationDefinition"] = {"webhookUrl": webhook[0], "apiVersion": webhook[1]}
    if reprovision := wish.get("reprovision"):
        made["reprovisionPolicy"] = reprovision.policy
    return made


def _capabilities(found: Mapping[str, object]) -> dict[str, object]:
    kept = found.get("capabilities")
    return dict(kept) if isinstance(kept, dict) else {}


def _same(found: object, wanted: object) -> bool:
    """As wished; what the service adds to a twin, and null for absent, is no difference."""
    if not isinstance(found, Mapping) or not isinstance(wanted, Mapping):
        return found == wanted
    more = {key for key, value in found.items() if value is not None} - set(wanted)
    return more <= _TWIN and all(_same(found.get(key), wanted[key]) for key in wanted)


def _attestation(
    kind: Kind, found: Mapping[str, object], certificate: x509.Certificate
) -> dict[str, object]:
    """The certificate as the primary one; a secondary one stays, for a CA's roll-over."""
    others: object = found
    for key in ("attestation", "x509", kind.certificates_key):
        others = others.get(key) if isinstance(others, Mapping) else None
    secondary = others.get("secondary") if isinstance(others, Mapping) else None
    text = base64.b64encode(_der(certificate)).decode()
    certificates = {"primary": {"certificate": text}}
    if secondary is not None:
        certificates["secondary"] = copy.deepcopy(secondary)
    return {"type": "x509", "x509": {kind.certificates_key: certificates}}


def _is_twin(twin: Mapping[str, object]) -> bool:
    tags, properties = twin.get("tags", {}), twin.get("properties", {})
    return (
        set(twin) <= {"tags", "properties"}
        and isinstance(tags, dict)
        and isinstance(properties, dict)
        and set(properties) <= {"desired"}
        and isinstance(properties.get("desired", {}), dict)
    )


def _thumbprint(kind: Kind, found: object) -> str:
    """The service never gives a certificate back, only what it noted of it; "" for another kind."""
    for key in ("attestation", "x509", kind.certificates_key, "primary", "info"):
        found = found.get(key) if isinstance(found, dict) else None
    text = found.get("sha256Thumbprint") if isinstance(found, dict) else None
    return text.lower() if isinstance(text, str) else ""


def _der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.DER)
