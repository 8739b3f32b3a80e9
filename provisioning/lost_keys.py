"""Certificates that outlive their key: whoever erases a key says what becomes of them.

A certificate stays good whatever happens to its key. Those of this station's CA go onto its list
"to revoke", for which nothing is signed and no token opened; of another CA's only its own people
can revoke them, so they are named.
"""

from __future__ import annotations

import datetime
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from harness.deadline import Deadline
from harness.errors import DeviceRefused, TrustBoxError
from provisioning.authority_entry import Entry
from provisioning.authority_files import CaFiles
from provisioning.authority_life import fingerprint, knows
from provisioning.authority_lock import locked
from provisioning.authority_state import require_set_up
from provisioning.csr import UNREADABLE
from provisioning.ledger import Facts
from provisioning.station import Station
from provisioning.token import Token


@dataclass(frozen=True, slots=True)
class Going:
    """Keys that are about to go: the SHA-256 of each (SubjectPublicKeyInfo, hexadecimal), and the
    certificates that the token holds for them.
    """

    keys: frozenset[str] = frozenset()
    certificates: tuple[x509.Certificate, ...] = ()

    def and_of(self, earlier: Facts) -> Going:
        """With those that an attempt wrote down before, which the token may not show any more."""
        keys, texts = earlier.get("keys"), earlier.get("certificates")
        also = [one for one in keys if isinstance(one, str)] if isinstance(keys, list) else []
        told = [one for one in texts if isinstance(one, str)] if isinstance(texts, list) else []
        found = {*self.certificates, *(c for c in map(_of_hex, told) if c is not None)}
        return Going(self.keys | set(also), tuple(sorted(found, key=lambda c: c.serial_number)))

    def without(self, still: Collection[str]) -> Going:
        """Without keys that are there after all: an earlier attempt never came to them."""
        left = tuple(one for one in self.certificates if fingerprint(one) not in still)
        return Going(self.keys - set(still), left)

    @property
    def facts(self) -> Facts:
        """For the ledger."""
        ders = [one.public_bytes(Encoding.DER).hex() for one in self.certificates]
        return {"keys": sorted(self.keys), "certificates": ders}


@dataclass(frozen=True, slots=True)
class Outliving:
    """``ours``: of this station's CA, neither revoked nor over. ``others``: of somebody else's."""

    ours: tuple[Entry, ...] = ()
    others: tuple[x509.Certificate, ...] = ()
    unasked: str = ""
    """Why this station's CA could not be asked; then all are among ``others``."""

    def told(self) -> list[str]:
        """A sentence for each."""
        said = [
            f"certificate {one.number:x} of {one.device} is still good: it is on the CA's list to"
            " revoke now (trustbox ca show), and trustbox ca revoke --pending revokes it"
            for one in self.ours
        ]
        if self.unasked and self.others:
            said.append(f"this station's CA could not be asked: {self.unasked}")
        for one in self.others:
            issuer = one.issuer.rfc4514_string()
            said.append(
                f"certificate {one.serial_number:x} is still good, and {issuer} issued it: have it"
                f" revoked there (on that CA's station: trustbox ca revoke {one.serial_number:x})"
            )
        return said

    @property
    def facts(self) -> Facts:
        """For the ledger, and for JSON."""
        issuers = [
            {"number": f"{one.serial_number:x}", "issuer": one.issuer.rfc4514_string()}
            for one in self.others
        ]
        return {"to_revoke": [f"{one.number:x}" for one in self.ours], "of_other_cas": issuers}


def going(token: Token, ids: Collection[bytes] | None = None, *, by: Deadline) -> Going:
    """What the token, which is logged in to, would lose with these CKA_IDs; None: with all."""
    there = {id for kind, _, id in token.objects(by=by) if kind in _OF_PAIRS}
    keys, certificates = set[str](), list[x509.Certificate]()
    for id in sorted(there if ids is None else there & set(ids)):
        try:
            pair = token.find(id, by=by)
        except DeviceRefused:  # not one whole pair: its certificate names its key
            pair = None
        if pair is not None:
            keys.add(pair.spki_sha256)
        for der in token.certificates(id, by=by):
            found = _read(der)
            if found is not None:
                certificates.append(found)
                keys.add(fingerprint(found))
    return Going(frozenset(keys), tuple(certificates))


def keys_in(token: Token, *, by: Deadline) -> frozenset[str]:
    """SHA-256 of each whole pair that the token holds: a certificate alone is no key."""
    ids = {id for kind, _, id in token.objects(by=by) if kind == "private"}
    found = set[str]()
    for id in sorted(ids):
        with suppress(DeviceRefused):  # half a pair, or two
            pair = token.find(id, by=by)
            found |= {pair.spki_sha256} if pair is not None else set()
    return frozenset(found)


def all_of(station: Station, serial: str) -> Going:
    """Every key of the box that this station's CA ever certified, where the token cannot be looked
    into; none where the CA cannot be asked.
    """
    files = CaFiles(station.state / "ca")
    try:
        require_set_up(files)
        return Going(frozenset(entry.spki for entry in files.index.of_device(serial)))
    except TrustBoxError:
        return Going()


def outliving(station: Station, gone: Going) -> Outliving:
    """What is still good of the keys that are gone. Signs nothing, opens no token."""
    files = CaFiles(station.state / "ca")
    try:
        require_set_up(files)
        index = files.index
        rows = [entry for key in sorted(gone.keys) for entry in index.of_key(key)]
        others = tuple(one for one in gone.certificates if not knows(index, one))
    except TrustBoxError as problem:
        return Outliving(others=gone.certificates, unasked=problem.message)
    ours = tuple(
        entry for entry in rows if entry.role == "device" and not entry.over and not entry.revoked
    )
    return Outliving(ours, others)


def put_on_list(station: Station, left: Outliving, why: str, *, by: Deadline) -> None:
    """Those of this station's CA are to be revoked from now on. Raises DeadlineExpired."""
    if not left.ours:
        return
    files = CaFiles(station.state / "ca")
    with locked(files.ca, by):
        for entry in left.ours:
            files.index.mark_to_revoke(entry.number, why)


def _read(der: bytes) -> x509.Certificate | None:
    """None for what is none, and for one that is over: a token keeps what it is given."""
    try:
        found = x509.load_der_x509_certificate(der)
        fingerprint(found)
        over = found.not_valid_after_utc <= datetime.datetime.now(datetime.UTC)
    except UNREADABLE:
        return None
    return None if over else found


def _of_hex(text: str) -> x509.Certificate | None:
    try:
        return _read(bytes.fromhex(text))
    except ValueError:
        return None


_OF_PAIRS = frozenset({"private", "public", "certificate"})
