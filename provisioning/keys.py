"""``box.keys``: the PKCS#11 token inside the box's TEE, driven from here.

The token's module runs on the box, p11-kit carries the calls (see token_bridge). PINs go through
that SSH channel into the TEE; they are on no command line and in no environment, on either side.
"""

from __future__ import annotations

import hashlib
import re

from harness.capability import Capability
from harness.deadline import Deadline
from harness.errors import BadFrame, DeviceRefused, LinkError, TokenRefused, TrustBoxError
from harness.secret import Secret
from harness.target import Target
from provisioning.key_evidence import KeyEvidence, examine
from provisioning.p11kit import client_module
from provisioning.token import KeyPair, Token
from provisioning.token_bridge import TokenBridge
from provisioning.token_process import TokenProcess
from provisioning.token_state import TokenState


def key_id(serial: str, purpose: str, generation: int = 1) -> bytes:
    """The CKA_ID of a box's key: the same for the same box, purpose and generation, for ever."""
    return hashlib.sha256(f"{serial}|{purpose}|{generation}".encode()).digest()[:20]


class KeySession:
    """Cold until the first verb. Verbs raise TokenRefused, DeadlineExpired, LinkLost, BoxDied.

    After a LinkError the session is cold again and logged out: log in anew.
    """

    def __init__(self, target: Target) -> None:
        self._target = target
        self._bridge: TokenBridge | None = None
        self._token: Token | None = None

    def tokens(self, *, by: Deadline) -> tuple[TokenState, ...]:
        """Every slot of the TEE with its token's state. Needs no PIN."""
        return self._opened().slots(by=by)

    def state(self, label: str, *, by: Deadline) -> TokenState | None:
        """The initialised token of this label; None when there is none."""
        return self._opened().labelled(label, by=by)

    def initialise(
        self, label: str, *, so_pin: Secret, user_pin: Secret, by: Deadline
    ) -> TokenState:
        """Make a blank token ours; never wipes one. See Token.initialise for what is refused."""
        return self._opened().initialise(label, so_pin=so_pin, user_pin=user_pin, by=by)

    def login(self, label: str, pin: Secret, *, by: Deadline) -> TokenState:
        """Raises TokenRefused, CKR_PIN_INCORRECT for one; does not try when one try is left."""
        return self._opened().login(label, pin, by=by)

    def logout(self, *, by: Deadline) -> None:
        self._opened().logout(by=by)

    def generate(self, purpose: str, *, generation: int = 1, by: Deadline) -> tuple[KeyPair, bool]:
        """This box's key for a purpose, made in the TEE if it is not there; whether it is new."""
        wanted = key_id(self._target.serial, purpose, generation)
        return self._opened().ensure(wanted, purpose, by=by)

    def find(self, purpose: str, *, generation: int = 1, by: Deadline) -> KeyPair | None:
        wanted = key_id(self._target.serial, purpose, generation)
        return self._opened().find(wanted, by=by)

    def sign(self, key: KeyPair, data: bytes, *, by: Deadline) -> bytes:
        """ECDSA with SHA-256 over ``data``, DER. Hashed here, signed in the TEE."""
        return self._opened().sign(key.id, hashlib.sha256(data).digest(), by=by)

    def certificates(self, key: KeyPair, *, by: Deadline) -> tuple[bytes, ...]:
        """DER of the certificate objects that the token holds for this key."""
        return self._opened().certificates(key.id, by=by)

    def store_certificate(self, key: KeyPair, der: bytes, *, subject: bytes, by: Deadline) -> None:
        """Make ``der`` the key's one certificate object (``subject``: DER of its Name)."""
        token = self._opened()
        if token.certificates(key.id, by=by) == (der,):
            return
        token.destroy("certificate", key.id, by=by)
        token.store_certificate(key.id, key.label, subject=subject, der=der, by=by)

    def erase(self, key: KeyPair, *, by: Deadline) -> None:
        """Remove the pair and its certificates. Private first: what is cut short can be resumed."""
        for kind in ("private", "public", "certificate"):
            self._opened().destroy(kind, key.id, by=by)

    def evidence(self, key: KeyPair, *, by: Deadline) -> KeyEvidence:
        """Everything known about the key, asserted and observed told apart; fresh each time."""
        module = self._target.layout.pkcs11_module
        said = self._target.shell.run("sha256sum", "--", module, by=by).text
        match = re.match(r"\\?([0-9a-f]{64}) ", said)
        if match is None:
            raise BadFrame(f"sha256sum on {self._target.name} did not print a digest")
        return examine(
            self._opened(),
            key,
            module=module,
            module_sha256=match[1],
            tee_uuid=next((s.tee_uuid for s in self.tokens(by=by) if s.tee_uuid), None),
            by=by,
        )

    @property
    def token(self) -> Token:
        """The token API itself, for what signs: ``TokenKey(box.keys.token, key, by=…)``."""
        return self._opened()

    def close(self) -> None:
        """Log out and end what runs for us on both sides. Safe to call twice."""
        token, self._token = self._token, None
        bridge, self._bridge = self._bridge, None
        if token is not None:
            token.close()
        if bridge is not None:
            bridge.close()

    def _opened(self) -> Token:
        if self._token is None:
            self._target.require(Capability.PKCS11, Capability.PKCS11_REMOTE)
            streams, layout = self._target.streams, self._target.layout
            if streams is None:
                raise DeviceRefused(f"{self._target.name} has no way to carry the token's calls")
            module = str(client_module())
            bridge = self._bridge = TokenBridge(
                # Its bytes hold PINs: no log may show them.
                lambda by: streams.stream(
                    layout.p11_kit, "remote", layout.pkcs11_module, by=by, secret=True
                )
            )
            process = TokenProcess(
                module,
                environment={"P11_KIT_SERVER_ADDRESS": bridge.address},
                descriptors=bridge.descriptors,
                broken=bridge.broken,
            )
            self._token = Token(_OverBridge(self, process, bridge))
        return self._token


class _OverBridge:
    """Calls the worker; when the link is what failed, says so instead of what the module said."""

    def __init__(self, session: KeySession, process: TokenProcess, bridge: TokenBridge) -> None:
        self._session, self._process, self._bridge = session, process, bridge

    def call(self, do: str, /, *, doing: str, by: Deadline, **arguments: object) -> object:
        try:
            return self._process.call(do, doing=doing, by=by, **arguments)
        except (TokenRefused, LinkError) as problem:
            cause = self._bridge.failure
            if cause is not None or isinstance(problem, LinkError):
                self._session.close()
            if isinstance(cause, TrustBoxError):
                raise cause from problem
            raise

    def close(self) -> None:
        self._process.close()
