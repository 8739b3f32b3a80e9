"""``box.keys``: the PKCS#11 token inside the box's TEE, driven from here.

The token's module runs on the box, p11-kit carries the calls (see token_bridge). PINs go through
that SSH channel into the TEE; they are on no command line and in no environment, on either side.
"""

from __future__ import annotations

import hashlib

from harness.capability import Capability
from harness.deadline import Deadline
from harness.errors import DeviceRefused, Misuse, TokenRefused
from harness.secret import Secret
from harness.target import Target
from harness.tee_supplicant import demand_lasting, storage_seen
from provisioning.box_module import BoxModule, tee_module
from provisioning.bridged_calls import BridgedCalls
from provisioning.key_code import code_of
from provisioning.key_evidence import KeyEvidence, TokenCode, examine
from provisioning.key_import import import_secret, judge_wrapping_pair
from provisioning.key_names import key_id as key_id
from provisioning.key_names import key_label
from provisioning.p11kit import client_module
from provisioning.pin_budget import PinBudget, Role
from provisioning.token import KeyPair, Token
from provisioning.token_bridge import TokenBridge
from provisioning.token_process import TokenProcess
from provisioning.token_public import KeyProfile
from provisioning.token_secrets import SecretKey, SecretProfile
from provisioning.token_state import TokenState

_FAILED = frozenset({"CKR_DEVICE_ERROR", "CKR_FUNCTION_FAILED", "CKR_GENERAL_ERROR"})


