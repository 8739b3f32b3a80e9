"""The host's end of the factory port: what wakes a box with the right time and new randomness.

A restored box has its template's clock and its template's random state, in both worlds: without new
entropy every clone makes the same keys. A cold boot is little better, since OP-TEE seeds itself
from the time since reset. So the host sends both after every start, over a virtio-serial port that
exists in emulated boxes only. Lines, in order::

    box  hello        the wakeup program runs (each boot of Linux, also one the box chose)
    host wake S N H   seconds and nanoseconds since 1970; 33 * 32 bytes of entropy in hexadecimal
    box  awake        clock set, kernel reseeded, OP-TEE fed
    box  failed WHAT  it could not be woken
    box  ready        SSH and tee-supplicant are up (once for each boot)

33 because OP-TEE's Fortuna spreads events over 32 pools and reseeds only when the first one holds
64 bytes (OP-TEE core/crypto/rng_fortuna.c): with 32 nothing changes. A box that goes on from a
saved state is woken twice: it may have drawn randomness before it was saved, which empties that
pool, and of 66 events two come to it wherever they begin.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable

from harness.deadline import Deadline
from harness.errors import LinkLost, RigError
from harness.shown import printable
from harness.vitals import Vitals

ENTROPY_BYTES = 33 * 32
RESTORED_TIMES = 2
_LONGEST_LINE = 4096
_LAST_WORDS_SECONDS = 1.0


def wake_line(now_ns: int, entropy: bytes) -> bytes:
    """The line that sets the clock to ``now_ns`` (since 1970) and reseeds with ``entropy``."""
    if len(entropy) != ENTROPY_BYTES:
        raise ValueError(f"{ENTROPY_BYTES} bytes of entropy are needed, not {len(entropy)}")
    seconds, nanoseconds = divmod(now_ns, 1_000_000_000)
    return f"wake {seconds} {nanoseconds} {entropy.hex()}\n".encode()


class FactoryPort:
    """Answers every ``hello`` by itself, from a thread, for as long as the machine runs."""

    def __init__(self, sock: socket.socket, vitals: Vitals) -> None:
        """``sock`` is connected to the machine's port; it is owned and closed here."""
        self._socket = sock
        self._vitals = vitals
        self._changed = threading.Condition()
        self._send_lock = threading.Lock()
        self._woken = self._ready = 0
        self._failure = ""
        self._gone = False
        vitals.subscribe(self._wake_waiters)
        self._thread = threading.Thread(target=self._listen, name="factory-port", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Send the time and new entropy. Raises LinkLost when QEMU is gone."""
        try:
            with self._send_lock:
                self._socket.sendall(wake_line(time.time_ns(), os.urandom(ENTROPY_BYTES)))
        except OSError as exc:
            raise LinkLost("QEMU went away before the box could be woken") from exc

    def wake_restored(self, *, by: Deadline) -> None:
        """Wake a box that goes on from a saved state, until it has said so.

        Raises BoxDied, RigError, LinkLost, DeadlineExpired.
        """
        for _ in range(RESTORED_TIMES):
            self.wake()
        awake = "the box to take the time and new entropy"
        self._wait(lambda: self._woken >= RESTORED_TIMES, awake, by)

    def wait_ready(self, *, by: Deadline) -> None:
        """Until the box has said ``awake`` and ``ready``. Raises as wake_restored."""
        self._wait(lambda: self._woken > 0 and self._ready > 0, "the box to come up", by)

    def close(self) -> None:
        self._vitals.unsubscribe(self._wake_waiters)
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(timeout=5.0)
        self._socket.close()

    def _wait(self, so: Callable[[], bool], waiting_for: str, by: Deadline) -> None:
        with self._changed:
            while not so():
                self._vitals.check()
                if self._failure:
                    raise RigError(f"the box cannot be woken: {self._failure}")
                limit = by
                if self._gone:
                    # QEMU's end is about to be reported with its reason, which says more than this.
                    limit = by.sooner(_LAST_WORDS_SECONDS)
                if not self._changed.wait(limit.left(waiting_for)) and self._gone:
                    raise LinkLost(f"QEMU went away while waiting for {waiting_for}")

    def _listen(self) -> None:
        buffer = b""
        try:
            while data := self._socket.recv(4096):
                *lines, buffer = (buffer + data).split(b"\n")
                buffer = buffer[-_LONGEST_LINE:]
                for line in lines:
                    self._heard(line.strip())
        except (OSError, LinkLost):
            pass  # the same as an end of file: QEMU is gone
        self._gone = True
        self._wake_waiters()

    def _wake_waiters(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def _heard(self, line: bytes) -> None:
        """Anything that is not one of these words is the guest's own affair."""
        if line == b"hello":
            self.wake()
        with self._changed:
            if line.startswith(b"failed "):
                self._failure = printable(line[:100].decode(errors="replace"))
            self._woken += line == b"awake"
            self._ready += line == b"ready"
            self._changed.notify_all()
