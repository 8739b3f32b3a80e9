"""A station's CA, opened: its settings read, its tokens found."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from harness.deadline import Deadline
from harness.errors import Misuse
from provisioning.authority import Authority, locked, open_authority
from provisioning.authority_ceremony import Ceremony, CeremonyReport
from provisioning.authority_files import CaFiles
from provisioning.authority_settings import CaSettings
from provisioning.authority_signing import CA_REASONS
from provisioning.authority_tokens import PinAsker, nobody_to_ask, opened_token


@dataclass(frozen=True, slots=True)
class StationCa:
    """``state`` is the station's directory; ``ask`` is asked for PINs that no file holds."""

    state: Path
    ask: PinAsker = nobody_to_ask

    @property
    def files(self) -> CaFiles:
        return CaFiles(self.state / "ca")

    @contextmanager
    def opened(self, *, make: bool = False, by: Deadline) -> Iterator[Authority]:
        """Ready to sign. One that is not set up yet is made when ``make``, with SoftHSM2 alone.

        Raises Misuse when there is none and it is not to be made without a person.
        """
        settings = self.files.settings() or CaSettings()
        if not self.files.complete() and not (make and settings.made_by_itself):
            raise Misuse(
                f"the CA in {self.files.ca} is not set up",
                hint="trustbox ca init sets it up, and goes on where it was stopped.",
            )
        with opened_token(settings.issuing.token, self.state, ask=self.ask, by=by) as token:
            yield open_authority(
                token,
                self.files.ca,
                root=lambda: opened_token(settings.root.token, self.state, ask=self.ask, by=by),
                by=by,
            )

    def ceremony(
        self,
        settings: CaSettings,
        *,
        watcher: Callable[[CeremonyReport], None] = lambda _: None,
        by: Deadline,
    ) -> Ceremony:
        """Not begun yet. Hold the CA's lock while it runs (``authority.locked``)."""
        return Ceremony(
            self.files,
            settings,
            line=lambda: opened_token(settings.issuing.token, self.state, ask=self.ask, by=by),
            root=lambda: opened_token(settings.root.token, self.state, ask=self.ask, by=by),
            watcher=watcher,
        )

    def revoke_issuing(self, reason: str, *, by: Deadline) -> Path:
        """Revoke the issuing CA's certificate for good and publish the root's CRL: its file.

        From the first moment on it certifies nobody; without the root's token this raises, and is
        completed when it is done again.
        """
        if reason not in CA_REASONS:
            raise Misuse(f"{reason!r} is no reason; known are {', '.join(CA_REASONS)}")
        files = self.files
        settings = files.settings()
        if settings is None or not files.complete():
            raise Misuse(f"the CA in {files.ca} is not set up")
        with locked(files.ca, by):
            number = files.certificate("issuing").serial_number
            files.index.revoke(number, reason, datetime.datetime.now(datetime.UTC))
            self.ceremony(settings, by=by).renew_root_crl(by=by)
        return files.crl_path("root")
