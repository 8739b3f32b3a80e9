"""An EST server (RFC 7030, RFC 8951) over this station's own CA.

::

    GET  cacerts          issuing CA and root                       nobody has to log in
    GET  csrattrs         204: no wishes
    POST simpleenroll     HTTP Basic (the station's login: any box), or a box's own certificate
    POST simplereenroll   a box's own certificate: its names again, the same key or another one

Who asks is settled before a request is read, and a certificate counts only when this very CA issued
it (local_trust); which request deserves a certificate is the CA's to
say (``csr.checked_request``), and its refusal is told in plain words with status 400. Header names
are spelt as in the RFCs: Debian's libest compares them letter by letter.
"""

from __future__ import annotations

import base64
import hmac
from collections.abc import Callable

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7
from cryptography.x509.oid import NameOID

from harness.deadline import Deadline
from harness.errors import BadFrame, DeviceRefused, IntegrityFailure, Misuse, TokenRefused
from harness.secret import Secret
from provisioning.authority import Authority
from provisioning.authority_keys import signer_of
from provisioning.authority_tokens import ISSUING_ID, key_id
from provisioning.csr import UNREADABLE
from provisioning.est_wire import body_octets
from provisioning.local_http import LOOPBACK, Asked, LocalServer, ServerFiles, Told, said
from provisioning.local_trust import was_shown, why_not

REALM = "trustbox-factory"
_BASE = "/.well-known/est/"
SIGNING_SECONDS = 30.0
_OPERATIONS = {
    "cacerts": "GET",
    "csrattrs": "GET",
    "simpleenroll": "POST",
    "simplereenroll": "POST",
}


class LocalEst(LocalServer):
    """``login``: user and password for HTTP Basic. ``days`` None: certificates without end."""

    def __init__(
        self,
        files: ServerFiles,
        authority: Callable[[], Authority],
        *,
        login: tuple[str, Callable[[], Secret]],
        days: int | None,
        trusted: str,
        port: int = 0,
        listen: str = LOOPBACK,
        http: str = "HTTP/1.1",
        signing_seconds: float = SIGNING_SECONDS,
        replaces: int | None = None,
        run: str = "",
    ) -> None:
        """``authority`` is asked for when a request needs it; ``trusted``: its certificates, PEM.

        Of a server that is there for one run: ``replaces`` is the certificate that whoever has the
        login replaces with another key, ``run`` its name, for the index.
        """
        super().__init__(files, trusted=trusted, port=port, listen=listen, http=http)
        self._authority, self._login, self._days = authority, login, days
        self._signing_seconds = signing_seconds
        self._replaces, self._run = replaces, run

    def answer(self, asked: Asked) -> Told:
        operation = asked.path.removeprefix(_BASE)
        wanted = _OPERATIONS.get(operation)
        if wanted is None or not asked.path.startswith(_BASE):
            return said(404, "there is no such EST operation here")
        if wanted != asked.method:
            return said(405, f"{operation} is asked with {wanted}")
        try:
            if operation == "cacerts":
                ca = self._authority()
                return _certificates(ca.issuing, ca.root)
            if operation == "csrattrs":
                return Told(204)
            return self._enroll(asked, again=operation == "simplereenroll")
        except TokenRefused as problem:  # the station's own HSM, about nothing that was asked
            return said(503, problem.message, {"Retry-After": "5"})
        except (DeviceRefused, IntegrityFailure) as problem:
            if not self._can_sign():  # then it is about our own key, and nobody asked wrongly
                return said(500, problem.message)
            return said(400 if isinstance(problem, DeviceRefused) else 403, problem.message)

    def _can_sign(self) -> bool:
        """Whether the CA's own key is in its token, whole."""
        ca, by = self._authority(), Deadline.after(self._signing_seconds)
        try:
            signer_of(ca.token, key_id(ca.settings.issuing.token, ISSUING_ID), ca.issuing, by)
        except (DeviceRefused, IntegrityFailure):
            return False
        return True

    def _enroll(self, asked: Asked, *, again: bool) -> Told:
        mine = asked.chain[0] if asked.chain else None
        if mine is not None:
            if no := why_not(self._authority(), mine):
                return said(403, no)
            was_shown(self._authority(), mine)
        if again and mine is None:
            return said(403, "a re-enrollment shows the present certificate in TLS")
        if mine is None and not self._logged_in(asked.headers.get("authorization", "")):
            return said(401, "who are you?", {"WWW-Authenticate": f'Basic realm="{REALM}"'})
        try:
            request = body_octets(asked.body, "enrolling", "the request")
        except BadFrame as problem:
            raise DeviceRefused(problem.message) from problem
        serial = _serial_of(request)
        if mine is not None and _serial(mine.subject) != serial:
            return said(403, f"this is not the certificate of {serial}")
        made, _ = self._authority().issue(
            request,
            serial,
            days=self._days,
            by=Deadline.after(self._signing_seconds),
            again=_names(mine) if again and mine is not None else None,
            replaces=mine.serial_number if mine is not None else self._replaces,
            run=self._run,
        )
        return _certificates(made)

    def _logged_in(self, header: str) -> bool:
        kind, _, rest = header.partition(" ")
        try:
            given = base64.b64decode(rest.strip(), validate=True)
        except ValueError:  # not base64, or not even ASCII
            return False
        user, password = self._login
        wanted = user.encode() + b":" + password().reveal()
        return kind.lower() == "basic" and hmac.compare_digest(given, wanted)


def _serial_of(request: bytes) -> str:
    """Which box a request is for: its subject says so, and the CA then checks all of it."""
    try:
        return _serial(x509.load_der_x509_csr(request).subject)
    except UNREADABLE as problem:
        raise DeviceRefused(f"the request cannot be read: {problem}") from problem


def _serial(name: x509.Name) -> str:
    found = name.get_attributes_for_oid(NameOID.SERIAL_NUMBER)
    if len(found) != 1 or not isinstance(found[0].value, str):
        raise DeviceRefused("the subject has not one serialNumber: which box is it for?")
    return found[0].value


def _names(of: x509.Certificate) -> x509.SubjectAlternativeName:
    try:
        return of.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, *UNREADABLE) as problem:
        raise Misuse("the present certificate has no subjectAltName") from problem


def _certificates(*found: x509.Certificate) -> Told:
    """A certs-only answer: base64 in lines, as RFC 8951 3 has it, and as libest reads it."""
    octets = pkcs7.serialize_certificates(list(found), Encoding.DER)
    headers = {
        "Content-Type": "application/pkcs7-mime; smime-type=certs-only",
        "Content-Transfer-Encoding": "base64",
    }
    return Told(200, base64.encodebytes(octets), headers)
