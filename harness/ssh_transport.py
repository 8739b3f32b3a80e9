"""One authenticated SSH connection to a pinned host: socket, key exchange, host key, login.

Nothing is trusted on first use: the host key in the Endpoint is the only one accepted, no agent, no
``known_hosts`` and no key of the user's own is looked at.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import select
import signal
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass

import paramiko
import tenacity
from paramiko.common import MSG_CHANNEL_REQUEST

from harness.config_secret import asked
from harness.connecting import NoAddressInTime, connected
from harness.deadline import Deadline
from harness.errors import (
    DeadlineExpired,
    DeviceRefused,
    LinkLost,
    Misuse,
    NetworkFailed,
    Unasked,
    Unreachable,
    UntrustedHost,
)
from harness.holding import Endpoint
from harness.vitals import Vitals
from harness.wire import quiet_library

BANNER_SECONDS = 5.0
KEEPALIVE_SECONDS = 10
SETTLE_SECONDS = 0.5
UNANSWERED_MILLISECONDS = 15_000
# Cheap on a small or emulated CPU first; the rest of what paramiko offers stays as a fallback.
KEX_FIRST = ("ecdh-sha2-nistp256", "curve25519-sha256@libssh.org")
CIPHERS_FIRST = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "aes128-ctr")


class _NotYet(Exception):
    """Nobody answers properly yet: worth another try before the deadline."""


class _NotAsked(_NotYet):
    """This machine could not ask; it may before the deadline."""


class SignalNotingTransport(paramiko.Transport):
    """Keeps the ``exit-signal`` of RFC 4254 6.10, which paramiko drops, as the channel's status."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock)
        self._channel_handler_table = {
            **paramiko.Transport._channel_handler_table,  # type: ignore[attr-defined]
            MSG_CHANNEL_REQUEST: _note_signal,
        }


def _note_signal(channel: paramiko.Channel, message: paramiko.Message) -> None:
    start = message.packet.tell()
    if message.get_text() == "exit-signal":
        message.get_boolean()
        name = message.get_text()
        number = getattr(signal.Signals.__members__.get(f"SIG{name}"), "value", 0)
        channel.exit_status = 128 + number
        channel.status_event.set()
        return
    message.packet.seek(start)
    channel._handle_request(message)  # type: ignore[attr-defined]


@dataclass(frozen=True, slots=True)
class Connection:
    """A logged-in transport and its socket."""

    transport: paramiko.Transport
    socket: socket.socket

    @property
    def alive(self) -> bool:
        """False as soon as the far end has hung up, even if paramiko's thread has yet to see it.

        On a busy machine that thread may be late; what is sent meanwhile would be lost.
        """
        return self.transport.is_active() and not _hung_up(self.socket)

    def cut(self) -> None:
        """Break it from any thread, without waiting: all that waits on it ends at once."""
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self.cut()
        self.transport.close()


def _hung_up(sock: socket.socket) -> bool:
    poll = select.poll()
    try:
        poll.register(sock, select.POLLIN)
        return bool(poll.poll(0)) and not sock.recv(1, socket.MSG_PEEK)
    except TimeoutError:
        return False  # paramiko's thread has read in between what was there
    except (OSError, ValueError):
        return True  # reset, or closed on our side


def connect(endpoint: Callable[[], Endpoint], vitals: Vitals, *, by: Deadline) -> Connection:
    """Try until it works or the deadline comes; ``endpoint`` is asked anew for each try.

    Raises UntrustedHost and DeviceRefused (login) at once, BoxDied, Misuse for a bad key file,
    Unreachable when time ran out (with the last thing that went wrong), NetworkFailed when that was
    this machine's own.
    """
    reason = where = "no time was left to connect"
    kind, tried = _NotYet, False
    try:
        for attempt in tenacity.Retrying(
            stop=lambda state: by.expired,
            wait=tenacity.wait_exponential_jitter(multiplier=0.05, max=0.5, jitter=0.05),
            retry=tenacity.retry_if_exception_type(_NotYet),
            reraise=True,
        ):
            with attempt:
                vitals.check()
                if by.expired:
                    raise kind(reason)
                asked = endpoint()
                where = f"{asked.host}:{asked.port}"
                try:
                    return _connect_once(asked, _pinned_key(asked), vitals, by)
                except _NotYet as problem:
                    if not tried or not _cut_short(problem, by):
                        reason, kind, tried = str(problem), type(problem), True
                    raise kind(reason) from problem
    except _NotYet as last:
        vitals.check()
        if isinstance(last, _NotAsked):
            raise NetworkFailed(where, str(last)) from last
        raise Unreachable(
            f"{where} did not answer as an SSH server within {by.seconds:.1f} s: {last}"
        ) from last
    raise AssertionError("tenacity ends by returning or raising")  # pragma: no cover


def _cut_short(problem: _NotYet, by: Deadline) -> bool:
    """A look-up that the deadline ended says less than the try before it."""
    return by.expired and isinstance(problem.__cause__, NoAddressInTime)


