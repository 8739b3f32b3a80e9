"""A provisioning service of this station's own, for trying enrollment out and for CI.

It speaks the device's and the factory's side of Azure DPS (REST, X.509) as documented, over real
TLS: a device is let in by its client certificate, whose chain OpenSSL verifies, then by its name
and its enrollment. It is not Microsoft's service: no hub is behind it, and Microsoft's limits, its
allocation and its TLS front are not shown by it (docs/enrollment.md). Microsoft's own client
registers with it (tests/links/test_dps_node.py).
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import replace
from urllib.parse import quote, unquote

from cryptography import x509
from cryptography.x509.oid import NameOID

from harness.secret import Secret
from provisioning.local_dps_enrollments import Enrollments, refused
from provisioning.local_dps_forms import timestamp
from provisioning.local_dps_store import DpsStore, Registration
from provisioning.local_http import LOOPBACK, Asked, LocalServer, ServerFiles, Told

VERSIONS = frozenset({"2019-03-31", "2021-06-01", "2021-10-01", "2025-07-01-preview"})
HUB = "hub.factory.invalid"
"""Where devices are assigned whose enrollment names no hub. Nobody can ever have that name
(RFC 2606, section 2)."""
_FACTORYS = ("/enrollments/", "/enrollmentgroups/", "/registrations/")
_DEVICE_PATH = re.compile(r"/([^/]+)/registrations/([^/]+)(/register|/operations/([^/]+))?")


class LocalDps(LocalServer):
    """``polls``: how often it says assigning first (-1: for ever); ``id_scope`` "": any.

    ``judge`` says why a device's certificate does not count, "" if it does; None: its chain is all.
    """

    def __init__(
        self,
        files: ServerFiles,
        *,
        trusted: str,
        key: Secret,
        store: DpsStore | None = None,
        id_scope: str = "",
        polls: int = 1,
        retry_after: str | None = "0",
        port: int = 0,
        listen: str = LOOPBACK,
        judge: Callable[[x509.Certificate], str] | None = None,
    ) -> None:
        super().__init__(files, trusted=trusted, port=port, listen=listen)
        self.store = store or DpsStore()
        self.enrollments = Enrollments(self.store, key)
        self.id_scope, self.polls, self.retry_after = id_scope, polls, retry_after
        self._judge = judge

    def answer(self, asked: Asked) -> Told:
        version = dict(p.partition("=")[::2] for p in asked.query.split("&")).get("api-version", "")
        if unquote(version) not in VERSIONS:
            return refused(400, 400000, "unknown api-version")
        if asked.path.lower().startswith(_FACTORYS):
            return self.enrollments.serve(asked.method, asked.path, asked.headers, asked.body)
        match = _DEVICE_PATH.fullmatch(asked.path)
        if match is None or (self.id_scope and match[1] != self.id_scope):
            return refused(404, 404000, "no such resource")
        device = unquote(match[2]).lower()
        why_not = self.refuses(device, asked)
        if why_not:
            return refused(401, 401002, why_not)
        asking = {"retry-after": self.retry_after} if self.retry_after is not None else {}
        match (asked.method, match[3], match[4]):
            case ("PUT", "/register", None):
                if _named(asked.body) != device:
                    return refused(400, 400004, "registrationId of body and address differ")
                return self._register(device, asked, asking)
            case ("GET", str(), str() as operation):
                return self._poll(device, unquote(operation), asking)
            case ("POST", None, None):
                known = self.store.registration(device)
                if known is None:
                    return refused(404, 404201, "Registration not found")
                return Told.json(200, known.state)
        return refused(405, 405000, "method not allowed")

    def refuses(self, device: str, asked: Asked) -> str:
        """Why the TLS client may not act for ``device``; "" if it may."""
        if not asked.chain:
            return "Invalid certificate"
        names = asked.chain[0].subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        if [str(n.value).lower() for n in names] != [device]:
            return "Invalid certificate"
        no = self._judge(asked.chain[0]) if self._judge else ""
        return no or self.enrollments.refuses(device, asked.chain)

    def state_of(self, device: str, chain: tuple[x509.Certificate, ...]) -> dict[str, object]:
        """What a device that registers now is assigned to."""
        enrollment = self.enrollments.of(device, chain)
        group = enrollment.id if enrollment and enrollment.group else None
        chosen = (enrollment.body.get("deviceId") if enrollment else None) or device
        before = self.store.registration(device)
        now = timestamp()
        return {
            "registrationId": device,
            "createdDateTimeUtc": before.state.get("createdDateTimeUtc") if before else now,
            "assignedHub": (enrollment.body.get("iotHubHostName") if enrollment else None) or HUB,
            "deviceId": chosen,
            "status": "assigned",
            "substatus": "reprovisionedToInitialAssignment" if before else "initialAssignment",
            "lastUpdatedDateTimeUtc": now,
            "etag": f"Im{secrets.token_hex(6)}",
            "x509": {"enrollmentGroupId": group},
        }

    def _register(self, device: str, asked: Asked, asking: Mapping[str, str]) -> Told:
        operation = f"4.{secrets.token_hex(8)}.{secrets.token_hex(8)}.{device[:8]}"
        state = self.state_of(device, asked.chain)
        self.store.register(device, Registration(operation, self.polls, state))
        place = f"{asked.path.removesuffix('/register')}/operations/{quote(operation)}"
        where = f"https://{asked.headers.get('host', '')}{place}?{asked.query}"
        told = {"operationId": operation, "status": "assigning"}
        return Told.json(202, told, {**asking, "location": where})

    def _poll(self, device: str, operation: str, asking: Mapping[str, str]) -> Told:
        known = self.store.registration(device)
        if known is None or known.operation != operation:
            return refused(404, 404202, "Operation not found")
        if known.polls_left:
            self.store.register(device, replace(known, polls_left=known.polls_left - 1))
            return Told.json(202, {"operationId": operation, "status": "assigning"}, asking)
        told = {"operationId": operation, "status": known.state["status"]}
        return Told.json(200, {**told, "registrationState": known.state}, asking)


def _named(body: bytes) -> str:
    try:
        found = json.loads(body or b"{}")
    except ValueError:
        return ""
    named = found.get("registrationId") if isinstance(found, dict) else None
    return named.lower() if isinstance(named, str) else ""
