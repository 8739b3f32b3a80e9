"""QEMU's gdb stub, as much of it as reading and writing memory takes (GDB manual, appendix E).

The stub sees memory as the processor does where it stands: its world, its exception level, its
page tables. Run control is not its: that stays with QMP.
"""

from __future__ import annotations

import contextlib
import select
import socket
from collections.abc import Iterator
from pathlib import Path

from emulator.qmp import Qmp
from harness.deadline import Deadline
from harness.errors import BadFrame, LinkLost, RigError

LARGEST_READ = 2048
"""Bytes of one ``m`` packet: QEMU's packets have 4096 characters."""


class NotMapped(RigError):
    """The processor has nothing at that address where it stands."""


class GdbStub:
    """A session. Raises NotMapped, LinkLost, BadFrame and DeadlineExpired."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._buffer = bytearray()

    def read(self, address: int, size: int, *, by: Deadline) -> bytes:
        """``size`` bytes at a virtual address."""
        found = bytearray()
        while len(found) < size:
            count = min(LARGEST_READ, size - len(found))
            at = address + len(found)
            answer = self._ask(f"m{at:x},{count:x}", by)
            if answer.startswith("E"):
                raise NotMapped(f"nothing can be read at 0x{at:x}")
            try:
                data = bytes.fromhex(answer)
            except ValueError as problem:
                raise BadFrame(f"QEMU's gdb stub answered {answer[:60]!r}") from problem
            if len(data) != count:
                raise BadFrame(f"QEMU's gdb stub gave {len(data)} bytes instead of {count}")
            found += data
        return bytes(found)

    def write(self, address: int, data: bytes, *, by: Deadline) -> None:
        """Also where the processor may only read; code is translated anew."""
        answer = self._ask(f"M{address:x},{len(data):x}:{data.hex()}", by)
        if answer != "OK":
            raise NotMapped(f"nothing can be written at 0x{address:x}")

    def _ask(self, packet: str, by: Deadline) -> str:
        checksum = sum(packet.encode()) % 256
        try:
            self._socket.sendall(f"${packet}#{checksum:02x}".encode())
            answer = self._packet(by)
            self._socket.sendall(b"+")
        except OSError as problem:
            raise LinkLost("QEMU's gdb stub went away") from problem
        return answer

    def _packet(self, by: Deadline) -> str:
        while (end := self._buffer.find(b"#")) < 0 or len(self._buffer) < end + 3:
            waiting_for = "QEMU's gdb stub"
            if select.select([self._socket], [], [], by.left(waiting_for))[0]:
                data = self._socket.recv(65536)
                if not data:
                    raise LinkLost("QEMU's gdb stub went away")
                self._buffer += data
        start = self._buffer.find(b"$")
        packet, told = bytes(self._buffer[start + 1 : end]), self._buffer[end + 1 : end + 3]
        del self._buffer[: end + 3]
        if not 0 <= start < end or bytes(told) != b"%02x" % (sum(packet) % 256):
            raise BadFrame(f"QEMU's gdb stub sent {packet[:60]!r}, which is no packet")
        return packet.decode("ascii", errors="replace")


@contextlib.contextmanager
def attached(qmp: Qmp, directory: Path, *, by: Deadline) -> Iterator[GdbStub]:
    """The stub of a *stopped* machine, on a socket in ``directory`` that only this user can enter.

    The machine is left as it is: stopped. The stub's own ``c`` and detaching would leave QEMU and
    QMP of two minds about that.
    """
    path = directory / "gdb"
    path.unlink(missing_ok=True)
    said = qmp.human(f"gdbserver unix:{path},server=on,wait=off", by=by)
    try:
        with socket.socket(socket.AF_UNIX) as sock:
            try:
                sock.connect(str(path))
            except OSError as problem:
                raise RigError(f"QEMU opened no gdb stub: {said.strip() or problem}") from problem
            yield GdbStub(sock)
    finally:
        qmp.human("gdbserver none", by=by)
        path.unlink(missing_ok=True)
