"""The directory that everybody in a lab shares: who holds which bench, and which are quarantined.

One station: the default, on its own disk. Several: ``lab_directory`` of the entry, or the
environment's TRUSTBOX_LAB, names a directory that all of them mount. What stands in it is parsed as
strictly as anything foreign: whoever takes over a dead owner's bench replaces files of his.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import socket
import stat
import tempfile
from collections.abc import Mapping
from pathlib import Path

import platformdirs

from harness.errors import RigError
from harness.owned import distrust

SHARED = Path("/var/lib/trustbox/lab")
"""Of all users of the station, where an administrator made it (docs/benches.md). Not in /run: a
quarantine outlives a reboot."""
BEFORE = Path("/var/tmp/trustbox-lab")  # noqa: S108 - only looked at
"""Where it was before: everybody could write to it, and so lift a quarantine."""
LONGEST = 8192


def lab_directory(configured: Path | None = None) -> Path:
    """The directory, made for this user alone if need be. Raises RigError when it cannot be used,
    or when others than root, this user and its group may change what is in it.

    Where no name was given: SHARED where that is, else this user's own.
    """
    named = configured or os.environ.get("TRUSTBOX_LAB")
    if not named:
        _nothing_left_behind()
    path = Path(named) if named else SHARED if SHARED.exists() else _own()
    try:
        with contextlib.suppress(FileExistsError):
            path.mkdir(parents=True, mode=0o700)
        problem = distrust(path.stat(), group=True)
        if problem:
            raise RigError(
                f"{path} cannot keep the benches' locks: {problem}, and could lift a quarantine",
                hint=f"For you alone: chmod 700 {path}. For those of a group: chgrp GROUP {path} &&"
                f" chmod 2770 {path}. docs/benches.md says how a station's users share one.",
            )
        if path.is_dir() and os.access(path, os.W_OK | os.X_OK):
            return path
        problem = "no directory that this user may write to"
    except OSError as failed:
        problem = failed.strerror or str(failed)
    raise RigError(
        f"{path} cannot keep the benches' locks: {problem}",
        hint=f"The users of this station share {SHARED}: is your user in its group?"
        if path == SHARED
        else "Name another directory with lab_directory in the bench's entry, or TRUSTBOX_LAB.",
    )


def _own() -> Path:
    """It depends on the user alone, so that cron's commands and a terminal's have the same."""
    return Path(platformdirs.user_state_path("trustbox")) / "lab"


def _nothing_left_behind() -> None:
    """Raises RigError while there are marks where they were before: a quarantine that nobody reads
    any more would be a quarantine lifted. Everybody can clear that place, so nobody is shut out."""
    try:
        open_to_all = stat.S_IMODE(BEFORE.lstat().st_mode) & 0o1007 == 0o007
        marks = sorted(BEFORE.glob("*.quarantine")) if open_to_all else []
    except OSError:
        return
    if marks:
        raise RigError(
            f"{len(marks)} benches are in quarantine in {BEFORE}, where locks are no longer kept:"
            " everybody may write there",
            hint=f"Look at {marks[0]} and the others. Move those that hold to {SHARED} if there is"
            f" one, else to {_own()}; then: rm -r {BEFORE}",
        )


def line_key(url: str) -> str:
    """What a bench is called in the lab: its serial line, which only one can have. Names in targets
    files are everybody's own. A device of this machine is not the one of another machine."""
    return _key("line", _line(url))


def lab_keys(line: str, serial: str | None) -> tuple[str, ...]:
    """For locks: the line's and, when it is known, the serial number's."""
    return (line_key(line), *((serial_key(serial),) if serial is not None else ()))


def mark_keys(line: str, serial: str | None) -> tuple[str, ...]:
    """For marks that last: as ``lab_keys``, but a device goes by the name in the entry, for
    /dev/ttyUSB0 behind it may be another bench's adapter after the next replugging."""
    device = f"{socket.gethostname()}{os.path.normpath(line)}"
    key = line_key(line) if "://" in line else _key("line", device)
    return (key, *lab_keys(line, serial)[1:])


def _line(url: str) -> str:
    """One text for each line, however it was written: a device's links are followed, and a server
    is a host and a port, whatever protocol and options it is spoken to with."""
    if "://" not in url:
        return f"{socket.gethostname()}{os.path.realpath(url)}"
    scheme, _, rest = url.partition("://")
    rest = re.split(r"[?#]", rest, maxsplit=1)[0]
    if scheme.lower() in ("spy", "alt"):  # pyserial's wrappers of a device
        return _line(rest)
    host, slash, path = rest.partition("/")
    return f"{host.lower()}{slash}{path}".rstrip("/")


def serial_key(serial: str) -> str:
    """What a box is called in the lab, wherever it is plugged in."""
    return _key("serial", serial)


def _key(kind: str, text: str) -> str:
    """A file name that is another one for another text, and that people recognise."""
    readable = re.sub(r"[^A-Za-z0-9._-]+", "_", text)[-60:]
    return f"{kind}-{readable}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def put(path: Path, values: Mapping[str, object]) -> None:
    """Replace the file atomically, readable for everybody. Raises RigError."""
    text = json.dumps(values, ensure_ascii=False).encode(errors="backslashreplace")
    if len(text) > LONGEST:
        raise RigError(f"{path} cannot be written: it would be longer than {LONGEST} octets")
    name = ""
    try:
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".new-")
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, 0o644)
            file.write(text)
            file.flush()
            os.fsync(descriptor)
        Path(name).replace(path)
    except OSError as problem:
        if name:
            Path(name).unlink(missing_ok=True)
        raise RigError(f"{path} cannot be written: {problem.strerror}") from problem


_NO_FILE_OF_OURS = (errno.ELOOP, errno.EACCES, errno.EPERM, errno.ENXIO, errno.ENOTDIR)


def get(path: Path) -> dict[str, object] | None:
    """What ``put`` left there; None when there is no file; {} when it is not one of ours.

    Raises RigError when this machine cannot look (too many files open, a broken disk): that is no
    answer, least of all that nobody has the bench.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except OSError as problem:
        if problem.errno in _NO_FILE_OF_OURS:
            return {}
        raise RigError(f"{path} cannot be looked at: {problem.strerror}") from problem
    with os.fdopen(descriptor, "rb") as file:
        try:
            values = json.loads(file.read(LONGEST))
        except (OSError, ValueError, RecursionError):
            return {}
    return values if isinstance(values, dict) else {}
