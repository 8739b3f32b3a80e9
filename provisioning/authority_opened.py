"""A CA's tokens and files at hand: what the ceremony and later uses of the root's key share."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack

from cryptography import x509

from harness.deadline import Deadline
from harness.errors import IntegrityFailure
from provisioning.authority_entry import NewRow
from provisioning.authority_files import CaFiles
from provisioning.authority_keys import of_kind, signer_of
from provisioning.authority_policy import ISSUING, ROOT
from provisioning.authority_publish import publish
from provisioning.authority_settings import CaSettings, RoleSettings
from provisioning.authority_signing import Signer, ca_builder
from provisioning.authority_tokens import ISSUING_ID, ROOT_ID, key_id
from provisioning.idevid import new_serial_number
from provisioning.token import Token
from provisioning.token_public import KeyPair

Opener = Callable[[], AbstractContextManager[Token]]
_RULES = {"root": ROOT, "issuing": ISSUING}
_IDS = {"root": ROOT_ID, "issuing": ISSUING_ID}


class Opened:
    """The tokens are opened when they are needed, and closed with ``stack``. ``root`` None: the
    line's token keeps the root's key as well.
    """

    def __init__(
        self,
        files: CaFiles,
        settings: CaSettings,
        *,
        line: Opener,
        root: Opener | None,
        stack: ExitStack,
    ) -> None:
        self.files, self.settings = files, settings
        self._openers = {"issuing": line, "root": root or line}
        self._stack, self._tokens = stack, dict[str, Token]()

    def token(self, role: str) -> Token:
        if role not in self._tokens:
            self._tokens[role] = self._stack.enter_context(self._openers[role]())
        return self._tokens[role]

    def chosen(self, role: str) -> RoleSettings:
        return self.settings.root if role == "root" else self.settings.issuing

    def id(self, role: str) -> bytes:
        return key_id(self.chosen(role).token, _IDS[role])

    def pair(self, role: str, by: Deadline) -> KeyPair | None:
        """The CA's key in its token; None when it has not been made yet.

        Raises IntegrityFailure when something was signed with it and it is gone, or another one is
        in its place: that would be another CA.
        """
        found = self.token(role).find(self.id(role), by=by)
        before = {entry.spki for entry in self.files.index.of_role(role) if entry.spki}
        if before and (found is None or found.spki_sha256 not in before):
            raise IntegrityFailure(
                f"the token does not hold the {role} CA's key, with which it was set up",
                hint="Was the token exchanged or wiped? A key is not made anew: bring back the"
                " token, or its backup.",
            )
        return found

    def signer(self, role: str, by: Deadline) -> Signer:
        return signer_of(self.token(role), self.id(role), self.files.certificate(role), by)

    def publish(self, role: str, by: Deadline) -> None:
        days = self.settings.root_crl_days if role == "root" else self.settings.crl_days
        publish(self.files, role, self.signer(role, by), days=days, by=by)

    def own_certificate(self, role: str, by: Deadline, *, anew: bool = False) -> x509.Certificate:
        """The CA's own; unless ``anew`` one that is in the index is taken from there."""
        pair = self.pair(role, by)
        if pair is None:
            raise IntegrityFailure(f"the token does not hold the {role} CA's key")
        of_kind(pair, self.chosen(role))
        for entry in () if anew else self.files.index.of_key(pair.spki_sha256):
            if entry.role == role and entry.certificate is not None:
                return entry.certificate
        root = None if role == "root" else self.files.certificate("root")
        signer = Signer(self.token(role), pair) if root is None else self.signer("root", by)
        number = new_serial_number()
        builder = ca_builder(
            pair,
            _RULES[role],
            root=root,
            number=number,
            days=self.chosen(role).days,
            crl_url=None if root is None else self.settings.root_crl_url,
        )
        row = NewRow(number, role, "", pair.spki_sha256)
        return signer.certificate(self.files.index, builder, row, issuer=root, by=by)
