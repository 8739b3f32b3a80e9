"""libest's ``estserver``: an EST server that we did not write, with an ``openssl ca`` behind it."""

from __future__ import annotations

import os
import select
import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from harness.deadline import Deadline
from tests.links.est_pki import Pki
from tests.links.peers import libest

_CA = """\
[ca]
default_ca = it
[it]
dir = {here}
new_certs_dir = {here}/issued
database = {here}/index
serial = {here}/serial
certificate = {here}/ca.pem
private_key = {here}/ca.key
default_md = sha256
default_days = 30
unique_subject = no
policy = any
x509_extensions = leaf
copy_extensions = none
[any]
commonName = supplied
serialNumber = optional
[leaf]
basicConstraints = critical,CA:FALSE
keyUsage = critical,digitalSignature
extendedKeyUsage = clientAuth
"""


@dataclass(frozen=True, slots=True)
class EstServer:
    """A running server: ``url``, the text of the CA that vouches for it and issues, its state."""

    url: str
    pki: Pki
    here: Path

    def issued(self) -> int:
        """How many certificates the CA wrote down."""
        return len((self.here / "index").read_text().splitlines())


@contextmanager
def estserver(here: Path, *options: str) -> Iterator[EstServer]:
    """Start it with more options (``-t`` demands proof of possession, ``-m N`` answers 202)."""
    peer = libest()
    pki = Pki.make(here)
    (here / "issued").mkdir()
    (here / "index").touch()
    (here / "serial").write_text("1000\n")
    (here / "ca.cnf").write_text(_CA.format(here=here))
    environment = {
        **os.environ,
        "LD_LIBRARY_PATH": str(peer.libraries),
        "EST_TRUSTED_CERTS": str(here / "ca.pem"),
        "EST_CACERTS_RESP": str(here / "ca.pem"),
        "EST_OPENSSL_CACONFIG": str(here / "ca.cnf"),
    }
    by = Deadline.after(30)
    while True:  # it takes no descriptor and no port 0: another program may be faster
        port = _free_port()
        argv = [str(peer.program("estserver")), "-p", str(port), "-r", "factory"]
        argv += ["-c", str(here / "server.pem"), "-k", str(here / "server.key"), *options]
        with (here / "log").open("wb") as log:
            process = subprocess.Popen(argv, env=environment, cwd=here, stdout=log, stderr=log)
        if _answers(process, port, by):
            break
    try:
        yield EstServer(f"https://localhost:{port}", pki, here)
    finally:
        process.kill()
        process.wait()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def _answers(process: subprocess.Popen[bytes], port: int, by: Deadline) -> bool:
    """Whether this process, and not another one's, takes TLS connections there."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    while process.poll() is None:
        try:
            with socket.create_connection(("127.0.0.1", port), by.left("estserver")) as plain:
                context.wrap_socket(plain).close()
                return process.poll() is None
        except OSError:
            select.select([], [], [], by.slice("estserver to start", 0.05))
    return False
