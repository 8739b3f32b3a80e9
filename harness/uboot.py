"""U-Boot's command line on a UART: catch it, ask it, let it go on.

::

    keys until the prompt --> echo +N; COMMAND; echo =N,$?  --> text between the frames, status

Nothing is taken for an answer that is not framed by this exchange's nonce, and nothing is executed
that U-Boot did not echo word for word: the line is typed in runs that its 16-byte FIFO holds, each
run's echo is waited for, and only a line whose whole echo was right gets its Enter. A wrong one is
dropped with Ctrl-C, so that a lost byte costs time and never runs another command.
"""

from __future__ import annotations

import contextlib
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass

from harness.deadline import Deadline
from harness.errors import BadFrame, DeadlineExpired, DeviceRefused, LinkLost, Misuse
from harness.recording import printable
from harness.target import Console
from harness.uboot_answers import parse_environment, parse_words

PROMPT = b"=> "
"""Of Layerscape boards and of QEMU's: CONFIG_SYS_PROMPT's default."""
RUN = 8
"""Characters sent before their echo is waited for: half of a 16550's receive FIFO."""
LONGEST_LINE = 240
"""Below CONFIG_SYS_CBSIZE, which is 256 at least."""
MOST_OUTPUT = 256 * 1024
KEY_SECONDS = 0.05
ECHO_SECONDS = 2.0
QUIET_SECONDS = 0.3
IDLE_SECONDS = 2.0
"""What only reads answers at once."""
TRIES = 4

