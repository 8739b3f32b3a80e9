"""Why a certificate is revoked (RFC 5280 5.3.1), and that a reason may only get worse."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from cryptography import x509

from harness.errors import Misuse
from provisioning.authority_entry import Entry
from provisioning.authority_index import Index

CA_REASONS = {
    "superseded": x509.ReasonFlags.superseded,
    "unspecified": x509.ReasonFlags.unspecified,
    "cessationOfOperation": x509.ReasonFlags.cessation_of_operation,
    "affiliationChanged": x509.ReasonFlags.affiliation_changed,
    "privilegeWithdrawn": x509.ReasonFlags.privilege_withdrawn,
    "keyCompromise": x509.ReasonFlags.key_compromise,
    "cACompromise": x509.ReasonFlags.ca_compromise,
}
"""From bad to worse: the first leaves the key good, those after it do not, the last two say that
somebody else may have used it. Without certificateHold: what is revoked here stays so."""
REASONS = {name: flag for name, flag in CA_REASONS.items() if name != "cACompromise"}
"""For boxes' certificates."""


def checked_reason(reason: str, known: Iterable[str]) -> None:
    """Raises Misuse for one that is none."""
    names = list(known)
    if reason not in names:
        raise Misuse(f"{reason!r} is no reason; known are {', '.join(names)}")


def worse(one: str | None, other: str | None) -> str | None:
    """The worse one of two; None is none. One that is not known here is unspecified."""
    order = list(CA_REASONS)
    known = [reason if reason in order else "unspecified" for reason in (one, other) if reason]
    return max(known, key=order.index, default=None)


def revoke_rows(
    index: Index, rows: Iterable[Entry], reason: str, at: datetime
) -> tuple[Entry, ...]:
    """Those that were not revoked so far, or for a better reason; as they are now.

    The first date of a revocation stays.
    """
    changed = []
    for entry in rows:
        if entry.revoked is None or worse(entry.reason, reason) != entry.reason:
            index.revoke(entry.number, reason, at)
            changed.append(entry.number)
    return tuple(now for number in changed if (now := index.get(number)))
