"""Every certificate that came for a box's key, kept beside its record before it is judged.

::

    issued/NUMBER.pem              "received N", then the leaf, and behind it the issuers that the
    issued/NUMBER-ISSUER.pem       server sent along; the second where two CAs gave one number

A CA that is not ours may issue twice for one request, and what it issued stays issued whatever we
think of it: those that do not count stand in the record as ``superseded``, for somebody to revoke.
Which came last is told by the files themselves, as a backup brings back no times of theirs.
"""

from __future__ import annotations

import datetime
import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509

from harness.errors import BadInput
from provisioning.certificates import pem
from provisioning.csr import UNREADABLE
from provisioning.est import Receiver
from provisioning.private_files import private_directory, read_bounded, write_durably
from provisioning.record import value
from provisioning.work import Work

Certificates = tuple[x509.Certificate, ...]
_LARGEST = 1 << 20
_RECEIVED = re.compile(rb"received ([0-9]{1,9})\n")
_MOST = 16
"""Certificates of one answer that are kept: a server's mischief shall not fill the disk."""


@dataclass(frozen=True, slots=True)
class _Kept:
    """A file that is a certificate's: ``received`` counts from 1, 0 for the version before."""

    path: Path
    received: int
    certificates: Certificates

    @property
    def order(self) -> tuple[int, datetime.datetime, str]:
        return self.received, self.certificates[0].not_valid_before_utc, self.path.name


def keep_issued(work: Work, issued: x509.Certificate, also: Certificates = ()) -> None:
    """On the disk when this returns; ``also`` are issuers that were sent along."""
    place, there = private_directory(_directory(work)), _all(work)
    mine = next((one.path for one in there if one.certificates[0] == issued), None)
    if mine is None:
        number = _number(issued)
        mine = place / f"{number}.pem"
        if any(one.path == mine for one in there):
            name = hashlib.sha256(issued.issuer.public_bytes()).hexdigest()[:16]
            mine = place / f"{number}-{name}.pem"
    received = 1 + max((one.received for one in there), default=0)
    text = f"received {received}\n".encode() + pem(issued, *also)
    write_durably(mine, text, mode=0o644)


def keeping(work: Work) -> Receiver:
    """For an EST client: keeps what it received, before it judges."""

    def keep(received: Certificates) -> None:
        for certificate in received[:_MOST]:
            keep_issued(work, certificate)

    return keep


def last_issued(work: Work) -> Certificates:
    """What was received last, leaf first, if it is not one that an earlier record put aside."""
    aside = value(work.earlier, "certificate", "superseded")
    newest = max(_all(work), key=lambda one: one.order, default=None)
    if newest is None:
        return ()
    put_aside = isinstance(aside, list) and _number(newest.certificates[0]) in aside
    return () if put_aside else newest.certificates


def numbers_issued(work: Work) -> list[str]:
    """Serial numbers, hexadecimal, of all that were ever received."""
    return sorted({_number(one.certificates[0]) for one in _all(work)})


def _all(work: Work) -> list[_Kept]:
    """In no order. What is no certificate's file was not kept by us, and is passed over."""
    found = []
    for path in _directory(work).glob("*.pem"):
        try:
            text = read_bounded(path, _LARGEST)
            certificates = tuple(x509.load_pem_x509_certificates(text))
        except (BadInput, *UNREADABLE):
            continue
        received = _RECEIVED.match(text)
        found.append(_Kept(path, int(received[1]) if received else 0, certificates))
    return found


def _number(certificate: x509.Certificate) -> str:
    return f"{certificate.serial_number:x}"


def _directory(work: Work) -> Path:
    return work.directory / "issued"
