"""The factory's side of the test server: enrollments, and who may change them."""

from __future__ import annotations

import base64
import hashlib
import hmac
import itertools
import json
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote

from cryptography import x509
from cryptography.hazmat.primitives import serialization

KEY = base64.b64encode(b"planted-shared-access-key-0123456")
POLICY = "provisioningserviceowner"


@dataclass(slots=True)
class Kept:
    """One enrollment, with its certificate's digest and what was sent."""

    id: str
    group: bool
    sha256: str
    body: dict[str, object]
    etag: str


class Enrollments:
    """Checks the shared access signature and the ETag as the real service documents them."""

    def __init__(self) -> None:
        self.kept: dict[tuple[bool, str], Kept] = {}
        self._numbers = itertools.count(1)
        self.open = False
        """Whether devices need no enrollment (for tests of the device's side alone)."""

    def of(self, device: str) -> Kept | None:
        single = self.kept.get((False, device))
        return single or next((kept for kept in self.kept.values() if kept.group), None)

    def refuses(self, device: str, leaf: x509.Certificate, chain: list[x509.Certificate]) -> str:
        """Why this device may not register; "" if it may."""
        if self.open:
            return ""
        single = self.kept.get((False, device))
        if single is not None:
            if single.sha256 != _digest(leaf):
                return "Invalid certificate"
            return "" if single.body["provisioningStatus"] == "enabled" else "Enrollment disabled"
        for kept in self.kept.values():
            if kept.group and kept.sha256 in map(_digest, chain[1:]):
                return "" if kept.body["provisioningStatus"] == "enabled" else "Group disabled"
        return "CA certificate not found."

    def serve(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[int, object]:
        lower = {name.lower(): value for name, value in headers.items()}
        if not _authorised(lower.get("authorization", ""), lower.get("host", "")):
            return 401, {"errorCode": 401000, "message": "Unauthorized", "trackingId": "t"}
        _, sort, quoted = path.split("/")
        key = (sort == "enrollmentGroups", unquote(quoted))
        present, match = self.kept.get(key), lower.get("if-match", "")
        if method == "GET":
            return (200, _shown(present)) if present else (404, {"errorCode": 404201})
        if match and match != "*" and (present is None or match.strip('"') != present.etag):
            return 412, {"errorCode": 412000, "message": "ETag mismatch"}
        if method == "DELETE":
            return (204, {}) if self.kept.pop(key, None) else (404, {"errorCode": 404201})
        if present is not None and not match:
            return 409, {"errorCode": 409203, "message": "Enrollment already exists."}
        given = json.loads(body)
        names = ("signingCertificates", "enrollmentGroupId") if key[0] else (
            "clientCertificates", "registrationId",
        )  # fmt: skip
        if given.get(names[1]) != key[1]:
            return 400, {"errorCode": 400001, "message": "id of body and address differ"}
        text = given["attestation"]["x509"][names[0]]["primary"]["certificate"]
        certificate = x509.load_der_x509_certificate(base64.b64decode(text))
        etag = f"IjAwMDA{next(self._numbers)}"
        self.kept[key] = Kept(key[1], key[0], _digest(certificate), given, etag)
        return 200, _shown(self.kept[key])


def _shown(kept: Kept) -> dict[str, object]:
    """As the service gives it back: never the certificate, only what it noted of it."""
    info = {"sha256Thumbprint": kept.sha256.upper(), "subjectName": "CN=x"}
    sort = "signingCertificates" if kept.group else "clientCertificates"
    attestation = {"type": "x509", "x509": {sort: {"primary": {"certificate": None, "info": info}}}}
    return {**kept.body, "attestation": attestation, "etag": kept.etag}


def _authorised(token: str, host: str) -> bool:
    kind, _, rest = token.partition(" ")
    fields = dict(parse_qsl(rest, strict_parsing=False))
    if kind != "SharedAccessSignature" or set(fields) != {"sr", "sig", "se", "skn"}:
        return False
    if fields["sr"] != host.split(":")[0] or int(fields["se"]) < time.time():
        return False
    raw = next(part for part in rest.split("&") if part.startswith("sr=")).removeprefix("sr=")
    signed = f"{raw}\n{fields['se']}".encode()
    wanted = hmac.digest(base64.b64decode(KEY), signed, hashlib.sha256)
    return hmac.compare_digest(base64.b64encode(wanted).decode(), fields["sig"])


def _digest(certificate: x509.Certificate) -> str:
    return hashlib.sha256(certificate.public_bytes(serialization.Encoding.DER)).hexdigest()


def verified_chain(secured: ssl.SSLSocket) -> list[x509.Certificate]:
    """The verified chain, leaf first: public from Python 3.13 on, hidden before."""
    public = getattr(secured, "get_verified_chain", None)
    if public is not None:
        return [x509.load_der_x509_certificate(der) for der in public()]
    hidden = secured._sslobj.get_verified_chain()  # type: ignore[attr-defined]
    return [x509.load_pem_x509_certificate(c.public_bytes().encode()) for c in hidden]