class KeySession:
    """Cold until the first verb. Verbs raise TokenRefused, DeadlineExpired, LinkLost, BoxDied.

    After a LinkError the session is cold again and logged out: log in anew.
    """

    def __init__(
        self,
        target: Target,
        module: BoxModule | None = None,
        *,
        budget: PinBudget | None = None,
    ) -> None:
        """``module``: another one on the box than that of its TEE. ``budget``: this station's
        count of wrong PINs, which stops before the token does.
        """
        self._budget = budget
        self._target = target
        self._module = module or tee_module(target)
        self._bridge: TokenBridge | None = None
        self._token: Token | None = None
        self._lasts = False

    def tokens(self, *, by: Deadline) -> tuple[TokenState, ...]:
        """Every slot of the TEE with its token's state. Needs no PIN."""
        return self._opened().slots(by=by)

    def state(self, label: str, *, serial: str | None = None, by: Deadline) -> TokenState | None:
        """The initialised token of this label (and serial number); None when there is none."""
        return self._opened().labelled(label, serial=serial, by=by)

    def initialise(
        self, label: str, *, so_pin: Secret, user_pin: Secret, by: Deadline
    ) -> TokenState:
        """Make a blank token ours; never wipes one. See Token.initialise for what is refused."""
        self._lasting(by)
        return self._opened().initialise(label, so_pin=so_pin, user_pin=user_pin, by=by)

    def login(
        self, label: str, pin: Secret, *, serial: str | None = None, by: Deadline
    ) -> TokenState:
        """Raises TokenRefused, CKR_PIN_INCORRECT for one; does not try when one try is left.

        IntegrityFailure where the token fails for its storage, which lies in RAM.
        """
        try:
            return self._opened().login(label, pin, serial=serial, by=by)
        except TokenRefused as refused:
            if refused.ckr in _FAILED:
                self._lasts = False  # something may have been mounted over it since
                self._lasting(by)
            raise

    def change_pin(
        self,
        label: str,
        role: Role,
        old: Secret,
        new: Secret,
        *,
        serial: str | None = None,
        by: Deadline,
    ) -> TokenState:
        """Another user or SO PIN; log in anew then. Raises as ``login`` does."""
        return self._opened().change_pin(label, role, old, new, serial=serial, by=by)

    def wipe(
        self,
        label: str,
        *,
        so_pin: Secret,
        user_pin: Secret,
        serial: str | None = None,
        by: Deadline,
    ) -> TokenState:
        """Initialise an initialised token again, which erases everything in it.

        ``serial`` says which, where several tokens bear the label. Raises Misuse where nobody
        permitted, for this very box, what cannot be undone.
        """
        if not self._target.lasting:
            raise Misuse(
                f"wiping the token {label} of {self._target.serial} cannot be undone",
                hint=f"Permit it with --lasting {self._target.serial}.",
            )
        token = self._opened()
        mine = token.initialise_again(label, so_pin=so_pin, serial=serial, by=by)
        if self._budget:
            self._budget.forget(mine, "user")  # wrong ones were of a PIN that is no more
        return token.initialise(label, so_pin=so_pin, user_pin=user_pin, serial=mine.serial, by=by)

    def logout(self, *, by: Deadline) -> None:
        self._opened().logout(by=by)

    def generate(
        self,
        purpose: str,
        profile: KeyProfile = KeyProfile.EC_P256,
        *,
        generation: int = 1,
        by: Deadline,
    ) -> tuple[KeyPair, bool]:
        """This box's key for a purpose, made in the TEE if it is not there; whether it is new."""
        wanted = self.id_of(purpose, generation)
        self._lasting(by)
        return self._opened().ensure(wanted, key_label(purpose, generation), profile, by=by)

    def generate_secret(
        self,
        purpose: str,
        profile: SecretProfile = SecretProfile.AES_256,
        *,
        generation: int = 1,
        by: Deadline,
    ) -> tuple[SecretKey, bool]:
        """This box's secret key for a purpose; as ``generate``."""
        wanted = self.id_of(purpose, generation)
        self._lasting(by)
        return self._opened().ensure_secret(wanted, key_label(purpose, generation), profile, by=by)

    def find_secret(self, purpose: str, *, generation: int = 1, by: Deadline) -> SecretKey | None:
        wanted = self.id_of(purpose, generation)
        return self._opened().find_secret(wanted, by=by)

    def import_secret(
        self,
        purpose: str,
        value: Secret,
        *,
        pin: Secret,
        profile: SecretProfile = SecretProfile.AES_256,
        generation: int = 1,
        by: Deadline,
    ) -> SecretKey:
        """A factory-made secret as this box's key for a purpose, under RSA-AES key wrap.

        Needs a login, and the user PIN once more. See ``key_import.import_secret``. Its evidence is
        ``imported``.
        """
        token = self._opened()
        if token.logged_in is None or self._module != tee_module(self._target):
            raise Misuse("importing needs a login to a token of the box's TEE")
        self._lasting(by)
        id = self.id_of(purpose, generation)
        import_secret(
            self._target, token.logged_in, pin, value,
            judge=lambda: judge_wrapping_pair(token, by=by),
            id=id, label=key_label(purpose, generation), profile=profile,
            budget=self._budget, by=by,
        )  # fmt: skip
        found = token.find_secret(id, by=by)
        if found is None:
            raise DeviceRefused(f"the token took the key {purpose} but does not show it")
        return found

    def find(self, purpose: str, *, generation: int = 1, by: Deadline) -> KeyPair | None:
        wanted = self.id_of(purpose, generation)
        return self._opened().find(wanted, by=by)

    def sign(self, key: KeyPair, data: bytes, *, by: Deadline) -> bytes:
        """ECDSA with SHA-256 over ``data``, DER. Hashed here, signed in the TEE."""
        return self._opened().sign(key.id, hashlib.sha256(data).digest(), by=by)

    def certificates(self, key: KeyPair, *, by: Deadline) -> tuple[bytes, ...]:
        """DER of the certificate objects that the token holds for this key."""
        return self._opened().certificates(key.id, by=by)

    def store_certificate(self, key: KeyPair, der: bytes, *, subject: bytes, by: Deadline) -> None:
        """Make ``der`` the key's one certificate object (``subject``: DER of its Name).

        At no time is the key without one that it had: see Token.store_certificate.
        """
        token = self._opened()
        if token.certificates(key.id, by=by) == (der,):
            return
        token.store_certificate(key.id, key.label, subject=subject, der=der, by=by)

    def erase(self, key: KeyPair | SecretKey, *, by: Deadline) -> None:
        """Remove the pair and its certificates. Private first: what is cut short can be resumed."""
        self.erase_id(key.id, by=by)

    def erase_id(self, id: bytes, *, by: Deadline) -> None:
        """Remove everything of one CKA_ID, also what is not one whole key."""
        for kind in ("private", "public", "secret", "certificate"):
            self._opened().destroy(kind, id, by=by)

    def code(self, *, attest: bool = False, by: Deadline) -> TokenCode:
        """Which code vouches for the keys: the module, and the TA behind it.

        ``attest``: ask the attestation PTA, where there is one, which TA that is; the first
        attestation of a box makes its key, which takes seconds.
        """
        tee = self._module == tee_module(self._target)
        return code_of(self._target, self._module.path, tee=tee, attest=attest, by=by)

    def evidence(
        self, key: KeyPair | SecretKey, *, code: TokenCode | None = None, by: Deadline
    ) -> KeyEvidence:
        """Everything known about the key, asserted and observed told apart; fresh each time.

        ``code`` is what ``code()`` gave, where several keys are asked for at once.
        """
        token = self._opened()
        code = code or self.code(by=by)
        return examine(token, key, code=code, state=token.logged_in, by=by)

    def id_of(self, purpose: str, generation: int = 1) -> bytes:
        """The CKA_ID of this box's key for a purpose."""
        return key_id(self._target.serial, purpose, generation)

    @property
    def module(self) -> BoxModule:
        """Which module on the box this is."""
        return self._module

    @property
    def target(self) -> Target:
        """The box that the token is on."""
        return self._target

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

    def _lasting(self, by: Deadline) -> None:
        """Raises IntegrityFailure, before something is made in it, for a token of the TEE whose
        storage is gone at the next boot. Asked once."""
        of_a_tee = Capability.TEE in self._target.capabilities
        if self._lasts or not of_a_tee or self._module != tee_module(self._target):
            return
        demand_lasting(storage_seen(self._target.shell, self._target.layout, by=by).place)
        self._lasts = True

    def _opened(self) -> Token:
        if self._token is None:
            tee = self._module == tee_module(self._target)
            needs = (Capability.PKCS11, Capability.PKCS11_REMOTE) if tee else (Capability.STREAMS,)
            self._target.require(*needs)
            streams, layout = self._target.streams, self._target.layout
            if streams is None:
                raise DeviceRefused(f"{self._target.name} has no way to carry the token's calls")
            module = str(client_module())
            bridge = self._bridge = TokenBridge(
                # Its bytes hold PINs: no log may show them.
                lambda by: streams.stream(*self._module.command(layout.p11_kit), by=by, secret=True)
            )
            process = TokenProcess(
                module,
                environment={"P11_KIT_SERVER_ADDRESS": bridge.address},
                descriptors=bridge.descriptors,
                broken=bridge.broken,
            )
            self._token = Token(BridgedCalls(process, bridge, self.close))
            self._token.budget = self._budget
        return self._token
