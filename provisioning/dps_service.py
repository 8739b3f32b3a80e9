"""Azure's Device Provisioning Service, the factory's side: who may register.

An individual enrollment lets in one certificate's holder, a group whoever has a certificate of a
CA. Only X.509. Authorised by a shared access policy's key, which is asked for at each request.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from urllib.parse import quote

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from harness.deadline import Deadline
from harness.errors import BadFrame, Misuse
from harness.secret import Secret
from provisioning.dps import refusal
from provisioning.dps_answers import checked_registration_id, parse_object
from provisioning.dps_sas import sas_token
from provisioning.http_client import Answer, Http
from provisioning.http_connection import Connector

API_VERSION = "2021-10-01"
POLICY = "provisioningserviceowner"


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


class DpsService:
    """One provisioning service. Methods raise what HTTP raises, ServiceRefused and ServiceBusy."""

    def __init__(
        self,
        url: str,
        connector: Connector,
        key: Callable[[], Secret],
        *,
        policy: str = POLICY,
        api_version: str = API_VERSION,
    ) -> None:
        """``url`` is the service's own address, not the global one; ``key`` is base64."""
        self._http = Http(url, connector)
        self._key, self._policy = key, policy
        self._version = f"?api-version={quote(api_version, safe='')}"

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> DpsService:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def find(self, kind: Kind, id: str, *, by: Deadline) -> Enrollment | None:
        """The enrollment of this id; None when there is none."""
        answer = self._ask("GET", _path(kind, id), by)
        if answer.status == 404:
            return None
        if answer.status != 200:
            raise refusal(f"looking up enrollment {id}", answer)
        return _parse(kind, answer)

    def ensure(
        self,
        kind: Kind,
        id: str,
        certificate: x509.Certificate,
        *,
        device_id: str = "",
        hub: str = "",
        enabled: bool = True,
        replace: bool = False,
        by: Deadline,
    ) -> tuple[Enrollment, bool]:
        """Have this enrollment; whether it was made or changed.

        One that is there and differs is changed only with ``replace``; otherwise Misuse, naming
        what differs. ``device_id`` is for individual enrollments alone.
        """
        if kind is Kind.GROUP and device_id:
            raise Misuse("a group has no device id: each device gets its registration id")
        digest = hashlib.sha256(_der(certificate)).hexdigest()
        wanted = Enrollment(kind, checked_registration_id(id), digest, enabled, device_id, hub)
        present = self.find(kind, wanted.id, by=by)
        if present is not None:
            other = _differences(present, wanted)
            if not other:
                return present, False
            if not replace:
                raise Misuse(
                    f"enrollment {wanted.id} is there with another {' and '.join(other)}",
                    hint="Look at it first (trustbox dps show), then replace it if it is yours.",
                )
        headers = {"if-match": _quoted(present.etag)} if present is not None else {}
        answer = self._ask("PUT", _path(kind, id), by, _body(wanted, certificate), headers)
        if answer.status not in (200, 201):
            raise refusal(f"enrolling {wanted.id}", answer)
        made = _parse(kind, answer)
        if _differences(made, wanted):
            raise BadFrame(f"the service shows another enrollment {wanted.id} than it was given")
        return made, True

    def remove(self, kind: Kind, id: str, *, by: Deadline) -> bool:
        """Remove the enrollment; False when there was none. Devices stay known to their hub."""
        present = self.find(kind, id, by=by)
        if present is None:
            return False
        match = {"if-match": _quoted(present.etag)}
        answer = self._ask("DELETE", _path(kind, id), by, headers=match)
        if answer.status not in (200, 204, 404):
            raise refusal(f"removing enrollment {id}", answer)
        return True

    def _ask(
        self,
        method: str,
        path: str,
        by: Deadline,
        body: dict[str, object] | None = None,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        token = sas_token(self._http.base.host, self._policy, self._key())
        return self._http.request(
            method,
            f"{path}{self._version}",
            by=by,
            headers={
                "authorization": token,
                "content-type": "application/json",
                "accept": "application/json",
                **(headers or {}),
            },
            body=b"" if body is None else json.dumps(body).encode(),
        )


def _path(kind: Kind, id: str) -> str:
    return f"/{kind.path}/{quote(checked_registration_id(id), safe='')}"


def _der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.DER)


def _body(wanted: Enrollment, certificate: x509.Certificate) -> dict[str, object]:
    text = base64.b64encode(_der(certificate)).decode()
    attestation = {
        "type": "x509",
        "x509": {wanted.kind.certificates_key: {"primary": {"certificate": text}}},
    }
    body: dict[str, object] = {wanted.kind.id_key: wanted.id, "attestation": attestation}
    body["provisioningStatus"] = "enabled" if wanted.enabled else "disabled"
    if wanted.device_id:
        body["deviceId"] = wanted.device_id
    if wanted.hub:
        body["iotHubHostName"] = wanted.hub
    return body


def _parse(kind: Kind, answer: Answer) -> Enrollment:
    found = parse_object(answer)
    id, status, etag = found.get(kind.id_key), found.get("provisioningStatus"), found.get("etag")
    device, hub = found.get("deviceId") or "", found.get("iotHubHostName") or ""
    texts = (id, etag, device, hub)
    if not all(isinstance(text, str) for text in texts) or status not in ("enabled", "disabled"):
        raise BadFrame("the provisioning service's enrollment has another form")
    if re.search(r"[^ -~]", str(etag)):
        raise BadFrame("the provisioning service's ETag is none")
    return Enrollment(
        kind, str(id), _thumbprint(kind, found), status == "enabled", str(device), str(hub),
        str(etag),
    )  # fmt: skip


def _thumbprint(kind: Kind, found: object) -> str:
    """The service never gives a certificate back, only what it noted of it; "" for another kind."""
    for key in ("attestation", "x509", kind.certificates_key, "primary", "info"):
        found = found.get(key) if isinstance(found, dict) else None
    text = found.get("sha256Thumbprint") if isinstance(found, dict) else None
    return text.lower() if isinstance(text, str) else ""


def _differences(present: Enrollment, wanted: Enrollment) -> list[str]:
    pairs = {
        "certificate": (present.sha256, wanted.sha256),
        "status": (present.enabled, wanted.enabled),
        "device id": (present.device_id, wanted.device_id or present.device_id),
        "hub": (present.hub, wanted.hub or present.hub),
    }
    return [name for name, (one, other) in pairs.items() if one != other]


def _quoted(etag: str) -> str:
    return etag if etag.startswith('"') else f'"{etag}"'
