"""Every certificate that came for a box's key, kept beside its record before it is judged.

::

    issued/NUMBER.pem      leaf first, and behind it the issuers that the server sent along

A CA that is not ours may issue twice for one request, and what it issued stays issued whatever we
think of it: those that do not count stand in the record as ``superseded``, for somebody to revoke.
"""

from __future__ import annotations

from pathlib import Path

from cryptography import x509

from provisioning.certificates import pem
from provisioning.csr import UNREADABLE
from provisioning.est import Receiver
from provisioning.private_files import write_durably
from provisioning.record import value
from provisioning.work import Work

Certificates = tuple[x509.Certificate, ...]
_LARGEST = 65536
_MOST = 16
"""Certificates of one answer that are kept: a server's mischief shall not fill the disk."""


def keep_issued(work: Work, issued: x509.Certificate, also: Certificates = ()) -> None:
    """On the disk when this returns; ``also`` are issuers that were sent along."""
    place = _directory(work)
    place.mkdir(mode=0o755, exist_ok=True)
    write_durably(place / f"{issued.serial_number:x}.pem", pem(issued, *also), mode=0o644)


def keeping(work: Work) -> Receiver:
    """For an EST client: keeps what it received, before it judges."""

    def keep(received: Certificates) -> None:
        for certificate in received[:_MOST]:
            keep_issued(work, certificate)

    return keep


def last_issued(work: Work) -> Certificates:
    """What was received last, leaf first, if it is not one that an earlier record put aside."""
    aside = value(work.earlier, "certificate", "superseded")
    try:
        found = [(p.stat().st_mtime_ns, p) for p in _directory(work).glob("*.pem")]
        newest = max(found)[1]
        if isinstance(aside, list) and newest.stem in aside:
            return ()
        return tuple(x509.load_pem_x509_certificates(newest.read_bytes()[:_LARGEST]))
    except (OSError, *UNREADABLE):
        return ()


def numbers_issued(work: Work) -> list[str]:
    """Serial numbers, hexadecimal, of all that were ever received."""
    return sorted(p.stem for p in _directory(work).glob("*.pem"))


def _directory(work: Work) -> Path:
    return work.directory / "issued"
