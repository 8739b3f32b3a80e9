"""A plan's ways to a certificate by EST: enrolled, enrolled with proof of possession, or renewed.

Each gives the certificate and what else the server sent, which nobody has judged yet. Each raises
PutOff, having kept beside the record what to ask for then.

The server's CA certificates are asked for first: once a certificate was issued nothing is asked any
more, so that nothing which goes wrong then can lose it. It is on the disk (``issued``) before it is
judged.
"""

from __future__ import annotations

import datetime
import hashlib
from pathlib import Path

from cryptography import x509

from harness.deadline import Deadline
from harness.errors import Misuse
from provisioning.csr import UNREADABLE
from provisioning.enrolling import est_client, renewing_client
from provisioning.est_answers import Issued, Parked, loaded_request, names
from provisioning.http_errors import PutOff
from provisioning.issued import Certificates, keep_issued
from provisioning.private_files import read_bounded, write_durably
from provisioning.record import observed
from provisioning.work import Work, need

Answer = tuple[x509.Certificate, Certificates]
_LARGEST = 65536


def enrolled(work: Work, request: bytes, *, by: Deadline) -> Answer:
    """By simpleenroll; one that was put off is asked for again with the same octets."""
    waiting = _waiting(work, request)
    with est_client(work, by=by) as client:
        issuers = client.cacerts(by=by)
        made = client.resume(waiting, by=by) if waiting else client.enroll(request, by=by)
        return _answer(work, made, issuers)


def enrolled_bound(work: Work, *, by: Deadline) -> Answer:
    """By simpleenroll with a request that is signed for this very connection (RFC 7030 3.5)."""
    _waiting(work, None)

    def sign(binding: bytes) -> bytes:
        key = need(work.key, "the key")
        made = work.box.identity.request(key, tls_unique=binding, by=by)
        note_request(work, made)
        return made

    with est_client(work, by=by) as client:
        issuers = client.cacerts(by=by)
        return _answer(work, client.enroll_bound(sign, by=by), issuers)


def renewed(work: Work, present: tuple[x509.Certificate, ...], *, by: Deadline) -> Answer:
    """By simplereenroll for the same names and key: the box itself shows what it has in TLS."""
    request = _renewal(work, present[0], by)
    waiting = _waiting(work, request)
    with renewing_client(work, present, by=by) as client:
        issuers = client.cacerts(by=by)
        if waiting:
            return _answer(work, client.resume(waiting, by=by), issuers)
        return _answer(work, client.reenroll(request, present[0], by=by), issuers)


def is_to_renew(work: Work, found: x509.Certificate) -> bool:
    """Whether the plan wants it renewed: it ends within ``renew_days``."""
    est = work.plan.est
    if est is None or not est.renew_days:
        return False
    left = found.not_valid_after_utc - datetime.datetime.now(datetime.UTC)
    return left < datetime.timedelta(days=est.renew_days)


def note_request(work: Work, request: bytes) -> None:
    work.note("certificate", request_sha256=observed(hashlib.sha256(request).hexdigest()))


def forget_parked(work: Work) -> None:
    """What was to be asked again is answered."""
    for place in (_parked_file(work), _renewal_file(work)):
        place.unlink(missing_ok=True)


def _renewal(work: Work, present: x509.Certificate, by: Deadline) -> bytes:
    """The kept one if it is for these names and this key, else one that is signed in the TEE."""
    key, place = need(work.key, "the key"), _renewal_file(work)
    try:
        made = read_bounded(place, _LARGEST)
        asked = loaded_request(made)
        same = names(asked) == names(present) and asked.public_key() == key.public_key
    except (Misuse, *UNREADABLE):
        same = False
    if not same:
        made = work.box.identity.renewal(key, present, by=by)
        write_durably(place, made, mode=0o644)
    note_request(work, made)
    return made


def _answer(work: Work, made: Issued | Parked, issuers: Certificates) -> Answer:
    """What else the server sent along is not trusted; who judges wants it all the same."""
    if isinstance(made, Parked):
        write_durably(_parked_file(work), made.to_json().encode())
        raise PutOff(f"certifying {work.box.target.serial}", made.until)
    others = (*made.others, *issuers)
    keep_issued(work, made.certificate, others)
    return made.certificate, others


def _waiting(work: Work, request: bytes | None) -> Parked | None:
    """What was put off of this request (None: of one that was bound, and cannot be repeated).

    Raises PutOff, asking nobody, when it is not yet time.
    """
    place = _parked_file(work)
    if not place.exists():
        return None
    found = Parked.from_json(place.read_text(), str(place))
    if not found.bound if request is None else found.request != request:
        return None
    if found.until > datetime.datetime.now(datetime.UTC):
        raise PutOff(f"certifying {work.box.target.serial}", found.until)
    return found


def _parked_file(work: Work) -> Path:
    return work.directory / "est-parked.json"


def _renewal_file(work: Work) -> Path:
    return work.directory / "renewal.der"
