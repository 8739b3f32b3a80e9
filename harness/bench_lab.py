"""The directory that everybody in a lab shares: who holds which bench, and which are quarantined.

One station: the default, on its own disk. Several: ``lab_directory`` of the entry, or the
environment's TRUSTBOX_LAB, names a directory that all of them mount.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import socket
import tempfile
from collections.abc import Mapping
from pathlib import Path

from harness.errors import RigError

DEFAULT = Path("/var/tmp/trustbox-lab")  # noqa: S108 - shared between users on purpose, see below
LONGEST = 8192


def lab_directory(configured: Path | None = None) -> Path:
    """The directory, made if need be. Raises RigError when it cannot be used.

    Open to every user of the machine: whoever takes over a dead owner's bench replaces files that
    are not his. What stands in it is parsed as strictly as anything foreign.
    """
    path = configured or Path(os.environ.get("TRUSTBOX_LAB") or DEFAULT)
    try:
        with contextlib.suppress(FileExistsError):
            path.mkdir(parents=True)
            path.chmod(0o777)
        if path.is_dir() and os.access(path, os.W_OK | os.X_OK):
            return path
        problem = "no directory that this user may write to"
    except OSError as failed:
        problem = failed.strerror or str(failed)
    raise RigError(
        f"{path} cannot keep the benches' locks: {problem}",
        hint="Name another directory with lab_directory in the bench's entry, or TRUSTBOX_LAB.",
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
    try:
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".new-")
        with os.fdopen(descriptor, "w") as file:
            os.fchmod(descriptor, 0o644)
            json.dump(values, file)
            file.flush()
            os.fsync(descriptor)
        Path(name).replace(path)
    except OSError as problem:
        raise RigError(f"{path} cannot be written: {problem.strerror}") from problem


def get(path: Path) -> dict[str, object] | None:
    """What ``put`` left there; None when there is no file; {} when it is not one of ours."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except OSError:
        return {}
    with os.fdopen(descriptor, "rb") as file:
        try:
            values = json.loads(file.read(LONGEST))
        except (OSError, ValueError, RecursionError):
            return {}
    return values if isinstance(values, dict) else {}
