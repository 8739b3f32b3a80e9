"""What a CA signs: its own certificates, a box's, a CRL. The key stays in its token.

A signature is checked with the issuer's public key before anybody gets it: a token that signs
with another key, or wrongly, is found here and not by a box in the field.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.x509.oid import NameOID

from harness.deadline import Deadline
from harness.errors import IntegrityFailure
from provisioning.authority_entry import Entry, NewRow
from provisioning.authority_index import Index
from provisioning.authority_policy import KeyRule
from provisioning.authority_reasons import CA_REASONS
from provisioning.idevid import distribution_point, key_usage, validity
from provisioning.token import Token
from provisioning.token_key import signing_key
from provisioning.token_public import KeyPair

_UNSPECIFIED = x509.ReasonFlags.unspecified


@dataclass(frozen=True, slots=True)
class Signer:
    """A CA's key, ready: its token, whose session is logged in, and its pair there."""

    token: Token
    pair: KeyPair

    def certificate(
        self,
        index: Index,
        builder: x509.CertificateBuilder,
        row: NewRow,
        *,
        issuer: x509.Certificate | None,
        by: Deadline,
    ) -> x509.Certificate:
        """Sign, and have it in the index; ``issuer`` None: it is its own.

        Raises IntegrityFailure for a signature that does not verify.
        """
        index.begin(row)
        made = builder.sign(signing_key(self.token, self.pair, by=by), self.pair.profile.hash)
        _checked(made, issuer or made)
        index.finish(made)
        return made

    def revocation_list(
        self,
        issuer: x509.Certificate,
        revoked: tuple[Entry, ...],
        *,
        number: int,
        days: int,
        by: Deadline,
    ) -> x509.CertificateRevocationList:
        """A full CRL with number and AKI (RFC 5280 5.2), good until ``days`` from now."""
        begin, end = validity(days)
        # Back-dated, as certificates are, but not to before a revocation that it has.
        now = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
        begin = max([begin, *(_revoked_on(entry, now) for entry in revoked)])
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(issuer.subject)
            .last_update(begin)
            .next_update(end)
            .add_extension(x509.CRLNumber(number), critical=False)
            .add_extension(_issuer_id(issuer), critical=False)
        )
        for entry in revoked:
            builder = builder.add_revoked_certificate(_revoked(entry, now))
        made = builder.sign(signing_key(self.token, self.pair, by=by), self.pair.profile.hash)
        if not made.is_signature_valid(self.pair.public_key):
            raise IntegrityFailure("the token's signature under the CRL does not verify")
        return made


def ca_builder(
    pair: KeyPair,
    rule: KeyRule,
    *,
    root: x509.Certificate | None,
    number: int,
    days: int | None,
    crl_url: str | None = None,
) -> x509.CertificateBuilder:
    """A CA's own certificate, as it is to be signed; ``root`` None: by itself. ``crl_url``: where
    its issuer's CRL is fetched (RFC 5280 4.2.1.13).
    """
    # A name of its own for each CA: two stations' roots must not be taken for one another.
    unique = x509.NameAttribute(NameOID.SERIAL_NUMBER, pair.spki_sha256[:16])
    named = x509.NameAttribute(NameOID.COMMON_NAME, f"TrustBox {rule.role} CA")
    subject = x509.Name([named, unique])
    begin, end = validity(days)
    own_id = x509.SubjectKeyIdentifier.from_public_key(pair.public_key)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(root.subject if root else subject)
        .public_key(pair.public_key)
        .serial_number(number)
        .not_valid_before(begin)
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca=True, path_length=rule.path_length), critical=True)
        .add_extension(key_usage(key_cert_sign=True, crl_sign=True), critical=True)
        .add_extension(own_id, critical=False)
        .add_extension(
            _issuer_id(root)
            if root
            else x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own_id),
            critical=False,
        )
    )
    if crl_url is not None:
        builder = builder.add_extension(distribution_point(crl_url), critical=False)
    return builder


def crl_is_due(
    found: x509.CertificateRevocationList | None,
    revoked: tuple[Entry, ...],
    *,
    at: datetime.datetime | None = None,
) -> bool:
    """No CRL, one past half of its time, one of the future (this machine's clock was wrong), or one
    that does not name exactly those revoked, for their reasons.
    """
    if found is None or found.next_update_utc is None:
        return True
    when = at or datetime.datetime.now(datetime.UTC)
    half = found.last_update_utc + (found.next_update_utc - found.last_update_utc) / 2
    if not found.last_update_utc <= when < half:
        return True
    flags = {e.number: CA_REASONS.get(e.reason or "", _UNSPECIFIED) for e in revoked}
    return {r.serial_number: _reason_of(r) for r in found} != flags


def reason_of(found: x509.RevokedCertificate) -> str:
    """Its name; unspecified where a CRL gives none, or one that is not used here."""
    flag = _reason_of(found)
    return next((name for name, known in CA_REASONS.items() if known is flag), "unspecified")


def _reason_of(found: x509.RevokedCertificate) -> x509.ReasonFlags:
    try:
        return found.extensions.get_extension_for_class(x509.CRLReason).value.reason
    except x509.ExtensionNotFound:
        return _UNSPECIFIED


def _issuer_id(issuer: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    found = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(found)


def _revoked_on(entry: Entry, now: datetime.datetime) -> datetime.datetime:
    """Never in the future: this machine's clock may have been wrong when it was revoked."""
    return min(entry.revoked or now, now).replace(microsecond=0)


def _revoked(entry: Entry, now: datetime.datetime) -> x509.RevokedCertificate:
    builder = (
        x509.RevokedCertificateBuilder()
        .serial_number(entry.number)
        .revocation_date(_revoked_on(entry, now))
    )
    reason = CA_REASONS.get(entry.reason or "", _UNSPECIFIED)
    if reason is not _UNSPECIFIED:  # which is said by saying nothing (5.3.1)
        builder = builder.add_extension(x509.CRLReason(reason), critical=False)
    return builder.build()


def _checked(made: x509.Certificate, issuer: x509.Certificate) -> None:
    try:
        made.verify_directly_issued_by(issuer)
    except (InvalidSignature, TypeError, ValueError) as problem:
        raise IntegrityFailure(
            "the token's signature under a certificate does not verify",
            hint="Nothing was given out. Have the token looked at before it signs anything else.",
        ) from problem
