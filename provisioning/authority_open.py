"""A station's CA, opened: its settings read, its tokens found."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from harness.deadline import Deadline
from harness.errors import Misuse
from provisioning.authority import Authority, open_authority
from provisioning.authority_ceremony import Ceremony, CeremonyReport
from provisioning.authority_files import CaFiles
from provisioning.authority_lock import locked
from provisioning.authority_settings import CaSettings
from provisioning.authority_signing import CA_REASONS
from provisioning.authority_state import Stage, remains, require_set_up, stage
from provisioning.authority_tokens import PinAsker, nobody_to_ask, opened_token
from provisioning.private_files import private_directory


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
        """Ready to sign.

        ``make`` permits to make one without a person: the caller vouches that the box is of
        evidence level functional and carries no certificate of another CA. It is made then if this
        directory has neither CA nor token nor record (``made_now`` of what is given says that it
        was), and its ceremony goes on if no box was certified yet. Raises Misuse in every other
        case in which there is none that is set up and whole.
        """
        settings = self.files.settings() or CaSettings()
        making = make and self._may_make(settings)
        if making:
            self._begin(by)
        else:
            require_set_up(self.files)
        with opened_token(settings.issuing.token, self.state, ask=self.ask, by=by) as token:
            yield open_authority(
                token,
                self.files.ca,
                root=lambda: opened_token(settings.root.token, self.state, ask=self.ask, by=by),
                make=settings if making else None,
                by=by,
            )

    def _may_make(self, settings: CaSettings) -> bool:
        """Whether the directory is one in which a CA may be made, or finished, by itself."""
        found = stage(self.files)
        if found is Stage.NONE:
            return settings.made_by_itself and not remains(self.state)
        begun = found is Stage.BEGUN and not self.files.index.of_role("device")
        return begun and settings.made_by_itself

    def _begin(self, by: Deadline) -> None:
        """The index is there before a token is: who is cut short then can go on."""
        private_directory(self.files.ca)
        with locked(self.files.ca, by):
            if stage(self.files) is Stage.NONE:
                self.files.index.create()

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
        require_set_up(files)
        settings = files.settings() or CaSettings()
        with locked(files.ca, by):
            number = files.certificate("issuing").serial_number
            files.index.revoke(number, reason, datetime.datetime.now(datetime.UTC))
            self.ceremony(settings, by=by).renew_root_crl(by=by)
        return files.crl_path("root")
