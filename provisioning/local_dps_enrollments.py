"""The factory's side of the local provisioning service: enrollments, and who may change them."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import re
import secrets
import time
from collections.abc import Mapping, Sequence
from urllib.parse import parse_qsl, unquote

from cryptography import x509

from harness.secret import Secret
from provisioning.certificates import der
from provisioning.csr import UNREADABLE
from provisioning.local_dps_store import DpsStore, Kept
from provisioning.local_http import Told

_HOST = re.compile(r"[A-Za-z0-9-]{1,63}(\.[A-Za-z0-9-]{1,63}){1,10}")


class Enrollments:
    """Checks the shared access signature and the ETag as the real service documents them."""

    def __init__(self, store: DpsStore, key: Secret) -> None:
        """``key`` is the shared access policy's, base64."""
        self._store, self._key = store, key

    def of(self, device: str, chain: Sequence[x509.Certificate]) -> Kept | None:
        """The enrollment that is for this device: its own, else its CA's group."""
        single = self._store.enrollment(False, device)
        above = {digest(c) for c in chain[1:]}
        return single or next((k for k in self._store.groups() if k.sha256 in above), None)

    def refuses(self, device: str, chain: Sequence[x509.Certificate]) -> str:
        """Why this device may not register; "" if it may."""
        found = self.of(device, chain)
        if found is None:
            return "CA certificate not found."
        if not found.group and found.sha256 != digest(chain[0]):
            return "Invalid certificate"
        if not found.enabled:
            return "Group disabled" if found.group else "Enrollment disabled"
        return ""

    def enroll_group(self, id: str, certificate: x509.Certificate) -> None:
        """Let in whoever has a certificate of this CA. Done already: nothing happens."""
        present = self._store.enrollment(True, id)
        if present is not None and present.sha256 == digest(certificate):
            return
        text = base64.b64encode(der(certificate)).decode()
        body: dict[str, object] = {
            "enrollmentGroupId": id,
            "provisioningStatus": "enabled",
            "attestation": {
                "type": "x509",
                "x509": {"signingCertificates": {"primary": {"certificate": text}}},
            },
        }
        self._store.keep(Kept(id, True, digest(certificate), body, _etag()))

    def serve(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Told:
        """A request of the factory's side: GET, PUT, DELETE of one enrollment."""
        if not self._authorised(headers.get("authorization", ""), headers.get("host", "")):
            return refused(401, 401000, "Unauthorized")
        _, sort, *rest = path.split("/")
        if len(rest) != 1:
            return refused(404, 404000, "no such resource")
        group, id = sort == "enrollmentGroups", unquote(rest[0])
        present, match = self._store.enrollment(group, id), headers.get("if-match", "")
        if method == "GET":
            return shown(present) if present else refused(404, 404201, "Enrollment not found")
        if match and match != "*" and (present is None or match.strip('"') != present.etag):
            return refused(412, 412000, "ETag mismatch")
        if method == "DELETE":
            gone = self._store.forget(group, id)
            return Told(204) if gone else refused(404, 404201, "Enrollment not found")
        if method != "PUT":
            return refused(405, 405000, "method not allowed")
        if present is not None and not match:
            return refused(409, 409203, "Enrollment already exists.")
        return self._put(group, id, body)

    def _put(self, group: bool, id: str, body: bytes) -> Told:
        names = ("signingCertificates", "enrollmentGroupId") if group else (
            "clientCertificates", "registrationId",
        )  # fmt: skip
        try:
            given = json.loads(body)
            text = given["attestation"]["x509"][names[0]]["primary"]["certificate"]
            certificate = x509.load_der_x509_certificate(base64.b64decode(text))
        except (KeyError, binascii.Error, *UNREADABLE):
            return refused(400, 400001, "no enrollment with an X.509 certificate")
        if given.get(names[1]) != id:
            return refused(400, 400001, "id of body and address differ")
        if "iotHubHostName" in given and not _is_host(given["iotHubHostName"]):
            return refused(400, 400001, "iotHubHostName is no host name")
        kept = Kept(id, group, digest(certificate), given, _etag())
        self._store.keep(kept)
        return shown(kept)

    def _authorised(self, token: str, host: str) -> bool:
        kind, _, rest = token.partition(" ")
        fields = dict(parse_qsl(rest, strict_parsing=False))
        if kind != "SharedAccessSignature" or set(fields) != {"sr", "sig", "se", "skn"}:
            return False
        ends = fields["se"]
        if fields["sr"] != host.split(":")[0] or not ends.isdigit() or int(ends) < time.time():
            return False
        raw = next(part for part in rest.split("&") if part.startswith("sr=")).removeprefix("sr=")
        key = base64.b64decode(self._key.reveal())
        wanted = hmac.digest(key, f"{raw}\n{ends}".encode(), hashlib.sha256)
        return hmac.compare_digest(base64.b64encode(wanted).decode(), fields["sig"])


def _is_host(name: object) -> bool:
    return isinstance(name, str) and _HOST.fullmatch(name) is not None


def shown(kept: Kept) -> Told:
    """As the service gives it back: never the certificate, only what it noted of it."""
    info = {"sha256Thumbprint": kept.sha256.upper(), "subjectName": "CN=x"}
    sort = "signingCertificates" if kept.group else "clientCertificates"
    attestation = {"type": "x509", "x509": {sort: {"primary": {"certificate": None, "info": info}}}}
    return Told.json(200, {**kept.body, "attestation": attestation, "etag": kept.etag})


def refused(status: int, code: int, message: str) -> Told:
    """An error body as the service documents it."""
    return Told.json(
        status,
        {
            "errorCode": code,
            "trackingId": "7f0c1e34-0000-4000-8000-" + secrets.token_hex(6),
            "message": message,
            "timestampUtc": time.strftime("%Y-%m-%dT%H:%M:%S.0Z", time.gmtime()),
        },
    )


def digest(certificate: x509.Certificate) -> str:
    return hashlib.sha256(der(certificate)).hexdigest()


def _etag() -> str:
    return f"IjAw{secrets.token_hex(6)}"
