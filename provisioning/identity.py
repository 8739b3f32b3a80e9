"""``box.identity``: the certificate of the key in the box's token, on the box."""

from __future__ import annotations

import posixpath

from cryptography import x509

from harness.deadline import Deadline
from harness.errors import DeviceRefused, IntegrityFailure
from harness.part_file import clear_parts
from harness.target import Target
from provisioning.certificates import der, pem
from provisioning.csr import UNREADABLE, make_renewal, make_request
from provisioning.keys import KeySession
from provisioning.token import KeyPair
from provisioning.token_key import signing_key


class IdentitySession:
    """Needs ``keys`` logged in to the token with the key. Raises what keys and shell raise."""

    def __init__(self, target: Target, keys: KeySession) -> None:
        self._target, self._keys = target, keys

    @property
    def chain_path(self) -> str:
        """Where programs on the box find the certificate with its issuers, leaf first; 0644."""
        return posixpath.join(self._target.layout.identity_directory, "device.pem")

    def request(self, key: KeyPair, *, tls_unique: bytes | None = None, by: Deadline) -> bytes:
        """A certificate request (PKCS#10, DER) for this box, signed in the TEE; see make_request"""
        signer = signing_key(self._keys.token, key, by=by)
        return make_request(signer, self._target.serial, tls_unique=tls_unique)

    def renewal(self, key: KeyPair, present: x509.Certificate, *, by: Deadline) -> bytes:
        """A request for the names of the present certificate, signed in the TEE."""
        return make_renewal(signing_key(self._keys.token, key, by=by), present)

    def install(self, key: KeyPair, chain: tuple[x509.Certificate, ...], *, by: Deadline) -> None:
        """Put the chain (leaf first) on the box: the leaf beside its key, all of it in a file.

        Read back byte for byte; raises IntegrityFailure when the box then shows something else.
        """
        leaf = chain[0]
        if leaf.public_key() != key.public_key:
            raise IntegrityFailure("the certificate to install belongs to another key")
        self._keys.store_certificate(key, der(leaf), subject=leaf.subject.public_bytes(), by=by)
        directory = self._target.layout.identity_directory
        clear_parts(self._target.shell, directory, make=True, by=by)
        self._target.shell.write(self.chain_path, pem(*chain), by=by, mode=0o644)
        if not self.installed(key, chain, by=by):
            raise IntegrityFailure(f"{self._target.name} does not show the certificate given to it")

    def installed(self, key: KeyPair, chain: tuple[x509.Certificate, ...], *, by: Deadline) -> bool:
        """Whether token and file hold exactly this chain, the file as one that only root changes.

        A link in its place is not the file: whoever owns the other end could change it.
        """
        in_token = self._keys.certificates(key, by=by) == (der(chain[0]),)
        return in_token and self._file(by) == pem(*chain) and self._plain(by)

    def _plain(self, by: Deadline) -> bool:
        told = self._target.shell.run("stat", "-c", "%a %u %F", "--", self.chain_path, by=by).text
        return told == "644 0 regular file"

    def chain(self, *, by: Deadline) -> tuple[x509.Certificate, ...]:
        """The chain in the box's file, leaf first; empty when there is none or it is no PEM."""
        try:
            return tuple(x509.load_pem_x509_certificates(self._file(by)))
        except UNREADABLE:
            return ()

    def _file(self, by: Deadline) -> bytes:
        try:
            return self._target.shell.read(self.chain_path, by=by)
        except DeviceRefused:
            return b""
