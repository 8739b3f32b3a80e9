"""U-Boot on a console: catch it, ask it, let it go on. ``uboot_line`` has how it is typed to."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable

from harness.deadline import Deadline
from harness.errors import BadFrame, DeadlineExpired, DeviceRefused, LinkLost, Misuse
from harness.shown import printable
from harness.target import Console
from harness.uboot_answers import parse_environment, parse_words
from harness.uboot_line import COUNTDOWN, TRIES, Answer, UBootLine

PROMPT = b"=> "
"""Of Layerscape boards and of QEMU's: CONFIG_SYS_PROMPT's default."""
KEY_SECONDS = 0.05
IDLE_SECONDS = 2.0
"""What only reads answers at once."""

_BANNER = re.compile(rb"(?<![ -~])U-Boot (\d{4}\.\d\d[ -~]{0,120})")
_GONE = b"\nStarting kernel ..."
_BEGUN = re.compile(rb"U-Boot \d{4}\.\d\d|" + COUNTDOWN)


class UBoot:
    """One U-Boot on one console. One thread at a time; the console must be nobody else's now.

    Create it before the box gets power, ``catch`` while it boots. All methods raise BoxDied,
    LinkLost and DeadlineExpired as the console does.
    """

    def __init__(self, console: Console, *, prompt: bytes = PROMPT, stop_key: bytes = b" ") -> None:
        self._line, self._stop_key = UBootLine(console, prompt), stop_key
        self._said_before = b""

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
        line, keys = self._line, re.escape(self._stop_key)
        prompt = re.compile(rb"\n" + re.escape(line.prompt) + rb"(?:" + keys + rb")*\Z")
        begun = False
        while not prompt.search(line.heard):
            check()
            if by.expired:
                stage = "U-Boot's prompt" if begun else "U-Boot's greeting"
                last = printable(line.heard[-200:].decode(errors="replace")).strip()
                raise DeadlineExpired(f"{stage}; the last that came was {last!r}", by.seconds)
            begun = begun or _BEGUN.search(line.heard) is not None
            if begun and _GONE in line.heard:
                raise DeviceRefused(
                    "U-Boot did not stop for a key: it went on and started the kernel",
                    hint="Its variable bootdelay must be 1 at least for a countdown to stop it in.",
                )
            if begun:
                line.console.send(self._stop_key)
                line.listen(by.sooner(KEY_SECONDS))
                continue
            # An emulated box has no line while it is off.
            with contextlib.suppress(LinkLost):
                line.listen(by.sooner(KEY_SECONDS))
        self._said_before = bytes(line.heard)
        self._line.settle(by)

    def run(self, command: str, *, by: Deadline, check: bool = True) -> Answer:
        """Run ``command`` (one line of U-Boot's shell) once, and return what it printed.

        Raises Misuse when it cannot be typed, DeviceRefused when ``check`` and its status is not
        0, BadFrame when its answer is damaged and LinkLost when U-Boot restarted meanwhile: then
        it did run, and its outcome is not known. A byte that changed inside the answer is not
        noticed: ``read`` notices it.
        """
        answer = self._line.exchange(command, by, idle=by.seconds)
        return _checked(answer) if check else answer

    def read(self, command: str, *, by: Deadline, check: bool = True) -> Answer:
        """``run`` for what only reads: repeated until two answers in a row are the same.

        For commands that answer at once. Raises BadFrame when there are none in five.
        """
        before: Answer | None = None
        for _ in range(TRIES + 1):
            try:
                answer = self._line.exchange(command, by, idle=IDLE_SECONDS)
            except BadFrame:
                self._line.settle(by)
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
        self._line.leave("boot", by)

    def reset(self, *, by: Deadline) -> None:
        """Restart the box; returns when U-Boot took the order."""
        self._line.leave("reset", by)


def _checked(answer: Answer) -> Answer:
    if answer.status == 0:
        return answer
    said = printable(answer.text)[:200]
    raise DeviceRefused(f"U-Boot's {answer.command!r} ended with {answer.status}: {said!r}")
