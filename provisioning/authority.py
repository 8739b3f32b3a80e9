"""The factory's certificate authority at work: the issuing CA, its key in the line's token.

::

    root (self-signed, path length 1) → issuing (path length 0) → a box's IDevID
    offline token, for ceremonies       line token, every day      the box's own token

How it comes to be is ``authority_ceremony``'s subject; what it may sign is ``authority_policy``'s.
"""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509

from harness.deadline import Deadline
from harness.errors import DeviceRefused, IntegrityFailure, Misuse
from provisioning.authority_ceremony import Ceremony
from provisioning.authority_files import CaFiles
from provisioning.authority_index import Entry, Index
from provisioning.authority_keys import signer_of
from provisioning.authority_policy import DEVICE
from provisioning.authority_settings import CaSettings
from provisioning.authority_signing import REASONS, Signer, crl_is_due
from provisioning.authority_tokens import ISSUING_ID, key_id
from provisioning.certificates import fits
from provisioning.csr import checked_request
from provisioning.idevid import NO_END, device_builder, new_serial_number
from provisioning.locks import locked as file_locked
from provisioning.private_files import private_directory
from provisioning.token import Token
from provisioning.token_public import PublicKey, spki

_LAST_PART = 3
"""A certificate is due for renewal in the last third of its life."""


