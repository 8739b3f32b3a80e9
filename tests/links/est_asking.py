"""Asking a scripted EST server for a certificate."""

from __future__ import annotations

import base64

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7

from harness.deadline import Deadline
from provisioning.est import EstClient
from provisioning.est_answers import Issued, Parked
from provisioning.http_tls import TlsConnector
from tests.links.est_pki import Pki, csr, new_key
from tests.links.est_script import Line, ScriptedServer

KEY = new_key()
REQUEST = csr(KEY, "tb-trap-0001")


def p7(*certificates: x509.Certificate) -> bytes:
    return base64.encodebytes(pkcs7.serialize_certificates(list(certificates), Encoding.DER))


def mine(pki: Pki) -> x509.Certificate:
    return pki.issue(KEY.public_key(), "tb-trap-0001")


def enroll(pki: Pki, *lines: Line, by: Deadline, patience: float = 5) -> Issued | Parked:
    with ScriptedServer(pki, *lines) as server:
        client = EstClient(server.url, TlsConnector(pki.text), patience=patience)
        try:
            return client.enroll(REQUEST, by=by)
        finally:
            client.close()
