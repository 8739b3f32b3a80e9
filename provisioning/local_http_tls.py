"""The TLS of this station's own services: its files, read anew when others take their place."""

from __future__ import annotations

import ssl
import threading
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509

from harness.errors import RigError
from provisioning.trusted_files import roots_of


@dataclass(frozen=True, slots=True)
class ServerFiles:
    """A server's certificate (PEM, leaf first) and its key (PEM)."""

    chain: Path
    key: Path


class ServerTls:
    """Contexts for connections. ``trusted``: PEM of the CAs that clients' chains must lead to."""

    def __init__(self, files: ServerFiles, trusted: str, *, must_show: bool) -> None:
        """Raises RigError when the files cannot be used."""
        self._files, self._trusted, self._must_show = files, trusted, must_show
        self._turn = threading.Lock()
        self._seen = self._stamp()
        try:
            self._context = self._made()
        except (OSError, ssl.SSLError) as problem:
            raise RigError(
                f"the TLS certificate {files.chain} cannot be used with {files.key}: {problem}"
            ) from problem

    def context(self) -> ssl.SSLContext:
        """The present files' one. While they are being exchanged, or do not fit, the one before."""
        with self._turn:
            stamp = self._stamp()
            if stamp != self._seen:
                try:
                    self._context, self._seen = self._made(), stamp
                except (OSError, ssl.SSLError):
                    return self._context
            return self._context

    def _made(self) -> ssl.SSLContext:
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        made.minimum_version = ssl.TLSVersion.TLSv1_2
        made.load_cert_chain(self._files.chain, self._files.key)
        made.verify_mode = ssl.CERT_REQUIRED if self._must_show else ssl.CERT_OPTIONAL
        made.load_verify_locations(cadata=roots_of(self._trusted, where="the CAs of clients"))
        return made

    def _stamp(self) -> tuple[tuple[int, int], ...]:
        try:
            found = [path.stat() for path in (self._files.chain, self._files.key)]
        except OSError:
            return ()
        return tuple((one.st_ino, one.st_mtime_ns) for one in found)


def verified_chain(secured: ssl.SSLSocket) -> list[x509.Certificate]:
    """The client's verified chain, leaf first: public from Python 3.13 on, hidden before."""
    if not secured.getpeercert(binary_form=True):
        return []
    public = getattr(secured, "get_verified_chain", None)
    if public is not None:
        return [x509.load_der_x509_certificate(der) for der in public()]
    hidden = secured._sslobj.get_verified_chain()  # type: ignore[attr-defined]
    return [x509.load_pem_x509_certificate(c.public_bytes().encode()) for c in hidden]
