"""A token at the far end of p11-kit on this machine; only the pipe to it is shorter."""

from __future__ import annotations

import os
import select
import subprocess
from pathlib import Path
from typing import BinaryIO

from harness.deadline import Deadline
from harness.errors import DeadlineExpired
from provisioning.p11kit import client_module
from provisioning.softhsm import softhsm_module
from provisioning.token import Token
from provisioning.token_bridge import TokenBridge
from provisioning.token_process import TokenProcess


class LocalStream:
    """A Stream to a program on this machine."""

    def __init__(self, *argv: str, environment: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **environment},
            bufsize=0,
        )
        self._in, self._out = _ends(self.process)

    def send(self, data: bytes, *, by: Deadline) -> None:
        self._in.write(data)

    def receive(self, most: int, *, by: Deadline) -> bytes:
        if not select.select([self._out], [], [], by.left("the program"))[0]:
            raise DeadlineExpired("the program", by.seconds)
        return os.read(self._out.fileno(), most)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self._in.close()
        self._out.close()

    def fileno(self) -> int:
        return self._out.fileno()


class Remote:
    """A token at the end of p11-kit, as on a box."""

    def __init__(self, state: Path) -> None:
        (state / "tokens").mkdir()
        configuration = state / "softhsm2.conf"
        configuration.write_text(f"directories.tokendir = {state / 'tokens'}\n")
        self.environment = {"SOFTHSM2_CONF": str(configuration)}
        self.argv = ["p11-kit", "remote", softhsm_module()]
        self.streams: list[LocalStream] = []
        self.bridge = TokenBridge(self._start)
        self.process = TokenProcess(
            str(client_module()),
            environment={"P11_KIT_SERVER_ADDRESS": self.bridge.address},
            descriptors=self.bridge.descriptors,
            broken=self.bridge.broken,
        )
        self.token = Token(self.process)

    def _start(self, by: Deadline) -> LocalStream:
        self.streams.append(LocalStream(*self.argv, environment=self.environment))
        return self.streams[-1]

    def close(self) -> None:
        self.token.close()
        self.bridge.close()


def _ends(process: subprocess.Popen[bytes]) -> tuple[BinaryIO, BinaryIO]:
    assert process.stdin is not None
    assert process.stdout is not None
    return process.stdin, process.stdout  # type: ignore[return-value]
