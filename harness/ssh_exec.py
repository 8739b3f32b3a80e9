"""Running one command over an SSH channel: both streams drained, input sent meanwhile, bounded.

The remote shell announces its process id and then becomes the program (``exec``): so a signal that
ends it is reported as such, and a command that ran out of time can be killed.
"""

from __future__ import annotations

import contextlib
import re
import shlex
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import paramiko
import tenacity

from harness.deadline import Deadline
from harness.errors import DeadlineExpired, DeviceRefused, Misuse, TrustBoxError
from harness.ssh_transport import hang_up, lost
from harness.vitals import Vitals

MOST_OUTPUT = 64 * 1024 * 1024
LONGEST_COMMAND = 128 * 1024 - 64
"""Linux MAX_ARG_STRLEN, less our prefix: sshd hands the whole line to a shell as one argument."""
QUIET_SECONDS = 2.0
SLICE_SECONDS = 0.5
KILL_SECONDS = 5.0
KILL_WAIT_SECONDS = 1.0
SESSION_SECONDS = 2.0
_ANNOUNCED = re.compile(rb"\A(\d{1,10})\n")


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended, and all that it wrote."""

    status: int
    stdout: bytes
    stderr: bytes


def command_line(argv: tuple[str, ...]) -> bytes:
    """argv, quoted for any POSIX shell. Raises Misuse for what no exec can pass."""
    if not argv or not argv[0] or argv[0].startswith("-"):
        raise Misuse("a command needs a program name that does not begin with a dash")
    if any("\0" in word for word in argv):
        raise Misuse("a command's words cannot hold a NUL character")
    # The name is always quoted: bare, A=b would be an assignment.
    name = "'" + argv[0].replace("'", "'\"'\"'") + "'"
    line = f"{name} {shlex.join(argv[1:])}".encode(errors="surrogateescape")
    if len(line) > LONGEST_COMMAND:
        raise Misuse(
            f"the command line has {len(line)} bytes, at most {LONGEST_COMMAND} fit",
            hint="Send long data by stdin or write it to a file.",
        )
    return line


class NoMoreSessions(DeviceRefused):
    """The server limits how many commands and streams run at once, and they do."""


def open_channel(
    transport: paramiko.Transport, vitals: Vitals, *, by: Deadline
) -> paramiko.Channel:
    """A session channel. Nothing is asked of the box yet.

    A server that has no session left is tried for 2 s, because one that was closed counts until
    its program is gone. Raises NoMoreSessions, EOFError or SSHException when the connection turns
    out to be broken, BoxDied, DeadlineExpired.
    """
    patience = by.sooner(SESSION_SECONDS)
    for attempt in tenacity.Retrying(
        stop=lambda state: patience.expired,
        wait=tenacity.wait_fixed(0.05),
        retry=tenacity.retry_if_exception_type(NoMoreSessions),
        reraise=True,
    ):
        with attempt:
            return _open_channel(transport, vitals, by)
    raise AssertionError("tenacity ends by returning or raising")  # pragma: no cover


def _open_channel(transport: paramiko.Transport, vitals: Vitals, by: Deadline) -> paramiko.Channel:
    try:
        return transport.open_session(timeout=by.left("a new SSH session"))
    except paramiko.ChannelException as refused:
        raise NoMoreSessions(
            f"the box's SSH server opens no further session: {refused.text}",
            hint="Its MaxSessions setting limits how many commands and streams run at once.",
        ) from refused
    except paramiko.SSHException:
        vitals.check()
        by.left("a new SSH session")
        raise


def start(
    transport: paramiko.Transport,
    channel: paramiko.Channel,
    line: bytes,
    vitals: Vitals,
    *,
    by: Deadline,
) -> None:
    """Ask for the program to be run. Raises LinkLost, BoxDied, DeadlineExpired, DeviceRefused."""
    what = line.decode(errors="replace")
    with _closed_at(channel, by, what):
        try:
            channel.exec_command(line)
        except (OSError, EOFError, paramiko.SSHException) as problem:
            vitals.check()
            by.left(f"{what} to start")
            if transport.is_active():
                raise DeviceRefused(f"the box refuses to run {what[:200]}") from problem
            raise lost(vitals, what, problem) from problem


@contextlib.contextmanager
def _closed_at(channel: paramiko.Channel, by: Deadline, what: str) -> Iterator[None]:
    """exec_command() waits for its answer without a time-out; closing the channel wakes it."""
    timer = threading.Timer(by.left(f"{what} to start"), channel.close)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def execute(
    transport: paramiko.Transport,
    channel: paramiko.Channel,
    argv: tuple[str, ...],
    *,
    stdin: bytes,
    vitals: Vitals,
    by: Deadline,
    most: int = MOST_OUTPUT,
) -> Ended:
    """Run ``argv`` to its end on a fresh channel, which is closed afterwards.

    What the program leaves running in the background is waited for while it writes, and 2 s
    longer. Raises LinkLost, BoxDied, DeadlineExpired (the program is killed), DeviceRefused when
    the output exceeds ``most`` bytes (killed too).
    """
    what = shlex.join(argv)
    wake = threading.Event()
    channel.in_buffer.set_event(wake)
    channel.in_stderr_buffer.set_event(wake)
    out, err = bytearray(), bytearray()
    try:
        start(transport, channel, b"echo $$ >&2; exec " + command_line(argv), vitals, by=by)
        feeder = threading.Thread(target=_feed, args=(channel, stdin), daemon=True)
        feeder.start()
        try:
            _drain(channel, wake, out, err, what, vitals, by, most)
        except (DeadlineExpired, DeviceRefused) as problem:
            hang_up(channel)
            if isinstance(problem, DeadlineExpired):
                vitals.examine()  # on a box that is gone there is nothing to kill
            _kill(transport, bytes(err[:16]))
            raise
    finally:
        hang_up(channel)
    status = channel.exit_status
    if status < 0:
        raise lost(vitals, what)
    return Ended(status, bytes(out), _ANNOUNCED.sub(b"", bytes(err), count=1))


def _feed(channel: paramiko.Channel, stdin: bytes) -> None:
    with contextlib.suppress(OSError, EOFError, paramiko.SSHException):  # it need not read it
        if stdin:
            channel.sendall(stdin)
        channel.shutdown_write()


def _drain(
    channel: paramiko.Channel,
    wake: threading.Event,
    out: bytearray,
    err: bytearray,
    what: str,
    vitals: Vitals,
    by: Deadline,
    most: int,
) -> None:
    quiet: Deadline | None = None
    while True:
        moved = False
        # Reading clears `wake`, so look again before waiting whenever something was read.
        if channel.recv_ready():
            out += channel.recv(1024 * 1024)
            moved = True
        if channel.recv_stderr_ready():
            err += channel.recv_stderr(1024 * 1024)
            moved = True
        if len(out) + len(err) > most:
            raise DeviceRefused(
                f"{what[:200]} wrote more than {most} bytes, which is the most one command may",
                hint="Let it write to a file on the box and read that in parts.",
            )
        if moved:
            quiet = None
            by.left(f"{what[:200]} to end")
            continue
        if channel.closed or channel.eof_received:
            if not channel.recv_ready() and not channel.recv_stderr_ready():
                # Its outputs are closed; it may run on. A channel that ends sets the event, too.
                while not channel.status_event.wait(
                    by.slice(f"the exit status of {what[:200]}", SLICE_SECONDS)
                ):
                    vitals.check()
                return
            continue
        vitals.check()
        if channel.status_event.is_set():
            quiet = quiet or Deadline.after(QUIET_SECONDS)
            if quiet.expired:
                return
        wake.wait(by.slice(f"{what[:200]} to end", SLICE_SECONDS))


def _kill(transport: paramiko.Transport, announced: bytes) -> None:
    """Best effort, and no longer waited for than 1 s: the caller has an error of its own to raise.

    sshd made the program a session leader, so its process group carries its number.
    """
    match = _ANNOUNCED.match(announced)
    if match is None or not transport.is_active():
        return
    killer = threading.Thread(target=_kill_group, args=(transport, match[1]), daemon=True)
    killer.start()
    killer.join(KILL_WAIT_SECONDS)


def _kill_group(transport: paramiko.Transport, group: bytes) -> None:
    by = Deadline.after(KILL_SECONDS)
    with contextlib.suppress(OSError, EOFError, paramiko.SSHException, TrustBoxError):
        channel = transport.open_session(timeout=KILL_SECONDS)
        done = threading.Event()
        channel.in_buffer.set_event(done)
        with contextlib.closing(channel):
            with _closed_at(channel, by, "kill"):
                channel.exec_command(b"kill -s KILL -- -%s 2>/dev/null" % group)
            done.wait(by.left("kill"))
