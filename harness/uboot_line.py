"""U-Boot's command line as a link: typed exactly, answered in a frame, or refused.

::

    +NONCE  text of the answer  =NONCE,status,status  prompt

Nothing is taken for an answer that is not framed by this exchange's nonce, and nothing is executed
that U-Boot did not echo word for word: the line is typed in runs that its 16-byte FIFO holds, each
run's echo is waited for, and only a line whose whole echo was right gets its Enter. A wrong one is
dropped with Ctrl-C, so that a lost byte costs time and never runs another command.
"""

from __future__ import annotations

import contextlib
import re
import secrets
from dataclasses import dataclass

from harness.deadline import Deadline
from harness.errors import BadFrame, DeadlineExpired, LinkLost, Misuse
from harness.shown import printable
from harness.target import Console

RUN = 8
"""Characters sent before their echo is waited for: half of a 16550's receive FIFO."""
LONGEST_LINE = 240
"""Below CONFIG_SYS_CBSIZE, which is 256 at least."""
MOST_OUTPUT = 256 * 1024
ECHO_SECONDS = 2.0
QUIET_SECONDS = 0.3
TRIES = 4
COUNTDOWN = b"Hit any key to stop autoboot"

_ANYTHING = re.compile(rb".+", re.DOTALL)
_INTERRUPT, _ENTER = b"\x03", b"\r"
_CONTINUED = b"\r\n> "
"""U-Boot's shell wants the rest of a command (CONFIG_SYS_PROMPT_HUSH_PS2)."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command printed, with ``\\n`` for line ends, and its status."""

    command: str
    status: int
    text: str


class UBootLine:
    """A console with U-Boot's prompt ``prompt`` on it. ``heard`` is what came and was not used."""

    def __init__(self, console: Console, prompt: bytes) -> None:
        self.console, self.prompt = console, prompt
        self.heard = bytearray()
        with contextlib.suppress(LinkLost):
            self.listen(Deadline.after(0))  # what was said before is no answer to us
        self.heard.clear()

    def exchange(self, command: str, by: Deadline, *, idle: float) -> Answer:
        """Run ``command`` once. ``idle``: seconds of silence after which its end is taken for lost.

        Raises Misuse, BadFrame, LinkLost and DeadlineExpired, as ``UBoot.run`` says.
        """
        nonce = secrets.token_hex(4)
        line = f"echo +{nonce}; {command}; echo ={nonce},$?,$?"
        self.type(line, by)
        self.console.send(_ENTER)
        end = re.compile(rb"=" + nonce.encode() + rb",(\d{1,3}),\1\r\n" + re.escape(self.prompt))
        while not (found := end.search(self.heard)):
            if len(self.heard) > MOST_OUTPUT:
                raise BadFrame(f"U-Boot's {command!r} printed more than {MOST_OUTPUT} bytes")
            if COUNTDOWN in self.heard:
                raise LinkLost(f"U-Boot restarted under {command!r}")
            by.left(f"the end of U-Boot's {command!r}")
            waits = self.heard.endswith((b"\r\n" + self.prompt, _CONTINUED))
            if waits and self.silent(by):
                said = printable(self.heard[-200:].decode(errors="replace")).strip()
                self.settle(by)
                raise BadFrame(f"U-Boot did not run {command!r} to its end: {said!r}")
            if self.silent(by, idle):
                raise BadFrame(f"the end of the answer to U-Boot's {command!r} is missing")
        begin = b"\r\n+" + nonce.encode() + b"\r\n"
        if not self.heard.startswith(begin) or found.end() != len(self.heard):
            raise BadFrame(f"the answer to U-Boot's {command!r} is damaged")
        body = bytes(self.heard[len(begin) : found.start()])
        return Answer(command, int(found[1]), _text(body, command))

    def leave(self, command: str, by: Deadline) -> None:
        """Give an order after which U-Boot is gone; returns when it was taken.

        Enter again when nothing came back: it is lost, or the order is being obeyed.
        """
        self.type(command, by)
        for _ in range(TRIES):
            self.console.send(_ENTER)
            if not self.silent(by, ECHO_SECONDS):
                return
        raise BadFrame(f"U-Boot does not take {command!r}")

    def type(self, line: str, by: Deadline) -> None:
        """Put ``line`` on U-Boot's command line, exactly; leave the Enter to the caller."""
        if not line.isascii() or not line.isprintable() or len(line) > LONGEST_LINE:
            raise Misuse(f"this cannot be typed to U-Boot: {line[:80]!r}")
        for _ in range(TRIES):
            if self._echoed(line.encode("ascii"), by):
                return
            self.settle(by)
        raise BadFrame(f"U-Boot does not echo what is typed, in {TRIES} tries: {line[:80]!r}")

    def _echoed(self, line: bytes, by: Deadline) -> bool:
        self.heard.clear()
        for start in range(0, len(line), RUN):
            wanted = line[: start + RUN]
            self.console.send(line[start : start + RUN])
            patience = by.sooner(ECHO_SECONDS)
            while len(self.heard) < len(wanted) and not patience.expired:
                self.listen(patience)
            by.left("U-Boot's echo")
            if self.heard != wanted:
                return False
        self.heard.clear()
        return True

    def settle(self, by: Deadline) -> None:
        """An empty line at the prompt, and silence: a fresh start for the next exchange."""
        for _ in range(TRIES):
            self.heard.clear()
            self.console.send(_INTERRUPT)
            patience = by.sooner(ECHO_SECONDS)
            while not self.heard.endswith(b"\n" + self.prompt) and not patience.expired:
                self.listen(patience)
            quiet = self.silent(by)
            if quiet and self.heard.endswith(b"\n" + self.prompt):
                self.heard.clear()
                return
            by.left("U-Boot's prompt")
        raise BadFrame("U-Boot shows no prompt on its console")

    def silent(self, by: Deadline, seconds: float = QUIET_SECONDS) -> bool:
        """Whether nothing came for that long; what came is kept."""
        before = len(self.heard)
        self.listen(by.sooner(seconds))
        return len(self.heard) == before

    def listen(self, until: Deadline) -> None:
        """Take what has come, waiting for a byte at most ``until``."""
        try:
            self.heard += self.console.expect(_ANYTHING, by=until)[0]
        except DeadlineExpired:
            return


def _text(body: bytes, command: str) -> str:
    """U-Boot prints ASCII, and a carriage return before each line end."""
    text = body.replace(b"\r\n", b"\n")
    if b"\r" in text or not all(byte in b"\n\t" or 32 <= byte < 127 for byte in text):
        raise BadFrame(f"the answer to U-Boot's {command!r} has bytes that U-Boot does not print")
    return text.decode("ascii")
