"""``box.enclave``: Trusted Applications on the box: install, list, open, remove."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import UUID

from harness.capability import Capability
from harness.deadline import Deadline
from harness.errors import BadInput, DeviceRefused, IntegrityFailure, TrustBoxError
from harness.part_file import clear_parts
from harness.target import Target
from harness.tee import TeeClient, TeeSession
from provisioning.enclave_format import HEADERS, RSAPublicKey, take_apart
from provisioning.enclave_image import EnclaveImage, parse, parse_headers
from provisioning.enclave_verify import signer_of

MOST_ENCLAVES = 500
"""Files that ``installed`` looks at; a box has some dozens."""

# One command for all files, because each command costs a round trip. Prints "<name> <size> <hex>"
# per file, and skips names that could forge such a line. $2 bytes of a file have all its headers,
# unless it begins with a subkey (magic and type 3): then $3 bytes have.
_LIST = """
cd -- "$1" || exit 1
for f in *.ta; do
  case $f in *[!0-9a-f.t-]*) continue ;; esac
  [ -f "$f" ] || continue
  head=$(head -c "$2" "$f" | od -An -v -tx1 | tr -d ' \\n')
  case $head in
    4853544f03000000*) head=$(head -c "$3" "$f" | od -An -v -tx1 | tr -d ' \\n') ;;
  esac
  printf '%s %s %s\\n' "$f" "$(wc -c < "$f")" "$head"
