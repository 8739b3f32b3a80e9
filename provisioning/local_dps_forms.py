"""What the local provisioning service takes for an enrollment, and how it shows one. Pure.

The fields, their defaults and what is shown of a certificate are those of the REST API 2021-10-01
(EnrollmentGroup, IndividualEnrollment, X509CertificateInfo).
"""

from __future__ import annotations

import base64
import binascii
import copy
import datetime
import json
import re
from collections.abc import Mapping

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from provisioning.certificates import der
from provisioning.csr import UNREADABLE

_HOST = re.compile(r"[A-Za-z0-9-]{1,63}(\.[A-Za-z0-9-]{1,63}){1,10}")
_SLOTS = ("primary", "secondary")
_DEFAULTS: Mapping[str, object] = {
    "provisioningStatus": "enabled",
    "capabilities": {"iotEdge": False},
    "reprovisionPolicy": {"updateHubAssignment": True, "migrateDeviceData": True},
    "allocationPolicy": "hashed",
}
_ONE_OF = {
    "provisioningStatus": ("enabled", "disabled"),
    "allocationPolicy": ("hashed", "geoLatency", "static", "custom"),
}
_FLAGS = {
    "capabilities": ("iotEdge",),
    "reprovisionPolicy": ("updateHubAssignment", "migrateDeviceData"),
}


class Unfit(ValueError):
    """A body that the service does not take, and why. Answered with 400 and nothing else."""


def read_enrollment(
    group: bool, id: str, octets: bytes, present: Mapping[str, object] | None
) -> dict[str, object]:
    """The whole enrollment to keep, its certificates in base64 of DER. Raises Unfit.

    ``present`` is what is kept now: whoever sends back what he was shown has no certificate, only
    what was noted of it, and keeps the one that is there.
    """
    try:
        given = json.loads(octets)
    except (ValueError, RecursionError):
        given = None
    if not isinstance(given, dict):
        raise Unfit("the body is no JSON object")
    if given.get("enrollmentGroupId" if group else "registrationId") != id:
        raise Unfit("id of body and address differ")
    made = {key: value for key, value in given.items() if value is not None}
    for key in ("etag", "registrationState", "createdDateTimeUtc", "lastUpdatedDateTimeUtc"):
        made.pop(key, None)
    for key, value in _DEFAULTS.items():
        made.setdefault(key, copy.deepcopy(value))
    _check(made)
    sort = _sort(group)
    attestation = made.get("attestation")
    slots = _inside(attestation, "x509", sort)
    if _inside(attestation, "type") != "x509" or not isinstance(slots, dict):
        raise Unfit("no enrollment with an X.509 certificate")
    kept = {
        name: {"certificate": _certificate(slots[name], group, present)}
        for name in _SLOTS
        if slots.get(name) is not None
    }
    if "primary" not in kept:
        raise Unfit("no primary certificate")
    made["attestation"] = {"type": "x509", "x509": {sort: kept}}
    now = timestamp()
    made["createdDateTimeUtc"] = present.get("createdDateTimeUtc", now) if present else now
    made["lastUpdatedDateTimeUtc"] = now
    return made


def shown_enrollment(group: bool, body: Mapping[str, object], etag: str) -> dict[str, object]:
    """As the service gives it back: never a certificate, only what it noted of it."""
    slots = {
        name: {"certificate": None, "info": info_of(found)}
        for name, found in certificates_of(group, body).items()
    }
    attestation = {"type": "x509", "x509": {_sort(group): slots}}
    return {**body, "attestation": attestation, "etag": etag}


def certificates_of(group: bool, body: Mapping[str, object]) -> dict[str, x509.Certificate]:
    """Those of an enrollment that is kept: primary, and secondary if there is one."""
    found = {}
    for name in _SLOTS:
        text = _inside(body, "attestation", "x509", _sort(group), name, "certificate")
        if isinstance(text, str):
            found[name] = x509.load_der_x509_certificate(base64.b64decode(text))
    return found


def info_of(found: x509.Certificate) -> dict[str, object]:
    """X509CertificateInfo."""
    return {
        "subjectName": found.subject.rfc4514_string(),
        "sha1Thumbprint": found.fingerprint(hashes.SHA1()).hex().upper(),  # noqa: S303 - its name
        "sha256Thumbprint": found.fingerprint(hashes.SHA256()).hex().upper(),
        "issuerName": found.issuer.rfc4514_string(),
        "notBeforeUtc": timestamp(found.not_valid_before_utc),
        "notAfterUtc": timestamp(found.not_valid_after_utc),
        "serialNumber": f"{found.serial_number:X}",
        "version": found.version.value + 1,
    }


def timestamp(when: datetime.datetime | None = None) -> str:
    now = when or datetime.datetime.now(datetime.UTC)
    return now.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _certificate(slot: object, group: bool, present: Mapping[str, object] | None) -> str:
    text = _inside(slot, "certificate")
    if isinstance(text, str) and text:
        return base64.b64encode(der(_parsed(text))).decode()
    noted = _inside(slot, "info", "sha256Thumbprint")
    for found in certificates_of(group, present).values() if present else ():
        if isinstance(noted, str) and noted.upper() == info_of(found)["sha256Thumbprint"]:
            return base64.b64encode(der(found)).decode()
    raise Unfit("no certificate, and none is known by what is noted of it")


def _parsed(text: str) -> x509.Certificate:
    """DER in base64, or PEM, as Microsoft's samples send it."""
    try:
        if "-----BEGIN" in text:
            return x509.load_pem_x509_certificate(text.encode())
        return x509.load_der_x509_certificate(base64.b64decode("".join(text.split())))
    except (binascii.Error, *UNREADABLE):
        raise Unfit("the certificate cannot be read") from None


def _check(made: Mapping[str, object]) -> None:
    for key, values in _ONE_OF.items():
        if made[key] not in values:
            raise Unfit(f"{key} is none of {', '.join(values)}")
    for key, names in _FLAGS.items():
        flags = made[key]
        if not isinstance(flags, dict) or any(type(flags.get(n)) is not bool for n in names):
            raise Unfit(f"{key} has not {' and '.join(names)}, true or false")
    hub, twin = made.get("iotHubHostName"), made.get("initialTwin", {})
    if hub is not None and not (isinstance(hub, str) and _HOST.fullmatch(hub)):
        raise Unfit("iotHubHostName is no host name")
    if not isinstance(twin, dict):
        raise Unfit("initialTwin is no object")
    custom = isinstance(_inside(made, "customAllocationDefinition", "webhookUrl"), str)
    if (made["allocationPolicy"] == "custom") != custom:
        raise Unfit("allocationPolicy custom needs customAllocationDefinition, and nothing else")


def _inside(found: object, *keys: str) -> object:
    for key in keys:
        found = found.get(key) if isinstance(found, Mapping) else None
    return found


def _sort(group: bool) -> str:
    return "signingCertificates" if group else "clientCertificates"
