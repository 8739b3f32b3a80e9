"""A station's CA, opened: its settings read, its tokens found."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from harness.deadline import Deadline
from provisioning.authority import Authority
from provisioning.authority_ceremony import Ceremony, CeremonyReport
from provisioning.authority_files import CaFiles
from provisioning.authority_keys import signer_of
from provisioning.authority_lock import locked
from provisioning.authority_root import RootKey
from provisioning.authority_settings import CaSettings
from provisioning.authority_state import Stage, remains, require_set_up, stage
from provisioning.authority_tokens import (
    ISSUING_ID,
    ROOT_ID,
    PinAsker,
    key_id,
    nobody_to_ask,
    opened_token,
)
from provisioning.private_files import private_directory
from provisioning.token import Token


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
        making = make and self._may_make(settings, by)
        if making:
            self._begin(by)
        else:
            require_set_up(self.files)
        with self._token(settings, "issuing", by) as token:
            yield open_authority(
                token,
                self.files.ca,
                root=lambda: self._token(settings, "root", by),
                make=settings if making else None,
                by=by,
            )

    def _may_make(self, settings: CaSettings, by: Deadline) -> bool:
        """Whether the directory is one in which a CA may be made, or finished, by itself."""
        found = stage(self.files)
        if found is Stage.NONE:
            return settings.made_by_itself and not self.left_behind(by=by)
        begun = found is Stage.BEGUN and not self.files.index.of_role("device")
        return begun and settings.made_by_itself

    def left_behind(self, *, by: Deadline) -> list[str]:
        """What a lost CA left here: its own tokens with its keys, and records of boxes. Nothing
        where there is a CA, whole or not.
        """
        if stage(self.files, settings=False) is not Stage.NONE:
            return []
        return [name for name in remains(self.state) if self._counts(name, by)]

    def _counts(self, name: str, by: Deadline) -> bool:
        """A token of ours without a CA's key was made for something else (PINs of boxes)."""
        spec = {"hsm": "softhsm:line", "hsm-root": "softhsm:root"}.get(name)
        if spec is None:
            return True
        with opened_token(spec, self.state, by=by) as token:
            return any(token.find(id, by=by) for id in (ISSUING_ID, ROOT_ID))

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
        """Not begun yet. Hold the CA's lock while it runs (``authority_lock``)."""
        return Ceremony(
            self.files,
            settings,
            line=lambda: self._token(settings, "issuing", by),
            root=lambda: self._token(settings, "root", by),
            watcher=watcher,
        )

    @contextmanager
    def root_key(self, *, by: Deadline) -> Iterator[RootKey]:
        """The CA's lock held; the tokens are opened when they are needed."""
        require_set_up(self.files)
        settings = self.files.settings() or CaSettings()
        with locked(self.files.ca, by):
            yield RootKey(
                self.files,
                settings,
                line=lambda: self._token(settings, "issuing", by),
                root=lambda: self._token(settings, "root", by),
            )

    def _token(
        self, settings: CaSettings, role: str, by: Deadline
    ) -> AbstractContextManager[Token]:
        """A SoftHSM2 token is made where nothing was ever signed with its key, and nowhere else."""
        spec = (settings.root if role == "root" else settings.issuing).token
        first = not self.files.index.of_role(role)
        return opened_token(spec, self.state, ask=self.ask, make=first, by=by)


def open_authority(
    token: Token,
    state: Path,
    *,
    root: Callable[[], AbstractContextManager[Token]] | None = None,
    make: CaSettings | None = None,
    by: Deadline,
) -> Authority:
    """The CA whose issuing key ``token`` holds and whose files are in ``state``.

    ``make``: with which settings it is made where there is none, or its ceremony goes on; without
    it that is refused. The root's token is opened with ``root`` for that, and never otherwise;
    without it, ``token`` keeps the root's key as well. Raises Misuse for a CA that is not set up
    or not whole (``authority_state``), IntegrityFailure when the token's key is not the
    certificate's.
    """
    files, made = CaFiles(state), False
    if make is not None:
        private_directory(state)
    with locked(state, by):
        if make is not None and stage(files) is not Stage.SET_UP:
            ceremony = Ceremony(files, make, line=lambda: _borrowed(token), root=root)
            made = bool(ceremony.run(by=by))
        require_set_up(files)
        chosen = files.settings() or CaSettings()
        issuing, top = files.certificate("issuing"), files.certificate("root")
        signer_of(token, key_id(chosen.issuing.token, ISSUING_ID), issuing, by)
    return Authority(token, state, top, issuing, chosen, made)


@contextmanager
def _borrowed(token: Token) -> Iterator[Token]:
    yield token
