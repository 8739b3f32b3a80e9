"""Which boxes are kept running, and how to ask the process that keeps one.

Each keeper listens on a Unix socket named after its box, in a directory that only this user can
enter. A connection carries one request, a JSON object on a line, and one answer in the same form:
``{"ok": …}`` or ``{"error": message, "hint": …}``. After the answer to ``console`` it carries the
console's bytes in both directions; after that to ``watch`` one more line when the box dies.
"""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from emulator import run_dir
from emulator.box_store import check_serial
from harness.deadline import Deadline
from harness.errors import BadFrame, DeadlineExpired, LinkLost, RigError

LONGEST_LINE = 256 * 1024
_SUFFIX = ".keeper"


def address(serial: str) -> Path:
    """Where the keeper of this box listens, if there is one."""
    return run_dir.base() / f"{check_serial(serial)}{_SUFFIX}"


def kept() -> list[str]:
    """Serial numbers of the boxes that are kept running, sorted. Dead sockets are removed."""
    paths = sorted(run_dir.base().glob(f"TB-*{_SUFFIX}"))
    return [path.name.removesuffix(_SUFFIX) for path in paths if _answers(path)]


def is_kept(serial: str) -> bool:
    return _answers(address(serial))


def connect(
    serial: str, request: Mapping[str, object], *, by: Deadline
) -> tuple[socket.socket, Any]:
    """A connection on which ``request`` was answered, and what the answer holds.

    Raises RigError with the keeper's words when it refuses or when nobody keeps the box, LinkLost
    when it ends, BadFrame, DeadlineExpired. The caller closes the connection.
    """
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    doing = f"the keeper of {serial} to {request['do']}"
    try:
        sock.settimeout(by.left(doing))
        try:
            sock.connect(str(address(serial)))
        except OSError as exc:
            raise RigError(
                f"{serial} is not kept running",
                hint=f"Start it: trustbox emulator start --serial {serial}",
            ) from exc
        try:
            sock.sendall(json.dumps(request).encode() + b"\n")
            answer = json.loads(read_line(sock, doing, by=by))
        except OSError as exc:
            raise LinkLost(f"the keeper of {serial} went away") from exc
        except ValueError as exc:
            raise BadFrame(f"the keeper of {serial} does not answer in JSON") from exc
        if not isinstance(answer, dict) or ("ok" not in answer and "error" not in answer):
            raise BadFrame(f"the keeper of {serial} answers neither ok nor error")
        if "error" in answer:
            raise RigError(str(answer["error"]), hint=str(answer.get("hint", "")))
        sock.settimeout(None)
    except BaseException:
        sock.close()
        raise
    return sock, answer["ok"]


def ask(serial: str, do: str, *, by: Deadline, **details: object) -> Any:
    """One request and its answer. Raises as ``connect``."""
    sock, answer = connect(serial, {"do": do, **details}, by=by)
    sock.close()
    return answer


def read_line(sock: socket.socket, waiting_for: str, *, by: Deadline) -> bytes:
    """Bytes up to a line end, and not one more: what follows belongs to somebody else."""
    line = bytearray()
    while not line.endswith(b"\n"):
        sock.settimeout(by.left(waiting_for))
        try:
            waiting = sock.recv(LONGEST_LINE, socket.MSG_PEEK)
        except TimeoutError as exc:
            raise DeadlineExpired(waiting_for, by.seconds) from exc
        if not waiting:
            raise ConnectionResetError("closed in mid-line")
        end = waiting.find(b"\n")
        line += sock.recv(end + 1 if end >= 0 else len(waiting))
        if len(line) > LONGEST_LINE:
            raise BadFrame(f"a line of more than {LONGEST_LINE} bytes")
    return bytes(line)


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        try:
            sock.connect(str(path))
        except ConnectionRefusedError:
            with contextlib.suppress(OSError):
                path.unlink()  # its keeper was killed
            return False
        except OSError:
            return False
    return True
