"""A TCP connection within a deadline: its name's look-up and each address have a part of it."""

from __future__ import annotations

import errno
import socket
import threading
from contextlib import suppress

from harness.deadline import Deadline
from harness.errors import DeadlineExpired, Unasked, Unreachable

_FAR_END = frozenset(
    {
        *(errno.ECONNREFUSED, errno.ECONNRESET, errno.ECONNABORTED, errno.EPIPE),
        *(errno.EHOSTUNREACH, errno.EHOSTDOWN, errno.ETIMEDOUT),
    }
)
"""What a host, or the network on its behalf, has answered (connect(2), ip(7)). All else kept the
question on this machine: ENETUNREACH is its own cable, EMFILE its own bound."""
_Address = tuple[socket.AddressFamily, socket.SocketKind, int, object]


class NoAddressInTime(DeadlineExpired):
    """The resolver was silent: the host itself was not asked."""


def connected(host: str, port: int, *, by: Deadline) -> socket.socket:
    """The first of the host's addresses that answers. One that is silent does not take the time of
    those after it.

    Raises Unreachable; Unasked when no address could be asked; DeadlineExpired, NoAddressInTime.
    """
    what = f"{host}:{port}"
    addresses = _addresses(host, port, by)
    problem: OSError | None = None
    asked = False
    for number, (family, kind, protocol, address) in enumerate(addresses):
        try:
            tried = socket.socket(family, kind, protocol)
        except OSError as failed:
            problem = failed if not asked else problem
            continue
        try:
            tried.settimeout(by.left(f"{what} to answer") / (len(addresses) - number))
            tried.connect(address)  # type: ignore[arg-type]  # as getaddrinfo gave it
        except OSError as failed:
            tried.close()
            theirs = isinstance(failed, TimeoutError) or failed.errno in _FAR_END
            if theirs or not asked:  # of two families, this machine may have a route for one
                problem = failed
            asked = asked or theirs
        except BaseException:
            tried.close()
            raise
        else:
            return tried
    if isinstance(problem, TimeoutError):
        raise DeadlineExpired(f"{what} to answer", by.seconds) from None
    kind_of = Unreachable if asked else Unasked
    raise kind_of(f"{what} cannot be reached: {problem}") from problem


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
        raise NoAddressInTime(what, by.seconds)
    answer = found[0]
    if isinstance(answer, Exception):
        raise Unasked(f"{what} cannot be found: {answer}") from answer
    return answer


def _looked_up(host: str, port: int, flags: int) -> list[_Address]:
    answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)
    return [(family, kind, protocol, address) for family, kind, protocol, _, address in answers]
