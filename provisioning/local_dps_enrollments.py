"""The factory's side of the local provisioning service: enrollments, and who may change them."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Mapping, Sequence
from urllib.parse import parse_qsl, unquote

from cryptography import x509

from harness.secret import Secret
from provisioning.certificates import der
from provisioning.local_dps_forms import (
    Unfit,
    certificates_of,
    read_enrollment,
    shown_enrollment,
    timestamp,
)
from provisioning.local_dps_store import DpsStore, Kept
from provisioning.local_http import Told


class Enrollments:
    """Checks the shared access signature and the ETag as the real service documents them."""

    def __init__(self, store: DpsStore, key: Secret) -> None:
        """``key`` is the shared access policy's, base64."""
        self._store, self._key = store, key

    def of(self, device: str, chain: Sequence[x509.Certificate]) -> Kept | None:
        """The enrollment that is for this device: its own, else its CA's group."""
        single = self._store.enrollment(False, device)
        above = {digest(c) for c in chain[1:]}
        return single or next((k for k in self._store.all(group=True) if above & _digests(k)), None)

    def refuses(self, device: str, chain: Sequence[x509.Certificate]) -> str:
        """Why this device may not register; "" if it may."""
        found = self.of(device, chain)
        if found is None:
            return "CA certificate not found."
        if not found.group and digest(chain[0]) not in _digests(found):
            return "Invalid certificate"
        if not found.enabled:
            return "Group disabled" if found.group else "Enrollment disabled"
        return ""

    def enroll_group(self, id: str, certificate: x509.Certificate, *, edge: bool = False) -> None:
        """Let in whoever has a certificate of this CA; ``edge``: as IoT Edge devices.

        What else is in the group stays: policies, twin, and that it is one for IoT Edge devices.
        Done already: nothing happens.
        """
        present = self._store.enrollment(True, id)
        before = dict(present.body) if present else {}
        made = present is not None and present.sha256 == digest(certificate)
        if made and (not edge or before.get("capabilities") == {"iotEdge": True}):
            return
        if edge:
            before["capabilities"] = {"iotEdge": True}
        slots = {"primary": {"certificate": base64.b64encode(der(certificate)).decode()}}
        attestation = {"type": "x509", "x509": {"signingCertificates": slots}}
        wanted = {**before, "enrollmentGroupId": id, "attestation": attestation}
        self._put(True, id, json.dumps(wanted).encode(), present)

    def serve(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Told:
        """A request of the factory's side: about enrollments, and about who registered."""
        if not self._authorised(headers.get("authorization", ""), headers.get("host", "")):
            return refused(401, 401000, "Unauthorized")
        _, sort, *rest = map(unquote, path.split("/"))
        group = sort.lower() == "enrollmentgroups"
        match (sort.lower(), method, rest):
            case ("registrations", _, [of]):
                return self._registration(method, of.lower())
            case ("registrations", "POST", [of, "query"]):
                states = [known.state for known in self._store.registrations()]
                return Told.json(200, [state for state in states if _let_in_by(state) == of])
            case (_, "POST", ["query"]):
                found = [self._seen(kept) for kept in self._store.all(group=group)]
                return Told.json(200, found, {"x-ms-item-type": "enrollment"})
            case (_, "POST", [of, "attestationmechanism"]):
                kept = self._store.enrollment(group, of)
                return Told.json(200, self._seen(kept)["attestation"]) if kept else _none_such()
            case (_, _, [of]):
                return self._one(method, group, of, headers, body)
        return refused(404, 404000, "no such resource")

    def _one(
        self, method: str, group: bool, id: str, headers: Mapping[str, str], body: bytes
    ) -> Told:
        present, match = self._store.enrollment(group, id), headers.get("if-match", "")
        if method == "GET":
            return Told.json(200, self._seen(present)) if present else _none_such()
        if match and match != "*" and (present is None or match.strip('"') != present.etag):
            return refused(412, 412000, "ETag mismatch")
        if headers.get("if-none-match", "").strip() == "*" and present is not None:
            return refused(412, 412000, "Enrollment already exists.")
        if method == "DELETE":
            return Told(204) if present and self._store.forget(present) else _none_such()
        if method != "PUT":
            return refused(405, 405000, "method not allowed")
        if present is not None and not match:
            return refused(409, 409203, "Enrollment already exists.")
        try:
            made = self._put(group, id, body, present)
        except Unfit as problem:
            return refused(400, 400001, str(problem))
        if made is None:
            return refused(412, 412000, "it was changed at the same time")
        return Told.json(200, self._seen(made))

    def _put(self, group: bool, id: str, body: bytes, present: Kept | None) -> Kept | None:
        whole = read_enrollment(group, id, body, present.body if present else None)
        kept = Kept(id, group, digest(certificates_of(group, whole)["primary"]), whole, _etag())
        return kept if self._store.keep(kept, was=present) else None

    def _seen(self, kept: Kept) -> dict[str, object]:
        found = shown_enrollment(kept.group, kept.body, kept.etag)
        known = None if kept.group else self._store.registration(kept.id)
        return {**found, "registrationState": known.state} if known else found

    def _registration(self, method: str, device: str) -> Told:
        known = self._store.registration(device)
        if known is None:
            return refused(404, 404201, "Registration not found")
        if method == "GET":
            return Told.json(200, known.state)
        if method != "DELETE":
            return refused(405, 405000, "method not allowed")
        self._store.forget_registration(device)
        return Told(204)

    def _authorised(self, token: str, host: str) -> bool:
        kind, _, rest = token.partition(" ")
        fields = dict(parse_qsl(rest, strict_parsing=False))
        if kind != "SharedAccessSignature" or set(fields) != {"sr", "sig", "se", "skn"}:
            return False
        ends = fields["se"]
        if not (ends.isascii() and ends.isdigit() and len(ends) <= 12):
            return False
        if fields["sr"] != host.split(":")[0] or int(ends) < time.time():
            return False
        signed = [part for part in rest.split("&") if part.startswith("sr=")]
        if len(signed) != 1:
            return False
        key = base64.b64decode(self._key.reveal())
        raw = signed[0].removeprefix("sr=")
        wanted = hmac.digest(key, f"{raw}\n{ends}".encode(), hashlib.sha256)
        return hmac.compare_digest(base64.b64encode(wanted), fields["sig"].encode())


def refused(status: int, code: int, message: str) -> Told:
    """An error body as the service documents it."""
    body = {
        "errorCode": code,
        "trackingId": "7f0c1e34-0000-4000-8000-" + secrets.token_hex(6),
        "message": message,
        "timestampUtc": timestamp(),
    }
    return Told.json(status, body, {"x-ms-error-code": str(code)})


def digest(certificate: x509.Certificate) -> str:
    return hashlib.sha256(der(certificate)).hexdigest()


def _none_such() -> Told:
    return refused(404, 404201, "Enrollment not found")


def _let_in_by(state: Mapping[str, object]) -> object:
    """The group of a registration."""
    found = state.get("x509")
    return found.get("enrollmentGroupId") if isinstance(found, Mapping) else None


def _digests(kept: Kept) -> set[str]:
    return {digest(found) for found in certificates_of(kept.group, kept.body).values()}


def _etag() -> str:
    return f"IjAw{secrets.token_hex(6)}"
