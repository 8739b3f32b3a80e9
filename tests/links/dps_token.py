"""A device's key in SoftHSM2, and a certificate for it: on this host, directly or at the far end of
p11-kit, as on a box.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from harness.deadline import Deadline
from harness.secret import Secret
from provisioning.http_place import HostPlace
from provisioning.http_token_tls import TokenIdentity
from provisioning.iotedge_uri import Pkcs11Uri
from provisioning.p11kit import client_module
from provisioning.softhsm import softhsm_module
from tests.links.est_pki import Pki, pem_of
from tests.links.peers import pkcs11_provider
from tests.links.remote_token import Remote

PIN = Secret(b"planted pin & 91;%27")
KEY_ID = b"\x00\x01device&;%"


class DeviceToken:
    """One SoftHSM token with one key; ``identity`` and ``place`` say how OpenSSL gets at it."""

    def __init__(self, directory: Path, pki: Pki, name: str, *, far: bool) -> None:
        directory.mkdir()
        by = Deadline.after(60)
        self.remote = Remote(directory)
        self.remote.token.initialise("box one", so_pin=Secret(b"so-pin-5512"), user_pin=PIN, by=by)
        self.remote.token.login("box one", PIN, by=by)
        pair, _ = self.remote.token.ensure(KEY_ID, "device", by=by)
        self.leaf = pki.issue(pair.public_key, name)
        bridge = self.remote.bridge
        environment = {"P11_KIT_SERVER_ADDRESS": bridge.address} if far else None
        self.place = HostPlace(
            environment=environment or self.remote.environment,
            descriptors=bridge.descriptors if far else (),
        )
        self.identity = TokenIdentity(
            chain=pem_of(self.leaf),
            key=Pkcs11Uri(token="box one", id=KEY_ID, type="private"),
            module=str(client_module()) if far else softhsm_module(),
            pin=lambda: PIN,
            check=partial(self.remote.token.login, "box one"),
            provider=str(pkcs11_provider()),
        )

    def close(self) -> None:
        self.place.close()
        self.remote.close()


@contextmanager
def device_token(directory: Path, pki: Pki, name: str, *, far: bool) -> Iterator[DeviceToken]:
    made = DeviceToken(directory, pki, name, far=far)
    try:
        yield made
    finally:
        made.close()