done
"""
_LINE = re.compile(
    r"([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\.ta ([0-9]{1,10}) ((?:[0-9a-f]{2})*)", re.A
)
_HEAD = 1024
"""Bytes of each file that are fetched at first: headers without subkeys take at most 612."""
_RESTORING_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Installed:
    """A file in the TA directory. ``image`` is what its headers say (nobody has checked the body
    or the signature), or None when they make no sense; ``fault`` then says why."""

    uuid: UUID
    size: int
    image: EnclaveImage | None
    fault: str = ""
    signer: str | None = None
    """Whose signature the headers bear, of the keys that ``installed`` was given."""

    @property
    def digest(self) -> bytes | None:
        return self.image.digest if self.image else None

    @property
    def version(self) -> int | None:
        return self.image.version if self.image else None


class EnclaveSession:
    """Opens nothing before its first verb. Raises what the shell and the TEE client raise.

    A TA file is read by OP-TEE when the first session to it opens. So a new file counts from the
    moment when no session is open any more; but a TA that asks to be kept alive
    (INSTANCE_KEEP_ALIVE, like the PKCS#11 TA) runs on as it is until the next boot.
    """

    def __init__(self, target: Target) -> None:
        self._target = target

    def install(self, uuid: UUID, data: bytes, *, by: Deadline) -> EnclaveImage:
        """Put the signed TA on the box, in one step: whoever opens it gets the old or the new one.

        Refuses (BadInput) what no box could load: a damaged file, or one for another UUID. Read
        back; raises IntegrityFailure when the box then holds something else.
        """
        path = self.path(uuid)
        image = parse(data, where=posixpath.basename(path))
        if image.uuid != uuid:
            raise BadInput(
                where=posixpath.basename(path),
                key="uuid",
                value=str(image.uuid),
                expected=f"{uuid}, under which it is to be installed",
            )
        clear_parts(self._target.shell, posixpath.dirname(path), by=by)
        # Readable by all: its secrets, if it has any, are encrypted, and tests compare it.
        self._target.shell.write(path, data, by=by, mode=0o444)
        if self._target.shell.read(path, by=by) != data:
            raise IntegrityFailure(f"{self._target.name} does not hold the enclave {uuid} as given")
        return image

    def install_proven(self, uuid: UUID, data: bytes, *, by: Deadline) -> EnclaveImage:
        """Install it and open it once, so that the box's TEE itself has said yes to it.

        If the TEE refuses (TeeRefused), or anything else fails, time or Ctrl-C included, the file
        is as it was before; where that cannot be done, the error's hint says so (after Ctrl-C it is
        an IntegrityFailure). A file in its place that cannot be read is left alone: DeviceRefused.
        The TEE remembers a version that it has loaded: there is no way back below it.
        """
        self._target.require(Capability.TA_LOAD)  # before a file lies there that nobody can try
        path = self.path(uuid)
        before = self._what_is_there(path, by)
        try:
            image = self.install(uuid, data, by=by)
            with self.open(uuid, by=by):
                return image
        except BaseException as error:
            self._put_back(path, before, after=error)
            raise

    def _what_is_there(self, path: str, by: Deadline) -> bytes | None:
        """None only where there is nothing: what cannot be read could not be put back either."""
        try:
            return self._target.shell.read(path, by=by)
        except DeviceRefused:
            there = '[ -e "$1" ] || [ -L "$1" ]'
            found = self._target.shell.run("sh", "-c", there, "sh", path, by=by, check=False)
            if found.status != 1:
                raise
            return None

    def _put_back(self, path: str, before: bytes | None, *, after: BaseException) -> None:
        """On the way out of ``after``, which is the error that is to be seen, and whose deadline
        may be over."""
        by = Deadline.after(_RESTORING_SECONDS)
        try:
            if before is None:
                self._target.shell.run("sh", "-c", 'rm -f -- "$1" && sync', "sh", path, by=by)
            else:
                self._target.shell.write(path, before, by=by, mode=0o444)
        except TrustBoxError as problem:
            told = (
                f"What was before in {path} could not be put back ({problem.message}): look there"
            )
            if not isinstance(after, TrustBoxError):
                raise IntegrityFailure(told) from after
            after.hint = f"{after.hint} {told}.".lstrip()

    def installed(
        self, *, signers: Mapping[str, RSAPublicKey] | None = None, by: Deadline
    ) -> tuple[Installed, ...]:
        """The files in the TA directory that are named like a TA, by UUID.

        ``signers``: keys by name, to tell whose signature a file bears (its contents unseen).
        """
        done = self._target.shell.run(
            *("sh", "-c", _LIST, "sh", self._target.layout.ta_directory, str(_HEAD), str(HEADERS)),
            by=by,
        )
        lines = done.stdout.decode("ascii", errors="replace").splitlines()
        if len(lines) > MOST_ENCLAVES:
            raise IntegrityFailure(f"{self._target.name} has more than {MOST_ENCLAVES} enclaves")
        found = [match for line in lines if (match := _LINE.fullmatch(line))]
        return tuple(
            sorted((_read(match, signers or {}) for match in found), key=lambda one: one.uuid)
        )

    @contextmanager
    def open(self, uuid: UUID, *, by: Deadline) -> Iterator[TeeSession]:
        """A session with the enclave, for ``session.invoke(command, *params, by=)``.

        Raises TeeRefused with the TEE's code and origin when it cannot be opened: 0xffff0008 for
        no such TA, 0xffff000f for one that fails its checks.
        """
        with (
            TeeClient.open(self._target, by=by) as client,
            client.open_session(uuid, by=by) as session,
        ):
            yield session

    def remove(self, uuid: UUID, *, by: Deadline) -> None:
        """Take the file away, for good: a power cut does not bring it back. Raises CommandFailed
        when there is none.

        What the enclave keeps in secure storage stays there, for the day it is installed again.
        """
        self._target.shell.run("sh", "-c", 'rm -- "$1" && sync', "sh", self.path(uuid), by=by)

    def path(self, uuid: UUID) -> str:
        """Where the box's TEE supplicant looks for this enclave."""
        return posixpath.join(self._target.layout.ta_directory, f"{uuid}.ta")


def _read(match: re.Match[str], signers: Mapping[str, RSAPublicKey]) -> Installed:
    uuid, size, head = UUID(match[1]), int(match[2]), bytes.fromhex(match[3])
    name = f"{uuid}.ta"
    try:
        image = parse_headers(head, size=size, where=name)
        if image.uuid != uuid:
            return Installed(uuid, size, None, f"{name}: it is enclave {image.uuid}")
    except BadInput as error:
        return Installed(uuid, size, None, str(error))
    signer = signer_of(take_apart(head, size=size, where=name), signers)
    return Installed(uuid, size, image, signer=signer)
