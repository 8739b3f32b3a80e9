"""Where a program that makes a TLS handshake runs: on this host, or on a box. Same program."""

from __future__ import annotations

import os
import posixpath
import secrets
import shlex
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from harness.box_directory import guard
from harness.deadline import Deadline
from harness.errors import DeadlineExpired, LinkLost, MissingCapability
from harness.ready import readable, writable
from harness.target import Shell, Stream, Streams, Target


class Place(Protocol):
    """A private directory, and programs that run beside it. ``close`` removes both."""

    def path(self, name: str) -> str: ...
    def write(self, name: str, data: bytes, *, by: Deadline) -> str:
        """Make a file of mode 0600 in the directory; its path there."""

    def read(self, name: str, *, by: Deadline) -> bytes: ...
    def start(self, *argv: str, by: Deadline) -> Stream: ...
    def close(self) -> None: ...


class HostPlace:
    """This host. ``environment`` and ``descriptors`` are for what reaches the token."""

    def __init__(
        self, *, environment: Mapping[str, str] | None = None, descriptors: Sequence[int] = ()
    ) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="trustbox-tls-")  # made 0700
        self._environment = dict(environment or {})
        self._descriptors = tuple(descriptors)

    def path(self, name: str) -> str:
        return str(Path(self._directory.name) / name)

    def write(self, name: str, data: bytes, *, by: Deadline) -> str:
        place = Path(self.path(name))
        place.touch(mode=0o600)
        place.write_bytes(data)
        return str(place)

    def read(self, name: str, *, by: Deadline) -> bytes:
        with Path(self.path(name)).open("rb") as file:
            return file.read(65536)

    def start(self, *argv: str, by: Deadline) -> Stream:
        return _LocalStream(argv, {**os.environ, **self._environment}, self._descriptors)

    def close(self) -> None:
        self._directory.cleanup()


class BoxPlace:
    """A box, over its shell and its streams. The directory is on a file system in RAM."""

    def __init__(self, shell: Shell, streams: Streams, *, below: str, by: Deadline) -> None:
        self._shell, self._streams = shell, streams
        self._directory = posixpath.join(below, f"trustbox-tls-{secrets.token_hex(8)}")
        made = shlex.join(("mkdir", "-m", "700", "--", self._directory))
        self._shell.run("sh", "-c", guard(below) + made, by=by)

    @classmethod
    def of(cls, target: Target, *, by: Deadline) -> BoxPlace:
        """On this box. Raises MissingCapability where there are no streams (serial console)."""
        if target.streams is None:
            raise MissingCapability(target.name, ["a stream to a program (SSH)"])
        return cls(target.shell, target.streams, below=target.layout.agent_directory, by=by)

    def path(self, name: str) -> str:
        return posixpath.join(self._directory, name)

    def write(self, name: str, data: bytes, *, by: Deadline) -> str:
        self._shell.write(self.path(name), data, by=by, mode=0o600)
        return self.path(name)

    def read(self, name: str, *, by: Deadline) -> bytes:
        return self._shell.read(self.path(name), by=by)

    def start(self, *argv: str, by: Deadline) -> Stream:
        return self._streams.stream(*argv, by=by, secret=True)  # its first line is a PIN

    def close(self) -> None:
        self._shell.run("rm", "-rf", "--", self._directory, by=Deadline.after(30), check=False)


class _LocalStream:
    """Implements ``Stream`` for a program on this host."""

    def __init__(
        self, argv: Sequence[str], environment: Mapping[str, str], descriptors: Sequence[int]
    ) -> None:
        self._what = argv[0]
        self._process = subprocess.Popen(
            argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            pass_fds=descriptors,
            bufsize=0,
            process_group=0,
        )
        assert self._process.stdin is not None  # noqa: S101 - Popen with PIPE
        assert self._process.stdout is not None  # noqa: S101
        self._in, self._out = self._process.stdin, self._process.stdout
        os.set_blocking(self._in.fileno(), False)

    def send(self, data: bytes, *, by: Deadline) -> None:
        view = memoryview(data)
        while view:
            waiting = f"{self._what} to take its input"
            if not writable([self._in.fileno()], by.left(waiting)):
                raise DeadlineExpired(waiting, by.seconds)
            try:
                view = view[os.write(self._in.fileno(), view) :]
            except BrokenPipeError:
                raise LinkLost(f"{self._what} ended") from None

    def receive(self, most: int, *, by: Deadline) -> bytes:
        waiting = f"output of {self._what}"
        if not readable([self._out.fileno()], by.left(waiting)):
            raise DeadlineExpired(waiting, by.seconds)
        return os.read(self._out.fileno(), most)

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        self._in.close()
        self._out.close()

    def fileno(self) -> int:
        return self._out.fileno()
