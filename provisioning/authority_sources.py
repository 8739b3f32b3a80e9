"""What is left of a CA whose index is lost: copies of the index, CRLs, certificates in records.

Nothing here is believed because of where it lies: a certificate or CRL counts when the key of
root.pem or issuing.pem signed it, an index when it knows that key. Nothing is changed.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.x509.oid import NameOID

from harness.errors import BadInput, Misuse
from provisioning.authority_entry import Entry
from provisioning.authority_index import Index, KeptCrl
from provisioning.authority_life import fingerprint
from provisioning.authority_policy import DEVICE
from provisioning.authority_publish import BELOW, crl_number
from provisioning.authority_signing import reason_of
from provisioning.csr import UNREADABLE
from provisioning.private_files import read_bounded, write_durably
from provisioning.record import load, value

_LARGEST = 1 << 20
_LARGEST_CRL = 64 << 20
_LARGEST_INDEX = 4 << 30


@dataclass(frozen=True, slots=True)
class Ca:
    """The two certificates that everything is measured by."""

    root: x509.Certificate
    issuing: x509.Certificate

    def signed(self, found: x509.Certificate) -> str | None:
        """Whose certificate it is, by who signed it: issuing, device; None for a stranger's."""
        for role, signer in (("issuing", self.root), (DEVICE.role, self.issuing)):
            try:
                found.verify_directly_issued_by(signer)
            except (InvalidSignature, *UNREADABLE):
                continue
            return role
        return None

    def crl_of(self, found: x509.CertificateRevocationList) -> str | None:
        """Whose CRL it is: root, issuing; None for a stranger's."""
        for role, signer in (("root", self.root), ("issuing", self.issuing)):
            try:
                if found.is_signature_valid(signer.public_key()):  # type: ignore[arg-type]  # a CA's
                    return role
            except UNREADABLE:
                continue
        return None


@dataclass(slots=True)
class Source:
    """What one of them holds; ``said`` names it for people."""

    said: str
    entries: list[Entry] = field(default_factory=list)
    crls: list[KeptCrl] = field(default_factory=list)


def of_index(path: Path, said: str, ca: Ca) -> Source:
    """A copy of the index. It is copied before it is opened, which may bring it to today's form.

    Raises Misuse when it cannot be read, is another CA's, or has a box's certificate that the key
    of issuing.pem did not sign or that is not what its row says: then somebody edited it.
    """
    octets = read_bounded(path, _LARGEST_INDEX, expected="an index of the CA")
    with tempfile.TemporaryDirectory(prefix="trustbox-") as scratch:
        copy = Index(Path(scratch) / "index.sqlite")
        write_durably(copy.path, octets)
        cut = path.with_name(f"{path.name}-journal")
        if cut.exists():  # of a change that was cut short: SQLite turns it back by this
            beside = copy.path.with_name(f"{copy.path.name}-journal")
            write_durably(beside, read_bounded(cut, _LARGEST_INDEX, expected="its journal"))
        try:
            entries, crls = list(copy.all()), list(copy.crls())
        except Misuse as problem:
            raise Misuse(
                problem.message.replace(str(copy.path), str(path)),
                hint="Give another copy with --from, or none: CRLs and records are read anyway.",
            ) from problem
    if all(entry.spki != fingerprint(ca.issuing) for entry in entries if entry.role == "issuing"):
        raise Misuse(
            f"{path} is the index of another CA: it does not know the key of issuing.pem",
            hint="Look whose backup it is.",
        )
    for entry in entries:
        if entry.role == DEVICE.role and entry.certificate and not _is_ours(entry, ca):
            raise Misuse(
                f"{path}: the CA did not sign what the entry {entry.number:x} says",
                hint="Somebody edited this copy, or it is damaged: give another one with --from.",
            )
    return Source(said, entries, crls)


def _is_ours(entry: Entry, ca: Ca) -> bool:
    found = entry.certificate
    return (
        found is not None
        and (found.serial_number, fingerprint(found)) == (entry.number, entry.spki)
        and ca.signed(found) == DEVICE.role
    )