_ANYTHING = re.compile(rb".+", re.DOTALL)
_INTERRUPT = b"\x03"
_BANNER = re.compile(rb"(?<![ -~])U-Boot (\d{4}\.\d\d[ -~]{0,120})")
_COUNTDOWN = b"Hit any key to stop autoboot"
_CONTINUED = b"\r\n> "
"""U-Boot's shell wants the rest of a command (CONFIG_SYS_PROMPT_HUSH_PS2)."""
_GONE = b"\nStarting kernel ..."
_BEGUN = re.compile(rb"U-Boot \d{4}\.\d\d|" + _COUNTDOWN)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command printed, with ``\\n`` for line ends, and its status."""

    command: str
    status: int
    text: str


class UBoot:
    """One U-Boot on one console. One thread at a time; the console must be nobody else's now.

    Create it before the box gets power, ``catch`` while it boots. All methods raise BoxDied,
    LinkLost and DeadlineExpired as the console does.
    """

    def __init__(self, console: Console, *, prompt: bytes = PROMPT, stop_key: bytes = b" ") -> None:
        self._console, self._prompt, self._stop_key = console, prompt, stop_key
        self._heard = bytearray()
        self._said_before = b""
        with contextlib.suppress(LinkLost):
            self._listen(Deadline.after(0))  # what was said before is no answer to us
        self._heard.clear()

    @property
    def said_before(self) -> str:
        """What the firmware printed until the prompt; printable, one line per line."""
        text = self._said_before.decode(errors="replace")
        return "\n".join(printable(line) for line in text.splitlines())

    @property
    def version(self) -> str | None:
        """U-Boot's own greeting, None when it came before we listened."""
        found = _BANNER.findall(self._said_before)
        return printable(found[-1].decode("ascii")).strip() if found else None

    def catch(self, *, by: Deadline, check: Callable[[], None] = lambda: None) -> None:
        """Press the stop key until U-Boot shows its prompt, then make sure that it answers.

        No key is sent before U-Boot greets: an earlier one could stop something else. U-Boot takes
        a key that waits even with a countdown of 0 s (bootdelay=0), and none with bootdelay=-2
        (U-Boot common/autoboot.c): DeviceRefused when it boots on all the same. ``check`` is called
        again and again, to raise when waiting is of no use. DeadlineExpired says what came last.
        """
        keys = re.escape(self._stop_key)
        prompt = re.compile(rb"\n" + re.escape(self._prompt) + rb"(?:" + keys + rb")*\Z")
        begun = False
        while not prompt.search(self._heard):
            check()
            if by.expired:
                stage = "U-Boot's prompt" if begun else "U-Boot's greeting"
                last = printable(self._heard[-200:].decode(errors="replace")).strip()
                raise DeadlineExpired(f"{stage}; the last that came was {last!r}", by.seconds)
            begun = begun or _BEGUN.search(self._heard) is not None
            if begun and _GONE in self._heard:
                raise DeviceRefused(
                    "U-Boot did not stop for a key: it went on and started the kernel",
                    hint="Its variable bootdelay must be 1 at least for a countdown to stop it in.",
                )
            if begun:
                self._console.send(self._stop_key)
                self._listen(by.sooner(KEY_SECONDS))
                continue
            # An emulated box has no line while it is off.
            with contextlib.suppress(LinkLost):
                self._listen(by.sooner(KEY_SECONDS))
        self._said_before = bytes(self._heard)
        self._settle(by)

    def run(self, command: str, *, by: Deadline, check: bool = True) -> Answer:
        """Run ``command`` (one line of U-Boot's shell) once, and return what it printed.

        Raises Misuse when it cannot be typed, DeviceRefused when ``check`` and its status is not
        0, BadFrame when its answer is damaged and LinkLost when U-Boot restarted meanwhile: then
        it did run, and its outcome is not known. A byte that changed inside the answer is not
        noticed: ``read`` notices it.
        """
        answer = self._exchange(command, by, idle=by.seconds)
        return _checked(answer) if check else answer

    def read(self, command: str, *, by: Deadline, check: bool = True) -> Answer:
        """``run`` for what only reads: repeated until two answers in a row are the same.

        For commands that answer at once. Raises BadFrame when there are none in five.
        """
        before: Answer | None = None
        for _ in range(TRIES + 1):
            try:
                answer = self._exchange(command, by, idle=IDLE_SECONDS)
            except BadFrame:
                self._settle(by)
                before = None
                continue
            if answer == before:
                return _checked(answer) if check else answer
            before = answer
        raise BadFrame(f"no two answers to U-Boot's {command!r} were the same")

    def environment(self, *, by: Deadline) -> dict[str, str]:
        """Every variable. Raises BadFrame when the answer cannot be read without doubt."""
        answer = self.read("printenv", by=by)
        try:
            return parse_environment(answer.text)
        except ValueError as problem:
            raise BadFrame(f"U-Boot's environment: {problem}") from problem

    def words(self, address: int, count: int, *, by: Deadline) -> tuple[int, ...]:
        """``count`` 32-bit words at ``address``, as this processor reads them (little-endian).

        Reading where nothing is ends U-Boot with a synchronous abort: know the SoC first. Raises
        Misuse for an address that is not on a word, BadFrame.
        """
        if address % 4 or not 0 <= address < 1 << 40 or not 0 < count <= 256:
            raise Misuse(f"cannot read {count} words at 0x{address:x}")
        answer = self.read(f"md.l 0x{address:x} 0x{count:x}", by=by)
        try:
            return parse_words(answer.text, address, count)
        except ValueError as problem:
            raise BadFrame(f"U-Boot's memory at 0x{address:x}: {problem}") from problem

    def boot(self, *, by: Deadline) -> None:
        """Go on with what autoboot would have done; returns when U-Boot took the order."""
        self._leave("boot", by)

    def reset(self, *, by: Deadline) -> None:
        """Restart the box; returns when U-Boot took the order."""
        self._leave("reset", by)

    def _exchange(self, command: str, by: Deadline, *, idle: float) -> Answer:
        """``idle``: seconds of silence after which the answer's end is taken for lost."""
        nonce = secrets.token_hex(4)
        line = f"echo +{nonce}; {command}; echo ={nonce},$?"
        self._type(line, by)
        self._console.send(b"\r")
        end = re.compile(rb"=" + nonce.encode() + rb",(\d{1,3})\r\n" + re.escape(self._prompt))
        while not (found := end.search(self._heard)):
            if len(self._heard) > MOST_OUTPUT:
                raise BadFrame(f"U-Boot's {command!r} printed more than {MOST_OUTPUT} bytes")
            if _COUNTDOWN in self._heard:
                raise LinkLost(f"U-Boot restarted under {command!r}")
            by.left(f"the end of U-Boot's {command!r}")
            waits = self._heard.endswith((b"\r\n" + self._prompt, _CONTINUED))
            if waits and self._silence(by):
                said = printable(self._heard[-200:].decode(errors="replace")).strip()
                self._settle(by)
                raise BadFrame(f"U-Boot did not run {command!r} to its end: {said!r}")
            if self._silence(by, idle):
                raise BadFrame(f"the end of the answer to U-Boot's {command!r} is missing")
        begin = b"\r\n+" + nonce.encode() + b"\r\n"
        if not self._heard.startswith(begin) or found.end() != len(self._heard):
            raise BadFrame(f"the answer to U-Boot's {command!r} is damaged")
        body = bytes(self._heard[len(begin) : found.start()])
        return Answer(command, int(found[1]), _text(body, command))

    def _leave(self, command: str, by: Deadline) -> None:
        self._type(command, by)
        self._console.send(b"\r")

    def _type(self, line: str, by: Deadline) -> None:
        """Put ``line`` on U-Boot's command line, exactly; leave the Enter to the caller."""
        if not line.isascii() or not line.isprintable() or len(line) > LONGEST_LINE:
            raise Misuse(f"this cannot be typed to U-Boot: {line[:80]!r}")
        for _ in range(TRIES):
            if self._echoed(line.encode("ascii"), by):
                return
            self._settle(by)
        raise BadFrame(f"U-Boot does not echo what is typed, in {TRIES} tries: {line[:80]!r}")

    def _echoed(self, line: bytes, by: Deadline) -> bool:
        self._heard.clear()
        for start in range(0, len(line), RUN):
            wanted = line[: start + RUN]
            self._console.send(line[start : start + RUN])
            patience = by.sooner(ECHO_SECONDS)
            while len(self._heard) < len(wanted) and not patience.expired:
                self._listen(patience)
            by.left("U-Boot's echo")
            if self._heard != wanted:
                return False
        self._heard.clear()
        return True

    def _settle(self, by: Deadline) -> None:
        """An empty line at the prompt, and silence: a fresh start for the next exchange."""
        for _ in range(TRIES):
            self._heard.clear()
            self._console.send(_INTERRUPT)
            patience = by.sooner(ECHO_SECONDS)
            while not self._heard.endswith(b"\n" + self._prompt) and not patience.expired:
                self._listen(patience)
            quiet = self._silence(by)
            if quiet and self._heard.endswith(b"\n" + self._prompt):
                self._heard.clear()
                return
            by.left("U-Boot's prompt")
        raise BadFrame("U-Boot shows no prompt on its console")

    def _silence(self, by: Deadline, seconds: float = QUIET_SECONDS) -> bool:
        """Whether nothing came for that long; what came is kept."""
        before = len(self._heard)
        self._listen(by.sooner(seconds))
        return len(self._heard) == before

    def _listen(self, until: Deadline) -> None:
        """Take what has come, waiting for a byte at most ``until``."""
        try:
            self._heard += self._console.expect(_ANYTHING, by=until)[0]
        except DeadlineExpired:
            return


def _checked(answer: Answer) -> Answer:
    if answer.status == 0:
        return answer
    said = printable(answer.text)[:200]
    raise DeviceRefused(f"U-Boot's {answer.command!r} ended with {answer.status}: {said!r}")


def _text(body: bytes, command: str) -> str:
    """U-Boot prints ASCII, and a carriage return before each line end."""
    text = body.replace(b"\r\n", b"\n")
    if b"\r" in text or not all(byte in b"\n\t" or 32 <= byte < 127 for byte in text):
        raise BadFrame(f"the answer to U-Boot's {command!r} has bytes that U-Boot does not print")
    return text.decode("ascii")