def _connect_once(
    endpoint: Endpoint, pinned: tuple[str, bytes], vitals: Vitals, by: Deadline
) -> Connection:
    where = f"{endpoint.host}:{endpoint.port}"
    by.left(where)
    try:
        sock = connected(endpoint.host, endpoint.port, by=by.sooner(5.0))
    except (Unasked, NoAddressInTime) as problem:
        raise _NotAsked(problem.message) from problem
    except (Unreachable, DeadlineExpired) as problem:
        raise _NotYet(str(problem.__cause__ or problem)) from problem
    connection: Connection | None = None
    try:
        sock.settimeout(None)
        # Nagle costs 40 ms on each of two commands that follow each other closely.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # A box without power sends no goodbye: the kernel gives up on unanswered bytes for us.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNANSWERED_MILLISECONDS)
        connection = Connection(_transport(sock, pinned[0], by), sock)
        vitals.subscribe(connection.cut)
        _agree(connection.transport, where, by)
        _check_host(connection.transport, where, pinned)
        _log_in(connection.transport, endpoint, where, by)
        connection.transport.set_keepalive(KEEPALIVE_SECONDS)
    except BaseException:
        if connection is not None:
            vitals.unsubscribe(connection.cut)
            connection.close()
        sock.close()
        raise
    vitals.unsubscribe(connection.cut)
    return connection


def _transport(sock: socket.socket, key_type: str, by: Deadline) -> paramiko.Transport:
    transport = SignalNotingTransport(sock)
    transport.daemon = True
    transport.set_log_channel(quiet_library())
    transport.banner_timeout = by.slice("the SSH banner", BANNER_SECONDS)
    options = transport.get_security_options()
    options.kex = _first(KEX_FIRST, tuple(options.kex))
    options.ciphers = _first(CIPHERS_FIRST, tuple(options.ciphers))
    wanted = ("rsa-sha2-512", "rsa-sha2-256") if key_type == "ssh-rsa" else (key_type,)
    options.key_types = _first(wanted, tuple(options.key_types))
    return transport


def _first(wanted: tuple[str, ...], offered: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name for name in wanted if name in offered) + tuple(
        name for name in offered if name not in wanted
    )


def _agree(transport: paramiko.Transport, where: str, by: Deadline) -> None:
    done = threading.Event()
    transport.start_client(event=done)
    done.wait(by.left(f"the SSH key exchange with {where}"))
    if not done.is_set() or not transport.is_active():
        raise _NotYet(str(transport.get_exception() or "the key exchange was cut short"))


def _check_host(transport: paramiko.Transport, where: str, pinned: tuple[str, bytes]) -> None:
    offered = transport.get_remote_server_key().asbytes()
    if offered != pinned[1]:
        raise UntrustedHost(where, pinned=fingerprint(pinned[1]), offered=fingerprint(offered))


def _log_in(transport: paramiko.Transport, endpoint: Endpoint, where: str, by: Deadline) -> None:
    done = threading.Event()
    if endpoint.client_key is not None:
        transport.auth_publickey(endpoint.user, _client_key(endpoint), event=done)
    elif endpoint.password is not None:
        secret = asked(endpoint.password, by=by).reveal().decode(errors="replace")
        transport.auth_password(endpoint.user, secret, event=done, fallback=False)
    else:
        raise Misuse(f"{where} has neither a client key nor a password")
    done.wait(by.left(f"the login to {where}"))
    if transport.is_authenticated():
        return
    problem = transport.get_exception()
    said_no = problem is None and done.is_set() and transport.is_active()
    if said_no or isinstance(problem, paramiko.AuthenticationException):
        raise DeviceRefused(
            f"{where} does not let {endpoint.user} log in with the configured credentials",
            hint="Check the user name and the key file or password of this target.",
        ) from problem
    if not done.is_set():
        by.left(f"the login to {where}")
    raise _NotYet(str(problem or "the login was cut short"))


def _client_key(endpoint: Endpoint) -> paramiko.PKey:
    path = endpoint.client_key
    try:
        return paramiko.PKey.from_path(str(path))
    except (OSError, paramiko.SSHException, ValueError, TypeError) as problem:
        raise Misuse(f"the SSH key {path} cannot be used: {problem}") from problem


def _pinned_key(endpoint: Endpoint) -> tuple[str, bytes]:
    words = endpoint.host_key.split()
    try:
        if len(words) >= 2:
            return words[0], base64.b64decode(words[1], validate=True)
    except binascii.Error:
        pass
    raise Misuse(
        f"the pinned host key of {endpoint.host}:{endpoint.port} is not of the form 'type base64'",
        hint="It is a line of known_hosts without the host, as ssh-keyscan prints it.",
    )


def hang_up(channel: paramiko.Channel) -> None:
    """Close it; on a connection that was cut meanwhile there is nobody left to tell."""
    with contextlib.suppress(EOFError, OSError, paramiko.SSHException):
        channel.close()


def fingerprint(key: bytes) -> str:
    """As ``ssh-keygen -l`` prints it: ``SHA256:`` and base64 without padding."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(key).digest()).decode().rstrip("=")


def lost(vitals: Vitals, doing: str, problem: BaseException | None = None) -> LinkLost:
    """The error for a connection that broke while ``doing``; BoxDied instead if the box died."""
    vitals.settle(SETTLE_SECONDS)
    vitals.check()
    reason = f": {problem}" if problem and str(problem) else ""
    return LinkLost(f"the SSH connection broke during {doing[:200]}{reason}")
