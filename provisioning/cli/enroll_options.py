"""Options of the enrollment commands: whom to trust, who we are, where secrets are read from."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from harness.config_secret import LONGEST, SecretFile
from harness.errors import BadInput, Misuse
from harness.secret import Secret
from provisioning.authority_tokens import check_module
from provisioning.certificates import pem
from provisioning.http_connection import Connector
from provisioning.http_place import HostPlace
from provisioning.http_tls import FileIdentity, TlsConnector
from provisioning.http_token_tls import TokenIdentity, TokenTlsConnector
from provisioning.iotedge_uri import Pkcs11Uri
from provisioning.pin_check import HostPinCheck
from provisioning.pkcs11_uri import check_typed, is_uri
from provisioning.station import Station
from provisioning.trusted_files import chain_in, roots_in

Trusted = Annotated[
    Path | None,
    typer.Option(help="PEM file of the roots that may vouch for the server; default: this host's."),
]
Seconds = Annotated[float, typer.Option(help="How long all of it may take.")]
Chain = Annotated[
    Path | None, typer.Option(help="PEM file: the client's certificate, then its issuers.")
]
Key = Annotated[
    str | None,
    typer.Option(help="The certificate's key: a PEM file, or a pkcs11: URI without a PIN."),
]
Module = Annotated[
    Path | None, typer.Option(help="The PKCS#11 module, where the key is in a token.")
]
Provider = Annotated[
    Path | None, typer.Option(help="OpenSSL's pkcs11.so, where OpenSSL does not find it.")
]
PinFile = Annotated[
    Path | None, typer.Option(help="File (mode 0600) with the token's PIN; - for stdin.")
]
State = Annotated[
    Path | None,
    typer.Option("--state", help="Where this station counts wrong PINs of tokens."),
]


def secret_from(path: Path) -> Callable[[], Secret]:
    """Read when first needed, from a file that only its owner may read, or from stdin (``-``)."""
    if str(path) != "-":
        return SecretFile(path)
    kept: list[Secret] = []

    def first_line() -> Secret:
        if not kept:
            line = sys.stdin.buffer.readline(LONGEST + 1).rstrip(b"\r\n")
            if not line or len(line) > LONGEST:
                raise Misuse("the first line of stdin is empty or too long to be a secret")
            kept.append(Secret(line))
        return kept[0]

    return first_line


def text_of(path: Path) -> str:
    """A text file's content. Raises BadInput when it cannot be read."""
    try:
        return path.read_bytes().decode()
    except (OSError, UnicodeDecodeError) as problem:
        raise _unreadable(path, problem) from None


@dataclass(frozen=True, slots=True)
class Client:
    """What the options say about this side of TLS."""

    trusted: Path | None
    chain: Path | None = None
    key: str | None = None
    module: Path | None = None
    provider: Path | None = None
    pin_file: Path | None = None
    state: Path | None = None

    @contextmanager
    def connector(self) -> Iterator[Connector]:
        """A connector as the options say; Misuse when they do not go together."""
        trusted = roots_in(self.trusted) if self.trusted else None
        if (self.chain is None) != (self.key is None):
            raise Misuse("--chain and --key go together")
        if self.chain is None or self.key is None:
            yield TlsConnector(trusted)
        elif not is_uri(self.key):
            yield TlsConnector(trusted, FileIdentity(self.chain, Path(self.key)))
        else:
            place = HostPlace()
            try:
                yield TokenTlsConnector(place, self._token(self.key, self.chain), trusted)
            finally:
                place.close()

    def _token(self, uri: str, chain: Path) -> TokenIdentity:
        check_typed(uri, where="--key")
        found = Pkcs11Uri.parse(uri, where="--key")
        if found.pin is not None:
            raise Misuse("a PIN on a command line can be seen by everybody: give it in --pin-file")
        if self.module is None or self.pin_file is None:
            raise Misuse("a key in a token needs --module and --pin-file")
        check_module(self.module)
        station = Station(self.state.absolute()) if self.state else Station.default()
        return TokenIdentity(
            chain=pem(*chain_in(chain)).decode(),
            key=found,
            module=str(self.module.absolute()),
            pin=secret_from(self.pin_file),
            check=HostPinCheck(self.module.absolute(), found, station.state),
            provider=str(self.provider.absolute()) if self.provider else "",
        )


def _unreadable(path: Path, problem: Exception) -> BadInput:
    shown = getattr(problem, "strerror", None) or type(problem).__name__
    return BadInput(where=str(path), key="the file", value=shown, expected="a readable file")
