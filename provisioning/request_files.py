"""PKCS#10 requests in files (RFC 2986), read in one way by every command that takes one."""

from __future__ import annotations

import sys
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from harness.errors import BadInput
from provisioning.csr import UNREADABLE
from provisioning.pem_text import blocks_of, is_der, only
from provisioning.private_files import read_bounded

_LARGEST = 65536
_LABELS = ("CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST")
_EXPECTED = "a PKCS#10 request, PEM or DER"


def request_in(place: Path) -> bytes:
    """The request, DER, from a file with one, PEM (``pem_text``) or DER; ``-`` is stdin.

    Whether it is a good one is for the CA to say. Raises BadInput when there is none.
    """

    def wrong(found: str) -> BadInput:
        return BadInput(where=str(place), key="the file", value=found, expected=_EXPECTED)

    if str(place) == "-":
        octets = sys.stdin.buffer.read(_LARGEST + 1)
        if len(octets) > _LARGEST:
            raise wrong(f"(more than {_LARGEST} octets)")
    else:
        octets = read_bounded(place, _LARGEST, expected="a readable file with a request")
    try:
        if is_der(octets):
            found = x509.load_der_x509_csr(octets)
        else:
            found = x509.load_pem_x509_csr(only(blocks_of(octets, wrong), _LABELS, wrong).text)
        return found.public_bytes(Encoding.DER)
    except UNREADABLE:
        raise wrong("(a request that cannot be read)") from None
