"""The CRLs: signed, kept in the index, published. They never go backwards, in number or content.

What is published is on the disk twice: in the file that a web server hands out, and in the index.
``authority_state`` compares both before anything is signed.
"""

from __future__ import annotations

from pathlib import Path

from cryptography import x509

from harness.deadline import Deadline
from provisioning.authority_entry import Entry
from provisioning.authority_files import CaFiles
from provisioning.authority_signing import Signer, crl_is_due

BELOW = {"root": "issuing", "issuing": "device"}
"""Whose certificates a CA's CRL names."""


def crl_number(of: x509.CertificateRevocationList) -> int:
    """Raises x509.ExtensionNotFound for a CRL without (RFC 5280 5.2.3)."""
    return of.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number


def revoked_by(files: CaFiles, role: str) -> tuple[Entry, ...]:
    """What the CRL of ``role`` has to name."""
    return files.index.revoked(BELOW[role])


def is_due(files: CaFiles, role: str) -> bool:
    """As ``crl_is_due``, for the published one; or it is not the last that was made."""
    found, index = files.crl(role), files.index
    if found is None or crl_is_due(found, revoked_by(files, role)):
        return True
    return crl_number(found) != index.last_crl(role)


def publish(files: CaFiles, role: str, signer: Signer, *, days: int, by: Deadline) -> Path:
    """A new CRL of ``role``, good for ``days``: its file."""
    index = files.index
    number = index.next_crl(role)
    made = signer.revocation_list(
        files.certificate(role), revoked_by(files, role), number=number, days=days, by=by
    )
    index.keep_crl(role, number, made)
    return files.save_crl(role, made)
