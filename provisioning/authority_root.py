"""The root's key after the ceremony: the issuing CA renewed or revoked, the root's CRL published.

Each use is written to ``ceremony.jsonl`` before it is made and when it has ended.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from cryptography import x509

from harness.deadline import Deadline
from harness.errors import Misuse, TrustBoxError
from provisioning.authority_files import CaFiles
from provisioning.authority_life import fingerprint
from provisioning.authority_opened import Opened, Opener
from provisioning.authority_reasons import CA_REASONS, checked_reason, revoke_rows
from provisioning.authority_settings import CaSettings
from provisioning.authority_state import require_set_up
from provisioning.journal import Journal


@dataclass(frozen=True, slots=True)
class RootKey:
    """``line`` and ``root`` open the tokens. The caller holds the CA's lock."""

    files: CaFiles
    settings: CaSettings
    line: Opener
    root: Opener

    def renew_issuing(self, *, by: Deadline) -> x509.Certificate:
        """A new certificate for the issuing CA's key, signed by the root; same name, same key.

        Boxes' certificates stay good: they name the key, which is the same. Raises Misuse for a
        key that was revoked: a new certificate would make it good again.
        """
        require_set_up(self.files)
        key = fingerprint(self.files.certificate("issuing"))
        if any(entry.revoked for entry in self.files.index.of_key(key)):
            raise Misuse(
                "the issuing CA's key was revoked, and gets no certificate any more",
                hint="Set up another one: docs/factory-ca.md, When the issuing CA is lost.",
            )
        with self._written("renew-issuing", "certifying the issuing CA's key anew") as opened:
            made = opened.own_certificate("issuing", by, anew=True)
            self.files.save_certificate("issuing", made)
        return made

    def renew_crl(self, *, by: Deadline) -> None:
        require_set_up(self.files)
        with self._written("renew-root-crl", "publishing the root's CRL") as opened:
            opened.publish("root", by)

    def revoke_issuing(self, reason: str, *, by: Deadline) -> bool:
        """Revoke every certificate of the issuing CA's key for good, and publish the root's CRL;
        whether that was new.

        From the first moment on it certifies nobody; without the root's token this raises, and is
        completed when it is done again. A reason may get worse.
        """
        require_set_up(self.files)
        checked_reason(reason, CA_REASONS)
        index = self.files.index
        rows = index.of_key(fingerprint(self.files.certificate("issuing")))
        with self._written("revoke-issuing", f"revoking the issuing CA: {reason}") as opened:
            changed = revoke_rows(index, rows, reason, datetime.now(UTC))
            opened.publish("root", by)
        return bool(changed)

    @contextmanager
    def _written(self, step: str, doing: str) -> Iterator[Opened]:
        with (
            Journal(self.files.ca / "ceremony.jsonl", secrets.token_hex(8)) as journal,
            ExitStack() as stack,
        ):
            attempt = journal.begin(step, doing)
            try:
                yield Opened(self.files, self.settings, line=self.line, root=self.root, stack=stack)
            except BaseException as problem:
                said = f": {problem}" if isinstance(problem, TrustBoxError) else ""
                attempt.failed(f"{type(problem).__name__}{said}")
                raise
            attempt.done(doing)
