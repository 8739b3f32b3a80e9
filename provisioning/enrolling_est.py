"""A plan's ways to a certificate by EST: enrolled, enrolled with proof of possession, or renewed.

Each gives the certificate and what else the server sent, which nobody has judged yet. Each raises
PutOff, having kept beside the record what to ask for then.
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
from provisioning.est import EstClient
from provisioning.est_answers import Issued, Parked, loaded_request, names
from provisioning.http_errors import PutOff
from provisioning.private_files import write_durably
from provisioning.record import observed
from provisioning.work import Work, need

Answer = tuple[x509.Certificate, tuple[x509.Certificate, ...]]
_LARGEST = 65536


def enrolled(work: Work, request: bytes, *, by: Deadline) -> Answer:
    """By simpleenroll; one that was put off is asked for again with the same octets."""
    waiting = _waiting(work)
    with est_client(work, by=by) as client:
        if waiting is not None and waiting.request == request:
            return _answer(work, client, client.resume(waiting, by=by), by)
        return _answer(work, client, client.enroll(request, by=by), by)


def enrolled_bound(work: Work, *, by: Deadline) -> Answer:
    """By simpleenroll with a request that is signed for this very connection (RFC 7030 3.5)."""
    waiting, now = _waiting(work), datetime.datetime.now(datetime.UTC)
    if waiting is not None and waiting.bound and waiting.until > now:
        raise PutOff(f"certifying {work.box.target.serial}", waiting.until)

    def sign(binding: bytes) -> bytes:
        key = need(work.key, "the key")
        made = work.box.identity.request(key, tls_unique=binding, by=by)
        note_request(work, made)
        return made

    with est_client(work, by=by) as client:
        return _answer(work, client, client.enroll_bound(sign, by=by), by)


def renewed(work: Work, present: tuple[x509.Certificate, ...], *, by: Deadline) -> Answer:
    """By simplereenroll for the same names and key: the box itself shows what it has in TLS."""
    request, waiting = _renewal(work, present[0], by), _waiting(work)
    with renewing_client(work, present, by=by) as client:
        if waiting is not None and waiting.request == request:
            return _answer(work, client, client.resume(waiting, by=by), by)
        return _answer(work, client, client.reenroll(request, present[0], by=by), by)


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
        made = place.read_bytes()[:_LARGEST]
        asked = loaded_request(made)
        same = names(asked) == names(present) and asked.public_key() == key.public_key
    except (OSError, Misuse, *UNREADABLE):
        same = False
    if not same:
        made = work.box.identity.renewal(key, present, by=by)
        write_durably(place, made, mode=0o644)
    note_request(work, made)
    return made


def _answer(work: Work, client: EstClient, made: Issued | Parked, by: Deadline) -> Answer:
    """What else the server sent along is not trusted; who judges wants it all the same."""
    if isinstance(made, Parked):
        write_durably(_parked_file(work), made.to_json().encode())
        raise PutOff(f"certifying {work.box.target.serial}", made.until)
    return made.certificate, (*made.others, *client.cacerts(by=by))


def _waiting(work: Work) -> Parked | None:
    place = _parked_file(work)
    return Parked.from_json(place.read_text(), str(place)) if place.exists() else None


def _parked_file(work: Work) -> Path:
    return work.directory / "est-parked.json"


def _renewal_file(work: Work) -> Path:
    return work.directory / "renewal.der"
