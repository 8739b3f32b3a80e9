"""The harness's own SSH key, and its place in a box's authorized_keys."""

from __future__ import annotations

import contextlib
import os
import re
from dataclasses import dataclass
from pathlib import Path

import platformdirs
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from harness.deadline import Deadline
from harness.errors import DeviceRefused, Misuse
from harness.target import Shell

MOST_FILE = 256 * 1024
_COMMENT = "trustbox-harness"
_LOOK = 'test -e "$1" || exit 3; head -c 300000 -- "$1"'
_NUMBER = re.compile(r"[0-9]{1,10}", re.ASCII)
_MAKE = 'umask 077; mkdir -p -- "$1" && chmod 700 -- "$1"'


def default_key() -> Path:
    """Where the harness's key for benches is, unless another is named; it need not exist."""
    return platformdirs.user_config_path("trustbox") / "bench_key"


def ensure_key(path: Path) -> str:
    """The public half, as a line of authorized_keys; makes an Ed25519 key when there is no file.

    Raises Misuse when the file cannot be made, read, or used without a passphrase.
    """
    try:
        with contextlib.suppress(FileExistsError):
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            _make(path)
    except OSError as problem:
        raise Misuse(f"the SSH key {path} cannot be made: {problem.strerror}") from problem
    return public_line(path)


def public_line(path: Path) -> str:
    """The public half of an OpenSSH private key, as a line of authorized_keys. Raises Misuse."""
    try:
        private = serialization.load_ssh_private_key(path.read_bytes(), password=None)
    except OSError as problem:
        raise Misuse(f"the SSH key {path} cannot be used: {problem.strerror}") from problem
    except (ValueError, TypeError, UnsupportedAlgorithm) as problem:
        raise Misuse(
            f"{path} is no OpenSSH private key without a passphrase",
            hint="Name another with --client-key, or make one: ssh-keygen -t ed25519 -N '' -f FILE",
        ) from problem
    public = private.public_key().public_bytes(
        serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    )
    return f"{public.decode()} {_COMMENT}"


@dataclass(frozen=True, slots=True)
class Account:
    """A user of the box, as passwd(5) has it; ``home`` is absolute."""

    home: str
    uid: int
    gid: int


def install(shell: Shell, account: Account, line: str, *, by: Deadline) -> bool:
    """Let the key in ``line`` log in as that user; False: it could already.

    Keeps what is in authorized_keys, replaces the file atomically with mode 0600, its directory has
    0700 (sshd's StrictModes), both are the user's own (sshd reads them as the user), and reads it
    back. Raises DeviceRefused when the file is too large or does not come back as written, and what
    the shell raises.
    """
    directory, path = f"{account.home}/.ssh", f"{account.home}/.ssh/authorized_keys"
    before = _read(shell, path, by)
    shell.run("sh", "-c", _MAKE, "make", directory, by=by)
    there = _has(before, line)
    after = before
    if not there:
        after += b"\n" if before and not before.endswith(b"\n") else b""
        after += line.encode() + b"\n"
    shell.write(path, after, by=by, mode=0o600)
    shell.run("chown", "-h", f"{account.uid}:{account.gid}", directory, path, by=by)
    if _read(shell, path, by) != after:
        raise DeviceRefused(f"{path} on the box is not what was written there")
    return not there


def account_of(shell: Shell, user: str, *, by: Deadline, home: str | None = None) -> Account:
    """``user`` on the box (passwd(5)), with another ``home`` if that is given.

    Raises DeviceRefused.
    """
    for line in shell.read("/etc/passwd", by=by).decode(errors="replace").splitlines():
        fields = line.split(":")
        if len(fields) != 7 or fields[0] != user or not fields[5].startswith("/"):
            continue
        if not (_NUMBER.fullmatch(fields[2]) and _NUMBER.fullmatch(fields[3])):
            continue
        return Account(home or fields[5].rstrip("/") or "/", int(fields[2]), int(fields[3]))
    raise DeviceRefused(f"the box has no user {user}")


def _has(file: bytes, line: str) -> bool:
    """Whether a line without options has the key: one with options may not give a shell."""
    wanted = line.split()[:2]  # type and key; a comment may be another
    return any(old.split()[:2] == wanted for old in file.decode(errors="replace").splitlines())


def _read(shell: Shell, path: str, by: Deadline) -> bytes:
    """Empty when there is no such file."""
    done = shell.run("sh", "-c", _LOOK, "look", path, by=by, check=False)
    if done.status == 3:
        return b""
    if done.status or len(done.stdout) > MOST_FILE:
        raise DeviceRefused(f"{path} on the box cannot be read, or is too large")
    return done.stdout


def _make(path: Path) -> None:
    key = ed25519.Ed25519PrivateKey.generate()
    text = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.OpenSSH,
        serialization.NoEncryption(),
    )
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
