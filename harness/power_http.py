"""A power switch that is asked over HTTP: a PDU's own pages, or a PDUDaemon."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator

import httpcore
import httpx

from harness.config_power import Action, HttpPower, PduDaemonPower
from harness.config_secret import asked
from harness.deadline import Deadline
from harness.errors import DeadlineExpired, RigError
from harness.shown import printable

MOST_SAID = 4096
_FORM = "application/x-www-form-urlencoded"


def ask(power: HttpPower, action: Action, *, by: Deadline) -> str:
    """One request; status 2xx is a yes. No redirect is followed, no proxy of the user's used.

    Returns the first line of the answer. Raises RigError, DeadlineExpired, and Misuse when the
    password cannot be had.
    """
    body = power.body.replace("{action}", action) if power.body is not None else None
    auth: httpx.Auth | None = None
    if power.user and power.password is not None:
        auth = httpx.BasicAuth(power.user, asked(power.password, by=by).reveal())
    return _request(power.method, power.urls[action], body, auth, by)


def ask_pdudaemon(power: PduDaemonPower, action: Action, *, by: Deadline) -> str:
    """GET /power/control/on or off. The daemon answers when the job is queued, not when it is done;
    without ``delay=0`` it would wait for another 5 s (PDUDaemon README, listener.py)."""
    query = {"delay": "0"}
    if power.alias:
        query |= {"alias": power.alias}
    else:
        query |= {"hostname": power.hostname, "port": power.port}
    url = httpx.URL(f"{power.url}/power/control/{action}", params=query)
    return _request("GET", str(url), None, None, by)


@contextlib.contextmanager
def _bounded(by: Deadline) -> Iterator[dict[str, object]]:
    """Request extensions that end its connection when time is up.

    httpx's time-outs are for one read each: a switch that drips its headers would outlive them all.
    The connection is heard of from httpcore's trace extension; its socket is duplicated, since TLS
    takes the original apart.
    """
    connections: list[socket.socket] = []

    def trace(event: str, about: dict[str, object]) -> None:
        if event == "connection.connect_tcp.complete":
            stream = about["return_value"]
            assert isinstance(stream, httpcore.NetworkStream)  # noqa: S101 - as documented
            connections.append(stream.get_extra_info("socket").dup())

    def end() -> None:
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(by.left("the power switch"), end)
    timer.daemon = True
    timer.start()
    try:
        yield {"trace": trace}
    finally:
        timer.cancel()
        timer.join()
        for connection in connections:
            connection.close()


def _request(method: str, url: str, body: str | None, auth: httpx.Auth | None, by: Deadline) -> str:
    where = str(httpx.URL(url).copy_with(query=None))
    what = f"the power switch at {where}"
    headers = {}
    if body is not None:
        form = "application/json" if body.lstrip().startswith("{") else _FORM
        headers["Content-Type"] = form
    said = bytearray()
    try:
        with (
            _bounded(by) as watched,
            httpx.Client(timeout=by.left(what), trust_env=False, auth=auth) as client,
            client.stream(method, url, content=body, headers=headers, extensions=watched) as answer,
        ):
            for piece in answer.iter_bytes():
                said += piece
                by.left(what)
                if len(said) >= MOST_SAID:
                    break
            status = answer.status_code
    except httpx.TimeoutException as problem:
        raise DeadlineExpired(what, by.seconds) from problem
    except (httpx.HTTPError, httpx.InvalidURL) as problem:
        if by.expired:
            raise DeadlineExpired(what, by.seconds) from problem
        raise RigError(f"{what} cannot be asked: {problem or type(problem).__name__}") from problem
    line = printable((bytes(said[:MOST_SAID]).decode(errors="replace").splitlines() or [""])[0])
    if not 200 <= status < 300:
        raise RigError(f"{what} answered {status}: {line[:200] or 'no words'}")
    return line[:200]
