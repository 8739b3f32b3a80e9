"""The factory's certificate authority at work: the issuing CA, its key in the line's token.

::

    root (self-signed, path length 1) → issuing (path length 0) → a box's IDevID
    offline token, for ceremonies       line token, every day      the box's own token

How it comes to be is ``authority_ceremony``'s subject; what it may sign is ``authority_policy``'s.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509

from harness.deadline import Deadline
from harness.errors import DeviceRefused, IntegrityFailure, Misuse
from provisioning.authority_entry import Entry, NewRow
from provisioning.authority_files import CaFiles
from provisioning.authority_index import Index
from provisioning.authority_keys import signer_of
from provisioning.authority_life import (
    before,
    entry_of,
    give_up,
    is_read_back,
    is_revoked,
    knows,
    put_on_list,
    revoke_keys,
)
from provisioning.authority_lock import locked
from provisioning.authority_policy import DEVICE
from provisioning.authority_publish import is_due, publish
from provisioning.authority_reasons import REASONS, checked_reason
from provisioning.authority_rules import may_have
from provisioning.authority_settings import CaSettings
from provisioning.authority_signing import Signer
from provisioning.authority_sources import Ca, unknown_of_box
from provisioning.authority_state import require_set_up
from provisioning.authority_tokens import ISSUING_ID, key_id
from provisioning.certificates import fits
from provisioning.csr import checked_request
from provisioning.idevid import NO_END, device_builder, new_serial_number
from provisioning.token import Token
from provisioning.token_public import PublicKey, spki_sha256

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
    made_now: bool = False
    """This opening of it made it: whoever opened it has to say so."""

    @property
    def files(self) -> CaFiles:
        return CaFiles(self.state)

    @property
    def index(self) -> Index:
        return self.files.index

    def certify(
        self,
        request: bytes,
        serial: str,
        *,
        days: int | None,
        by: Deadline,
        replaces: int | None = None,
        run: str = "",
    ) -> x509.Certificate:
        """As ``issue``: the certificate alone."""
        return self.issue(request, serial, days=days, by=by, replaces=replaces, run=run)[0]

    def issue(
        self,
        request: bytes,
        serial: str,
        *,
        days: int | None,
        by: Deadline,
        replaces: int | None = None,
        again: x509.SubjectAlternativeName | None = None,
        run: str = "",
    ) -> tuple[x509.Certificate, bool]:
        """The certificate for a box's request, and whether it is new: the one issued before if it
        still fits, whatever its ``days``, or a new one.

        ``days`` None: without end. ``replaces``: the number of the certificate of another key that
        this one takes the place of, once it was read back. ``again`` renews: the request repeats
        these names of the present certificate, which is not given again. ``run`` is kept with it.

        Raises DeviceRefused when the request does not deserve one (``checked_request``,
        ``authority_rules.may_have``), IntegrityFailure when its key is another box's or a CA's,
        Misuse when the CA cannot certify anybody, or the box's record holds one of this CA that
        the index does not know: with an older index the box would get a second identity.
        """
        allowed = self.settings.device_keys
        key = checked_request(request, serial, allowed=allowed, names=again)
        with locked(self.state, by):
            self._may_issue()
            self._require_no_unknown(serial)
            earlier = may_have(self.index, spki_sha256(key), serial, replaces=replaces)
            found = self._fitting(earlier, key, serial) if again is None else None
            made = found or self._issue(key, serial, days, by, replaces=replaces, run=run)
            if replaces is not None:
                give_up(self.index, replaces, by=entry_of(self.index, made.serial_number))
            return made, found is None

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
            may_have(self.index, good[0].spki, good[0].device)
            endless = unlimited or found.not_valid_after_utc == NO_END
            again = days or (None if endless else life // datetime.timedelta(days=1))
            return self._issue(key, good[0].device, again, by), True

    def read_back(self, found: x509.Certificate, *, by: Deadline) -> None:
        """It was read back from its box, or the box showed it in TLS: it is active from now on.

        Older good ones of the same box are superseded: those of its key, and those of the key that
        it replaces. One that is unfinished and of another key is to be revoked. Writes nothing
        when all of that is so already. Raises IntegrityFailure for one that this CA did not issue.
        """
        if not self.knows(found):
            raise IntegrityFailure(f"this CA did not issue {found.serial_number:x}")
        mine = entry_of(self.index, found.serial_number)
        if mine.read_back is not None and not before(self.index, mine):
            return
        with locked(self.state, by):
            is_read_back(self.index, mine)

    def to_revoke(self, which: x509.Certificate | int, why: str, *, by: Deadline) -> Entry:
        """Put one, or its number, on the list of those that somebody has to revoke.

        Does nothing when it is there or was revoked. Raises DeviceRefused for one that this CA did
        not issue to a box.
        """
        number = which if isinstance(which, int) else which.serial_number
        with locked(self.state, by):
            return put_on_list(self.index, number, why)

    def revoke(self, number: int, reason: str, *, by: Deadline) -> tuple[Entry, tuple[Entry, ...]]:
        """As ``revoke_all``, for one: that, and all that were changed."""
        changed = self.revoke_all((number,), reason, by=by)
        return entry_of(self.index, number), changed

    def revoke_all(self, numbers: Iterable[int], reason: str, *, by: Deadline) -> tuple[Entry, ...]:
        """Revoke boxes' certificates for good, with every other one of their keys unless it is
        ``superseded``, and publish the CRL. Those that this changed, as they are now.

        A reason may get worse, and does not get better. One that was begun and never finished is
        revoked too: RFC 5280 needs its number only, and its signature may be somewhere. The index
        has it first: whatever stops this, running it again completes it. Raises Misuse for a reason
        that is none, DeviceRefused for a certificate that is not in the index.
        """
        checked_reason(reason, REASONS)
        with locked(self.state, by):
            require_set_up(self.files)
            changed = revoke_keys(self.index, numbers, reason)
            self._publish(by, now=False)
            return changed

    def publish(self, *, now: bool = False, by: Deadline) -> tuple[Path, bool]:
        """The CRL's file, made anew when it is due (see crl_is_due) or ``now``; whether it is."""
        with locked(self.state, by):
            return self._publish(by, now=now)

    def knows(self, found: x509.Certificate) -> bool:
        """Whether this CA issued it to a box: its index has the number, with just these octets."""
        return knows(self.index, found)

    def is_revoked(self, found: x509.Certificate) -> bool:
        """Whether it was, or its key with another certificate, or the issuing CA's key with all
        that it signed.
        """
        return is_revoked(self.index, found, self.issuing)

    def _publish(self, by: Deadline, *, now: bool) -> tuple[Path, bool]:
        require_set_up(self.files)
        if not now and not is_due(self.files, "issuing"):
            return self.files.crl_path("issuing"), False
        days = self.settings.crl_days
        return publish(self.files, "issuing", self._signer(by), days=days, by=by), True

    def _may_issue(self) -> None:
        """Raises Misuse when nobody would believe what the issuing CA signs now, or its index is
        lost or behind.
        """
        require_set_up(self.files)
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

    def _require_no_unknown(self, serial: str) -> None:
        ca, records = Ca(self.root, self.issuing), self.state.parent / "records"
        for place, number in unknown_of_box(self.index, ca, records, serial):
            raise Misuse(
                f"the CA's index is not the newest one: it does not know {number:x} in {place}",
                hint="Nothing was signed. Bring back the newest index.sqlite, or add what the"
                f" records hold: trustbox ca recover --records {records}",
            )

    def good(self, serial: str) -> list[Entry]:
        """The box's certificates that are active or unfinished and not over, newest first."""
        return [entry for entry in self.index.of_device(serial) if entry.good]

    def _fitting(
        self, earlier: tuple[Entry, ...], key: PublicKey, serial: str
    ) -> x509.Certificate | None:
        kind = self.settings.hardware_type
        for found in (entry.certificate for entry in earlier if entry.good):
            if found and fits(
                found, key=key, serial=serial, issuing=self.issuing, hardware_type=kind
            ):
                return found
        return None

    def _issue(
        self,
        key: PublicKey,
        serial: str,
        days: int | None,
        by: Deadline,
        *,
        replaces: int | None = None,
        run: str = "",
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
        row = NewRow(number, DEVICE.role, serial, spki_sha256(key), replaces, run)
        return self._signer(by).certificate(self.index, builder, row, issuer=self.issuing, by=by)

    def _signer(self, by: Deadline) -> Signer:
        wanted = key_id(self.settings.issuing.token, ISSUING_ID)
        return signer_of(self.token, wanted, self.issuing, by)


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)
