"""A box's certificate, proved again: on the box, beside its record, and before its CA."""

from __future__ import annotations

import hashlib

from cryptography import x509

from harness.deadline import Deadline
from harness.errors import IntegrityFailure
from provisioning.certificates import check_path, der, pem
from provisioning.csr import UNREADABLE
from provisioning.enrolling import judge_of, serving_path
from provisioning.issued import numbers_issued
from provisioning.record import value
from provisioning.steps_identity import told
from provisioning.work import Work, need


def certificate(work: Work, by: Deadline) -> str:
    """Token object = file on the box = file of the record = digest in the record."""
    there = work.box.identity.chain(by=by)
    if not there:
        raise IntegrityFailure(f"the box has no certificate in {work.box.identity.chain_path}")
    if work.box.keys.certificates(need(work.key, "the key"), by=by) != (der(there[0]),):
        raise IntegrityFailure("the certificate in the token is not the one in the file")
    kept = work.directory / "device.pem"
    if not kept.exists() or kept.read_bytes() != pem(there[0]):
        raise IntegrityFailure(f"the box's certificate is not the one in {kept}")
    leaf = there[0]
    digest = hashlib.sha256(der(leaf)).hexdigest()
    same(work, "certificate", "sha256", digest, "the certificate's digest")
    for name, found in told(leaf).items():
        same(work, "certificate", name, found, f"the certificate's {name.replace('_', ' ')}")
    others = [n for n in numbers_issued(work) if n != f"{leaf.serial_number:x}"]
    same(work, "certificate", "superseded", others, "the list of those that it replaces")
    work.chain = there
    return "token, file and record hold the same, byte for byte"


def files(work: Work, by: Deadline) -> str:
    """device.pem, chain.pem and root.pem beside the record: what the line hands on with the box."""
    try:
        return _files(work)
    except IntegrityFailure as problem:
        raise IntegrityFailure(f"{problem.message}; trustbox provision writes it anew") from problem


def _files(work: Work) -> str:
    leaf, judge = need(work.chain, "the certificate")[0], judge_of(work)
    (root,), above = _kept(work, "root.pem", 1), _kept(work, "chain.pem")
    if der(root) != der(judge.root):
        raise IntegrityFailure(f"{work.directory / 'root.pem'} is another CA's root")
    if der(above[-1]) != der(root):
        raise IntegrityFailure(f"{work.directory / 'chain.pem'} does not end in root.pem's root")
    box = work.box.target.serial
    key = need(work.key, "the key").public_key
    try:
        led = check_path(leaf, key=key, serial=box, above=above[:-1], root=root, idevid=False)
    except IntegrityFailure as problem:
        place = work.directory / "chain.pem"
        raise IntegrityFailure(f"{place} does not hold its issuers: {problem.message}") from problem
    if len(led) != len(above):
        raise IntegrityFailure(f"{work.directory / 'chain.pem'} holds certificates of others")
    return "device.pem, chain.pem and root.pem are the box's, its issuers' and the root"


def _kept(work: Work, name: str, most: int = 8) -> tuple[x509.Certificate, ...]:
    """1 to ``most`` certificates of a file beside the record."""
    place = work.directory / name
    try:
        found = tuple(x509.load_pem_x509_certificates(place.read_bytes()))
    except FileNotFoundError as problem:
        raise IntegrityFailure(f"{place} is not there") from problem
    except (OSError, *UNREADABLE) as problem:
        raise IntegrityFailure(f"{place} cannot be read: {problem}") from problem
    if not 1 <= len(found) <= most:
        raise IntegrityFailure(f"{place} holds {len(found)} certificates, expected 1 to {most}")
    return found


def path(work: Work, by: Deadline) -> str:
    """To the root, for this key and this box, not over, not revoked."""
    chain, judge = need(work.chain, "the certificate"), judge_of(work)
    leaf = chain[0]
    judge.path(
        leaf,
        key=need(work.key, "the key").public_key,
        serial=work.box.target.serial,
        also=chain[1:],
    )
    if judge.ours and not work.authority().knows(leaf):
        raise IntegrityFailure(
            f"this station's CA did not issue certificate {leaf.serial_number:x}: its index knows"
            " nothing of it"
        )
    if judge.ours and _is_revoked(work, leaf):
        raise IntegrityFailure(f"certificate {leaf.serial_number:x} was revoked")
    entry = work.authority().index.get(leaf.serial_number) if judge.ours else None
    if entry is not None and entry.to_revoke is not None:
        raise IntegrityFailure(
            f"certificate {leaf.serial_number:x} is to be revoked: {entry.to_revoke}"
        )
    if serving_path(work, chain, judge) is None:
        raise IntegrityFailure(f"the certificate is about to end: {leaf.not_valid_after_utc}")
    known = "not revoked" if judge.ours else "whether it was revoked its CA knows"
    return f"leads to {judge.root.subject.rfc4514_string()}; {known}"


def same(work: Work, about: str, name: str, found: object, what: str) -> None:
    """Raises IntegrityFailure unless the record has just this."""
    claimed = value(work.earlier, about, name)
    if claimed != found:
        told = claimed or "none"
        raise IntegrityFailure(f"{what} is {found or 'nowhere'}, and the record has {told}")


def _is_revoked(work: Work, leaf: x509.Certificate) -> bool:
    """By the CA's index, and by the CRL that others read."""
    ca = work.authority()
    published = ca.files.crl("issuing")
    listed = published is not None and published.get_revoked_certificate_by_serial_number(
        leaf.serial_number
    )
    return ca.is_revoked(leaf) or bool(listed)
