"""A port of the loopback that stays one's own while nobody listens there.

A number that was free a moment ago may be somebody else's by the time it is needed: the kernel
gives it to whoever asks for any port, and to connections that go out.
"""

from __future__ import annotations

import socket


def held_port() -> socket.socket:
    """Bound and never listening, until it is closed: nobody else is given the number, who connects
    is refused, and ``socket.create_server`` may listen there (both have SO_REUSEADDR).
    """
    holder = socket.socket()
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    holder.bind(("127.0.0.1", 0))
    return holder
