"""Whose TLS client certificate counts at this station's own servers.

A chain up to the root says little: any issuing CA under that root, also one that was stolen and
replaced, makes such chains. What counts is that this CA issued this very certificate, which its
index knows, and that nothing was said against it since.
"""

from __future__ import annotations

from cryptography import x509

from harness.deadline import Deadline
from provisioning.authority import Authority

_SECONDS = 10.0


def why_not(ca: Authority, shown: x509.Certificate) -> str:
    """Why the holder of this certificate is not who it says; "" if it is.

    Raises what a lost or damaged index raises: what could not be looked up lets nobody in.
    """
    if not ca.knows(shown):
        return "this station's CA did not issue the certificate that was shown"
    if ca.is_revoked(shown):
        return "this certificate was revoked, or its key or its CA was"
    entry = ca.index.get(shown.serial_number)
    if entry is None or entry.status == "to revoke":
        return "this certificate is to be revoked"
    return ""


def was_shown(ca: Authority, shown: x509.Certificate) -> None:
    """Note that its box has it: in TLS it proved so, having the key (RFC 8446, 4.4.3)."""
    entry = ca.index.get(shown.serial_number)
    if entry is not None and entry.good:
        ca.read_back(shown, by=Deadline.after(_SECONDS))