@dataclass(frozen=True, slots=True)
class Authority:
    """Signs with ``token``, whose session must be logged in. Made by ``open_authority``."""

    token: Token
    state: Path
    root: x509.Certificate
    issuing: x509.Certificate
    settings: CaSettings

    @property
    def files(self) -> CaFiles:
        return CaFiles(self.state)

    @property
    def index(self) -> Index:
        return self.files.index

    def certify(
        self, request: bytes, serial: str, *, days: int | None, by: Deadline, rekey: bool = True
    ) -> x509.Certificate:
        """The certificate for a box's request: the one issued before if it still fits, or new.

        ``days`` None: without end. ``rekey`` False refuses a key that is not the one of the box's
        certificate that is still good. Raises DeviceRefused when the request does not deserve one
        (see checked_request) or its key was revoked, IntegrityFailure when its key is another
        box's or a CA's.
        """
        return self.issue(request, serial, days=days, by=by, rekey=rekey)[0]

    def issue(
        self,
        request: bytes,
        serial: str,
        *,
        days: int | None,
        by: Deadline,
        rekey: bool = True,
        again: x509.SubjectAlternativeName | None = None,
    ) -> tuple[x509.Certificate, bool]:
        """As ``certify``; and whether it is new.

        ``again`` renews: the request repeats these names of the present certificate, and gets a
        new one even where that would still do.
        """
        allowed = self.settings.device_keys
        key = checked_request(request, serial, allowed=allowed, names=again)
        with locked(self.state, by):
            self._may_issue()
            earlier = self._entries_for(key, serial)
            for entry in earlier if again is None else ():
                found = entry.certificate
                if found and fits(found, key=key, serial=serial, issuing=self.issuing):
                    return found, False
            others = [e for e in self.good(serial) if e.spki != _fingerprint(key)]
            if others and not rekey:
                raise DeviceRefused(
                    f"{serial} has a certificate for another key ({others[0].number:x})",
                    hint="Revoke that one, or renew with this request, if the box has a new key.",
                )
            return self._issue(key, serial, days, by), True

    def renew(
        self,
        serial: str,
        *,
        days: int | None = None,
        unlimited: bool = False,
        now: bool = False,
        by: Deadline,
    ) -> tuple[x509.Certificate, bool]:
        """The box's newest good certificate anew, for the same key; and whether it is new.

        Nothing is done before the last third of its life, unless ``now``. ``days`` None: as long
        as before, or ``unlimited``. Raises DeviceRefused when the box has none that is good.
        """
        with locked(self.state, by):
            self._may_issue()
            good = self.good(serial)
            if not good or good[0].certificate is None:
                raise DeviceRefused(
                    f"{serial} has no certificate that could be renewed",
                    hint="trustbox ca issue makes one, of the box's request.",
                )
            found = good[0].certificate
            life = found.not_valid_after_utc - found.not_valid_before_utc
            if not now and _now() < found.not_valid_after_utc - life / _LAST_PART:
                return found, False
            key: PublicKey = found.public_key()  # type: ignore[assignment]  # it was checked then
            self._entries_for(key, serial)
            endless = unlimited or found.not_valid_after_utc == NO_END
            again = days or (None if endless else life // datetime.timedelta(days=1))
            return self._issue(key, serial, again, by), True

    def revoke(self, number: int, reason: str, *, by: Deadline) -> tuple[Entry, bool]:
        """Revoke a box's certificate for good, and publish the CRL; whether that was new.

        The index has it first: whatever stops this, running it again completes it. Raises Misuse
        for a reason that is not one, DeviceRefused for a certificate that is not in the index.
        """
        if reason not in REASONS:
            raise Misuse(f"{reason!r} is no reason; known are {', '.join(REASONS)}")
        with locked(self.state, by):
            entry = self.index.get(number)
            if entry is None or entry.role != DEVICE.role:
                raise DeviceRefused(f"this CA issued no certificate {number:x} to a box")
            new = entry.revoked is None
            if new:
                self.index.revoke(number, reason, _now())
            self._publish(by, now=False)
            return self.index.get(number) or entry, new

    def publish(self, *, now: bool = False, by: Deadline) -> tuple[Path, bool]:
        """The CRL's file, made anew when it is due (see crl_is_due) or ``now``; whether it is."""
        with locked(self.state, by):
            return self._publish(by, now=now)

    def is_revoked(self, found: x509.Certificate) -> bool:
        """Whether it was, or the issuing CA with all that it signed."""
        entries = [self.index.get(c.serial_number) for c in (found, self.issuing)]
        return any(entry is not None and entry.revoked is not None for entry in entries)

    def _publish(self, by: Deadline, *, now: bool) -> tuple[Path, bool]:
        files, revoked = self.files, self.index.revoked(DEVICE.role)
        if not now and not crl_is_due(files.crl("issuing"), revoked):
            return files.crl_path("issuing"), False
        made = self._signer(by).revocation_list(
            self.issuing,
            revoked,
            number=self.index.next_crl("issuing"),
            days=self.settings.crl_days,
            by=by,
        )
        return files.save_crl("issuing", made), True

    def _may_issue(self) -> None:
        """Raises Misuse when nobody would believe what the issuing CA signs now."""
        if self.is_revoked(self.issuing):
            raise Misuse(
                "the issuing CA was revoked and certifies nobody any more",
                hint="Set up another one: docs/factory-ca.md, When the issuing CA is lost.",
            )
        begin, end = self.issuing.not_valid_before_utc, self.issuing.not_valid_after_utc
        if not begin <= _now() < end:
            raise Misuse(
                f"the issuing CA is good from {begin:%Y-%m-%d} to {end:%Y-%m-%d}, and not now",
                hint="Is this machine's clock right? If so: trustbox ca renew --issuing.",
            )

    def _entries_for(self, key: PublicKey, serial: str) -> tuple[Entry, ...]:
        """The earlier certificates of this key; refuses a key that must not get another one."""
        earlier = self.index.of_key(_fingerprint(key))
        for entry in earlier:
            if entry.role != DEVICE.role:
                raise IntegrityFailure(f"the request for {serial} is for the CA's own key")
            if entry.device != serial:
                raise IntegrityFailure(
                    f"the key of {serial} is certified for {entry.device}: two boxes have one key"
                )
            if entry.revoked is not None and entry.reason != "superseded":
                raise DeviceRefused(
                    f"the key of {serial} was revoked ({entry.reason})",
                    hint="Make a new key on the box; this one gets no certificate any more.",
                )
        return tuple(entry for entry in earlier if entry.revoked is None)

    def good(self, serial: str) -> list[Entry]:
        """The box's certificates that are neither revoked nor over, newest first."""
        return [
            entry
            for entry in self.index.of_device(serial)
            if entry.certificate
            and not entry.revoked
            and entry.certificate.not_valid_after_utc > _now()
        ]

    def _issue(
        self, key: PublicKey, serial: str, days: int | None, by: Deadline
    ) -> x509.Certificate:
        number = new_serial_number()
        builder = device_builder(
            key,
            serial,
            self.issuing,
            number=number,
            days=days,
            hardware_type=self.settings.hardware_type,
            crl_url=self.settings.crl_url,
        )
        return self._signer(by).certificate(
            self.index,
            builder,
            number=number,
            role=DEVICE.role,
            device=serial,
            spki=_fingerprint(key),
            issuer=self.issuing,
            by=by,
        )

    def _signer(self, by: Deadline) -> Signer:
        wanted = key_id(self.settings.issuing.token, ISSUING_ID)
        return signer_of(self.token, wanted, self.issuing, by)


def open_authority(
    token: Token,
    state: Path,
    *,
    root: Callable[[], AbstractContextManager[Token]] | None = None,
    settings: CaSettings | None = None,
    by: Deadline,
) -> Authority:
    """The CA whose issuing key ``token`` holds and whose files are in ``state``; made if absent.

    The root's token is opened with ``root`` if the CA has to be made, and never otherwise; without
    it, ``token`` keeps the root's key as well. Raises IntegrityFailure when the token's key is not
    the certificate's.
    """
    private_directory(state)
    files = CaFiles(state)
    with locked(state, by):
        files.adopt_issued()
        chosen = files.settings() or settings or CaSettings()
        ceremony = Ceremony(files, chosen, line=lambda: _borrowed(token), root=root)
        if not files.complete():
            ceremony.run(by=by)
        issuing, top = files.certificate("issuing"), files.certificate("root")
        signer_of(token, key_id(chosen.issuing.token, ISSUING_ID), issuing, by)
    return Authority(token, state, top, issuing, chosen)


@contextmanager
def locked(state: Path, by: Deadline) -> Iterator[None]:
    """Nobody else issues meanwhile, in whatever process. Raises DeadlineExpired."""
    with file_locked(state / "lock", "the lock on the factory's CA", by=by):
        yield


@contextmanager
def _borrowed(token: Token) -> Iterator[Token]:
    yield token


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


def _fingerprint(key: PublicKey) -> str:
    return hashlib.sha256(spki(key)).hexdigest()
