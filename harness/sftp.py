"""Whole files over SFTP: read with a bound, written atomically with an exact mode.

::

    write: .tb-<random>.tmp (O_EXCL) -> chmod -> data -> fsync -> rename over the path -> fsync dir

Whatever stood at the path, a symbolic link too, is replaced as a name and never written into.
"""

from __future__ import annotations

import contextlib
import posixpath
import stat
import threading
from collections.abc import Iterator

import paramiko
from paramiko.sftp import CMD_EXTENDED

from harness.deadline import Deadline
from harness.errors import BadFrame, DeadlineExpired, DeviceRefused, Misuse
from harness.part_file import part_beside
from harness.ssh_exec import open_channel
from harness.ssh_transport import hang_up, lost
from harness.vitals import Vitals

MOST_FILE = 64 * 1024 * 1024
CHUNK = 32768
PREFETCH_FROM = 4 * CHUNK
_NOISE = (
    "A start file of that user's shell on the box (.bashrc) may print: let it do so only in"
    " interactive shells."
)


class SftpFiles:
    """An SFTP session on one connection; one request at a time, others wait their turn."""

    def __init__(self, transport: paramiko.Transport, vitals: Vitals) -> None:
        self._transport, self._vitals = transport, vitals
        self._lock = threading.Lock()
        self._client: paramiko.SFTPClient | None = None

    def read(self, path: str, *, by: Deadline) -> bytes:
        """The whole file. Raises DeviceRefused, LinkLost, BoxDied, DeadlineExpired, Misuse."""
        _check(path)
        doing = f"reading {path}"
        with self._session(doing, by) as client, _opened(client, path, "rb") as file:
            size = file.stat().st_size or 0
            if size > MOST_FILE:
                raise _too_large(path)
            if size > PREFETCH_FROM:
                file.prefetch(size)
            data = bytearray()
            while True:
                client.get_channel().settimeout(by.left(doing))  # type: ignore[union-attr]
                chunk = file.read(CHUNK)
                if not chunk:
                    return bytes(data)
                data += chunk
                if len(data) > MOST_FILE:  # files of /proc and /sys tell no true size
                    raise _too_large(path)

    def write(self, path: str, data: bytes, *, mode: int, by: Deadline) -> None:
        """Replace the file. Old or new content after a power cut, never a mixture."""
        _check(path)
        if mode != stat.S_IMODE(mode):
            raise Misuse(f"{mode:o} is not a file mode")
        doing = f"writing {path}"
        directory = posixpath.dirname(path)
        part = part_beside(path)
        with self._session(doing, by) as client:
            channel = client.get_channel()
            assert channel is not None  # noqa: S101 - for the type checker; a session has one
            made = False
            try:
                with _opened(client, part, "wxb") as file:
                    made = True
                    file.chmod(0o600)  # before any data: the umask is the box's, not ours
                    for start in range(0, len(data), CHUNK):
                        channel.settimeout(by.left(doing))
                        file.write(data[start : start + CHUNK])
                    file.chmod(mode)
                    _sync(client, file)
                channel.settimeout(by.left(doing))
                client.posix_rename(part, path)
                made = False
                # A server need not open directories; the data itself is on the disk by now.
                with contextlib.suppress(OSError), client.open(directory, "rb") as entry:
                    _sync(client, entry)
            finally:
                if made:
                    _remove(client, part)

    def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            client.close()

    @contextlib.contextmanager
    def _session(self, doing: str, by: Deadline) -> Iterator[paramiko.SFTPClient]:
        if not self._lock.acquire(timeout=by.left(f"the turn for {doing}")):
            raise DeadlineExpired(f"the turn for {doing}", by.seconds)
        try:
            if self._client is not None and _ended(self._client):
                self.close()  # the box ended it meanwhile; nothing was asked of it yet
            if self._client is None:
                self._client = self._open(doing, by)
            channel = self._client.get_channel()
            if channel is not None:
                channel.settimeout(by.left(doing))
            yield self._client
        except TimeoutError:
            self.close()  # its answer may still come, to a question nobody asks any more
            self._vitals.check()
            raise DeadlineExpired(doing, by.seconds) from None
        except paramiko.SFTPError as problem:
            self.close()  # what comes next is no answer to what is asked next
            raise BadFrame(
                f"{doing}: the box's SFTP server says what is no SFTP: {problem}", hint=_NOISE
            ) from problem
        except (EOFError, paramiko.SSHException) as problem:
            self.close()
            raise lost(self._vitals, doing, problem) from problem
        except FileNotFoundError as problem:
            raise DeviceRefused(f"{doing}: no such file or directory on the box") from problem
        except PermissionError as problem:
            raise DeviceRefused(f"{doing}: permission denied on the box") from problem
        except OSError as problem:
            if not self._transport.is_active():
                self.close()
                raise lost(self._vitals, doing, problem) from problem
            raise DeviceRefused(f"{doing}: the box says '{problem}'") from problem
        except (DeadlineExpired, KeyboardInterrupt):
            self.close()  # a part of an answer may have been read
            raise
        finally:
            self._lock.release()

    def _open(self, doing: str, by: Deadline) -> paramiko.SFTPClient:
        channel = open_channel(self._transport, self._vitals, by=by)
        # Neither the subsystem's answer nor the version exchange knows a time-out.
        timer = threading.Timer(by.left(doing), channel.close)
        timer.daemon = True
        timer.start()
        try:
            channel.invoke_subsystem("sftp")
            return paramiko.SFTPClient(channel)
        except paramiko.SFTPError:
            hang_up(channel)
            raise
        except (OSError, EOFError, paramiko.SSHException) as problem:
            hang_up(channel)
            by.left(doing)
            if self._transport.is_active():
                raise DeviceRefused(
                    f"{doing}: the box offers no SFTP", hint="Its sshd needs the sftp subsystem."
                ) from problem
            raise
        finally:
            timer.cancel()


@contextlib.contextmanager
def _opened(client: paramiko.SFTPClient, path: str, mode: str) -> Iterator[paramiko.SFTPFile]:
    """The file; what was not answered in time is not asked to be closed, nor waited for again."""
    file = client.open(path, mode)
    try:
        yield file
    except TimeoutError:
        client.close()
        raise
    finally:
        file.close()


def _check(path: str) -> None:
    if not path.startswith("/") or "\0" in path or path.endswith("/"):
        raise Misuse(f"{path!r} is not the absolute path of a file on the box")


def _ended(client: paramiko.SFTPClient) -> bool:
    channel = client.get_channel()
    return channel is None or bool(channel.closed or channel.eof_received)


def _too_large(path: str) -> DeviceRefused:
    return DeviceRefused(
        f"{path} is larger than {MOST_FILE} bytes, which is the most that is read at once",
        hint="Read it in parts with a command, for example dd.",
    )


def _sync(client: paramiko.SFTPClient, file: paramiko.SFTPFile) -> None:
    """fsync@openssh.com (OpenSSH PROTOCOL, 4.6); paramiko has no public call for extensions."""
    client._request(CMD_EXTENDED, "fsync@openssh.com", file.handle)  # type: ignore[attr-defined]


def _remove(client: paramiko.SFTPClient, path: str) -> None:
    with contextlib.suppress(OSError, EOFError, paramiko.SSHException, paramiko.SFTPError):
        channel = client.get_channel()
        if channel is not None:
            channel.settimeout(2.0)
        client.remove(path)
