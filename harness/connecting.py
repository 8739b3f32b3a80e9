"""A TCP connection within a deadline: its name's look-up and each address have a part of it."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress

from harness.deadline import Deadline
from harness.errors import DeadlineExpired, Unreachable

_Address = tuple[socket.AddressFamily, socket.SocketKind, int, object]


def connected(host: str, port: int, *, by: Deadline) -> socket.socket:
    """The first of the host's addresses that answers. One that is silent does not take the time of
    those after it.

    Raises Unreachable, DeadlineExpired.
    """
    what = f"{host}:{port}"
    addresses = _addresses(host, port, by)
    problem: OSError | None = None
    for number, (family, kind, protocol, address) in enumerate(addresses):
        tried = socket.socket(family, kind, protocol)
        try:
            tried.settimeout(by.left(f"{what} to answer") / (len(addresses) - number))
            tried.connect(address)  # type: ignore[arg-type]  # as getaddrinfo gave it
        except OSError as failed:
            tried.close()
            problem = failed
        except BaseException:
            tried.close()
            raise
        else:
            return tried
    if isinstance(problem, TimeoutError):
        raise DeadlineExpired(f"{what} to answer", by.seconds) from None
    raise Unreachable(f"{what} cannot be reached: {problem}") from problem


def _addresses(host: str, port: int, by: Deadline) -> list[_Address]:
    """getaddrinfo knows no time-out: what it does when nobody waits any more is its own affair."""
    what = f"the address of {host}"
    with suppress(OSError, UnicodeError):
        return _looked_up(host, port, socket.AI_NUMERICHOST)  # asks nobody
    found: list[list[_Address] | OSError | UnicodeError] = []

    def look() -> None:
        try:
            found.append(_looked_up(host, port, 0))
        except (OSError, UnicodeError) as problem:
            found.append(problem)

    looking = threading.Thread(target=look, name="look-up", daemon=True)
    looking.start()
    looking.join(by.left(what))
    if not found:
        raise DeadlineExpired(what, by.seconds)
    answer = found[0]
    if isinstance(answer, Exception):
        raise Unreachable(f"{what} cannot be found: {answer}") from answer
    return answer


def _looked_up(host: str, port: int, flags: int) -> list[_Address]:
    answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)
    return [(family, kind, protocol, address) for family, kind, protocol, _, address in answers]
