"""A link that the helper hears from as long as it is open: silence means that the host is gone.

A helper is root without a password for whoever is on the line. So it gives the console back to the
login when it heard nothing for 25 s (LEAVE_MS in agent/uart.c), as after a crash of this host.
"""

from __future__ import annotations

import contextlib
import threading
import time
from dataclasses import replace

from harness.errors import BoxDied, LinkLost
from harness.uart_link import UartLink

KEEP_ALIVE_SECONDS = 5.0
"""Four in a row may be lost, or late on a station that is loaded."""
UNANSWERED = 2


class KeptLink(UartLink):
    """One link on which ``keep`` was called says something each few seconds until ``close``."""

    _over: threading.Event | None = None

    def keep(self, *, every: float = KEEP_ALIVE_SECONDS) -> None:
        """Begin with that. A helper that does not answer is asked twice, and then left alone until
        it says something: the box may be about to boot, where a key stops U-Boot."""
        self._over = threading.Event()
        keeping = (self._over, every)
        threading.Thread(target=self._keep, args=keeping, name="uart-keep", daemon=True).start()

    def close(self) -> None:
        """See ``UartLink.close``."""
        if self._over is not None:
            self._over.set()
        super().close()

    def _keep(self, over: threading.Event, every: float) -> None:
        last, unanswered, pause = 0.0, 0, every
        while not over.wait(pause):
            with self._changed:
                now = time.monotonic()
                unanswered = unanswered if self._heard < last else 0
                pause = max(0.01, self._said + every - now)
                if self._said + every > now:
                    continue
                pause = every
                if self._why_lost or self._suspect or unanswered >= UNANSWERED or self._dead():
                    continue
                asked = replace(self._answer(), push=True)
                last, unanswered = now, unanswered + 1
            with contextlib.suppress(LinkLost, OSError):
                self._write([asked], block=False)

    def _dead(self) -> bool:
        try:
            self._vitals.check()
        except BoxDied:
            return True
        return False
