"""A box's own way to a service: its OpenSSL makes the handshake, with the key in its token."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from cryptography import x509

from harness.deadline import Deadline
from harness.errors import MissingCapability
from harness.secret import Secret
from harness.target import Target
from provisioning.certificates import pem
from provisioning.http_place import BoxPlace
from provisioning.http_token_tls import PinCheck, TokenIdentity, TokenTlsConnector
from provisioning.iotedge_uri import Pkcs11Uri


@contextmanager
def box_connector(
    target: Target,
    *,
    label: str,
    key_id: bytes,
    chain: tuple[x509.Certificate, ...],
    pin: Callable[[], Secret],
    check: PinCheck,
    trusted: str | None,
    via: str = "",
    by: Deadline,
) -> Iterator[TokenTlsConnector]:
    """For ``DpsDevice`` or ``EstClient``: requests leave the box itself, over its network.

    ``label`` and ``key_id`` name the token and the key in it (CKA_ID), ``chain`` is leaf first.
    ``check`` has the PIN taken by the box's token, counted, before the box's OpenSSL gets it.
    The box needs openssl and pkcs11-provider. Nothing stays on it. Raises MissingCapability where
    there is no SSH, and what the shell raises.
    """
    place = BoxPlace.of(target, by=by)
    try:
        identity = TokenIdentity(
            chain=pem(*chain).decode(),
            key=Pkcs11Uri(token=label, id=key_id, type="private"),
            module=target.layout.pkcs11_module,
            pin=pin,
            check=check,
            provider=target.layout.pkcs11_provider,
        )
        yield TokenTlsConnector(place, identity, trusted, via=via)
    finally:
        place.close()


def station_address(target: Target, *, by: Deadline) -> str:
    """By which address the box knows this host: where its SSH comes from, says the box's sshd.

    An emulated box says 10.0.2.2, which leads to the loopback of this host. Raises
    MissingCapability where there is no SSH.
    """
    said = target.shell.run("sh", "-c", 'printf %s "$SSH_CONNECTION"', by=by).text
    try:
        return str(ipaddress.ip_address(said.split()[0]))
    except (ValueError, IndexError):
        raise MissingCapability(target.name, ["SSH, which would tell who calls"]) from None