def of_crl(path: Path, ca: Ca) -> Source:
    """A published CRL, DER: its number, and who it revokes. Raises BadInput and Misuse."""
    octets = read_bounded(path, _LARGEST_CRL, expected="a CRL")
    try:
        found = x509.load_der_x509_crl(octets)
        role = ca.crl_of(found)
        number = crl_number(found)
        entries = [_revoked(entry, BELOW[role]) for entry in found] if role else []
    except (x509.ExtensionNotFound, *UNREADABLE) as problem:
        raise BadInput(
            where=str(path),
            key="the file",
            value="no CRL",
            expected="a CRL, DER",
            hint="Bring it back from where it is handed out: openssl crl -outform DER makes DER of"
            " a PEM. If nobody has it, put the file aside.",
        ) from problem
    if role is None:
        raise Misuse(
            f"{path} is signed by neither root.pem nor issuing.pem",
            hint="Bring back the CRL of this CA from where it is handed out.",
        )
    return Source(f"{path.name} (number {number})", entries, [KeptCrl(role, number, octets)])


def of_certificates(*found: x509.Certificate, role: str, said: str) -> Source:
    """The CA's own."""
    return Source(said, [_entry(each, role) for each in found])


def of_records(directory: Path, ca: Ca) -> Source:
    """Every certificate of this CA in the files ``*.pem`` below ``directory``. Those that a record
    says are installed count as read back. Files that are no certificates are passed over.
    """
    source = Source(f"certificates in {directory}")
    held, ours = dict[int, Entry](), fingerprint(ca.issuing)
    for place in sorted(directory.rglob("*.pem")):
        for found in _in_file(place):
            role = ca.signed(found)
            if role is None or (role == "issuing" and fingerprint(found) != ours):
                continue  # a stranger's, the root's own, or another station's issuing CA
            entry = _entry(found, role, installed=role == DEVICE.role and _installed(place, found))
            known = held.get(entry.number)
            if known is None or (entry.read_back and not known.read_back):
                held[entry.number] = entry
    source.entries = list(held.values())
    return source


def unknown_of_box(index: Index, ca: Ca, records: Path, serial: str) -> Iterator[tuple[Path, int]]:
    """Directories of the box's record with a certificate of this CA that the index does not know,
    and the number: it is an older copy then. Letters' case ignored.
    """
    for place in sorted(records.iterdir()) if records.is_dir() else ():
        if place.name.lower() == serial.lower():
            for entry in of_records(place, ca).entries:
                if index.get(entry.number) is None:
                    yield place, entry.number


def _in_file(place: Path) -> Iterator[x509.Certificate]:
    if not place.is_file():  # a pipe would be waited for, with the CA's lock held
        return
    try:
        yield from x509.load_pem_x509_certificates(read_bounded(place, _LARGEST))
    except (BadInput, *UNREADABLE):
        return


def _installed(place: Path, found: x509.Certificate) -> bool:
    """Whether the record beside the file says that the box had it."""
    beside = place.parent if place.name == "device.pem" else place.parent.parent
    try:
        record = load(beside / "record.json")
    except Misuse:
        return False
    there = value(record, "certificate", "installed") is True
    return there and value(record, "certificate", "serial") == f"{found.serial_number:x}"


def _entry(found: x509.Certificate, role: str, *, installed: bool = False) -> Entry:
    names = found.subject.get_attributes_for_oid(NameOID.SERIAL_NUMBER)
    begun = _time(found.not_valid_before_utc)
    return Entry(
        number=found.serial_number,
        role=role,
        device=str(names[0].value) if role == DEVICE.role and names else "",
        spki=fingerprint(found),
        begun=begun,
        issued=begun,
        certificate=found,
        revoked=None,
        reason=None,
        run="",
        replaces=None,
        read_back=begun if installed else None,
        superseded=None,
        to_revoke=None,
    )


def _revoked(found: x509.RevokedCertificate, role: str) -> Entry:
    # Of which key is not said, and not guessed: under one root there may be issuing CAs of several
    # stations. Whoever revokes a key names all its certificates, issuing.pem among them.
    return Entry(
        number=found.serial_number,
        role=role,
        device="",
        spki="",
        begun=_time(found.revocation_date_utc),
        issued=None,
        certificate=None,
        revoked=found.revocation_date_utc,
        reason=reason_of(found),
        run="",
        replaces=None,
        read_back=None,
        superseded=None,
        to_revoke=None,
    )


def _time(of: datetime) -> str:
    return of.astimezone(UTC).isoformat(timespec="milliseconds")
