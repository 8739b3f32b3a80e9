"""Talking to a shell on a serial line before there is a helper: checked both ways.

A command is sent as one line with its check sum, and the box evaluates it only if that is right;
its answer carries a check sum, too. What does not answer is asked again, so commands must be such
that asking twice does no harm.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Mapping

from harness.console_cksum import cksum
from harness.console_text import ConsoleText
from harness.deadline import Deadline
from harness.errors import DeadlineExpired, Unreachable
from harness.secret import Secret
from harness.vitals import Vitals

LISTEN = 'stty -echo;while read -r l;do eval "$l";done'
"""A shell without echo, prompt and line editing, which ends with Ctrl-C."""
ANSWER_SECONDS = 1.5
ASK_TIMES = 8
LINE, SHORTEST_LINE = 480, 60
"""Characters a line: a tty holds 4096 bytes, and busybox ash takes lines of 1024."""
LINES_AHEAD = 3


class Dialogue:
    """One conversation over a console; what was said before it may decide its beginning."""

    def __init__(
        self, send: Callable[[bytes], None], text: ConsoleText, vitals: Vitals, *, slow: float = 1.0
    ) -> None:
        self._send, self._text, self._vitals = send, text, vitals
        end = text.end
        self._mark = max(0, end - 4096)
        # Of what was said before, only the last line may be a prompt that waits for somebody.
        said = text.since(self._mark)
        self._last_line = end - (len(said) - said.rfind(b"\n") - 1)
        self._ignored: dict[str, int] = {}
        self._number = secrets.randbelow(1 << 20) << 12
        self._slow = slow

    def say(self, data: bytes) -> None:
        """Send, and look from now on only at what comes after it."""
        self._mark = self._text.end
        self._ignored.clear()
        self._last_line = 0
        self._send(data)

    def say_secret(self, secret: Secret) -> None:
        """A line that shows as asterisks, should the box echo it."""
        if secret.reveal():
            self._text.hide(secret.reveal())
        self.say(secret.reveal() + b"\r")

    def unhide(self) -> None:
        self._text.hide(b"")

    def last_line(self) -> str:
        return self._text.last_line()

    @property
    def said_something(self) -> bool:
        return bool(self._text.since(self._mark))

    def said(self, pattern: re.Pattern[bytes]) -> bool:
        """Whether that came since we last spoke."""
        return pattern.search(self._text.since(self._mark)) is not None

    def await_text(self, wanted: bytes, *, by: Deadline) -> None:
        """Raises Unreachable when it does not come in time."""
        while wanted not in self._text.since(self._mark):
            self._vitals.check()
            if by.expired:
                raise Unreachable(f"the console does not say {wanted.decode()!r}")
            with self._text.changed:
                self._text.changed.wait(min(0.1, max(0.001, _left(by))))

    def forget(self, sign: str) -> None:
        """Do not find ``sign`` again in what was said so far."""
        self._ignored[sign] = self._text.end

    def look(
        self, signs: Mapping[str, re.Pattern[bytes]], *, patience: float, by: Deadline
    ) -> str | None:
        """The sign that was said last; None when none came within ``patience`` seconds.

        A sign decides when a moment passed without more, or when nothing else is to be awaited.
        """
        until = by.sooner(patience * self._slow)
        while True:
            self._vitals.check()
            end = self._text.end
            found = self._last_sign(signs)
            settled = self.quiet(0.05, by=until) if found else False
            if found and (settled or until.expired):
                return found
            if until.expired:
                return None
            with self._text.changed:
                if not found and self._text.end == end:
                    self._text.changed.wait(min(0.5, max(0.001, _left(until))))

    def quiet(self, seconds: float, *, by: Deadline) -> bool:
        """Wait for so long without a byte; False when some came."""
        until = by.sooner(seconds)
        with self._text.changed:
            end = self._text.end
            while not until.expired:
                self._vitals.check()
                self._text.changed.wait(max(0.001, _left(until)))
                if self._text.end != end:
                    return False
        return True

    def settle(self, *, by: Deadline) -> bool:
        """Whether a shell is there that answers as it should; it listens without echo then."""
        self.say(LISTEN.encode() + b"\r")
        self.quiet(0.1, by=by.sooner(1.0))
        try:
            return self.ask("echo here", by=by, times=2) == "here"
        except Unreachable:
            return False

    def ask(self, script: str, *, by: Deadline, times: int = ASK_TIMES) -> str:
        """What ``script`` writes, one line of it. Raises Unreachable, DeadlineExpired, BoxDied."""
        for attempt in range(times):
            self._number += 1
            name = f"{self._number:08x}"
            self.say(checked(f"a=$( {script} );{answer(name)}", otherwise=name) + b"\r")
            seconds = min(4 * ANSWER_SECONDS, ANSWER_SECONDS * (attempt + 1)) * self._slow
            found = self._answer(name, by.sooner(seconds))
            if found is not None:
                return found
            if by.expired:
                raise DeadlineExpired("an answer of the shell on the console", by.seconds)
            if f"TB{name}!".encode() not in self._text.since(self._mark):
                self.say(b"\x03")  # a quote that came without its other end waits for it
        raise Unreachable(
            f"the shell on the console gives no answer that is whole, asked {times} times",
            hint=f"The console's last line is: {self.last_line() or '(nothing)'}",
        )

    def pour(self, data: str, then: str, *, unit: int, by: Deadline) -> None:
        """Have ``data`` (base64, say) put together as ``$d`` in the shell, and ``then`` done.

        It goes in lines of whole ``unit`` characters. The box checks order and length of each,
        without starting a program; bytes that were lost and doubled in one line pass, so check the
        whole. Raises as ``ask``.
        """
        name = self._listen_for_data(then, by)
        ends, has, sent, answers, size, silent = [0], 0, 0, 1, LINE, 0
        while ends[-1] < len(data) or has < len(ends) - 1:
            while sent < has + LINES_AHEAD and (sent < len(ends) - 1 or ends[-1] < len(data)):
                if sent == len(ends) - 1:
                    ends.append(min(len(data), ends[-1] + max(unit, size // unit * unit)))
                piece = data[ends[sent] : ends[sent + 1]]
                self._send(f"{sent} {len(piece)} {piece}\r".encode())
                sent, answers = sent + 1, answers + 1
            until = by.sooner(ANSWER_SECONDS * self._slow)
            count, came = self._count(name, has, answers, until)
            if count > has:
                has, sent, silent = (
                    min(count, len(ends) - 1),
                    max(sent, min(count, len(ends) - 1)),
                    0,
                )
                continue
            silent += 1
            if silent > 2 * ASK_TIMES:
                raise Unreachable(f"the shell on the console takes no data after line {has}")
            by.left("the shell on the console to take the helper")
            sent = has
            if came >= answers:  # it has said that it did not take them, so they may be cut anew
                size = max(SHORTEST_LINE, size // 2)
                del ends[has + 1 :]
            answers = came
        self.say(b"end\r")

    def _listen_for_data(self, then: str, by: Deadline) -> str:
        reads = "while read -r i s c;do case $i in end) break;;esac;"
        keeps = 'if [ "$i" = $n ]&&[ "${#c}" = "$s" ];then d=$d$c;n=$((n+1));fi;'
        for _ in range(ASK_TIMES):
            self._number += 1
            name = f"TB{self._number:08x}"
            script = f"n=0;d=;echo {name}+0;{reads}{keeps}echo {name}+$n;done;{then}"
            self.say(checked(script) + b"\r")
            if self._count(name, -1, 1, by.sooner(ANSWER_SECONDS * self._slow))[1]:
                return name
            by.left("the shell on the console to take the helper")
            self.say(b"\x03")
        raise Unreachable("the shell on the console does not listen for data")

    def order(self, script: str) -> None:
        """Have ``script`` done, in the shell itself, without waiting for anything."""
        self.say(checked(script) + b"\r")

    def _count(self, name: str, known: int, answers: int, by: Deadline) -> tuple[int, int]:
        """How many lines the box has, and how often it said so: when it has more than ``known``,
        when it has given all ``answers``, or when time is up."""
        says = re.compile(rb"%s\+(\d+)[\r\n]" % name.encode())
        while True:
            self._vitals.check()
            end = self._text.end
            told = [int(number) for number in says.findall(self._text.since(self._mark))]
            # A doubled digit may make a number of lines that were never sent.
            most = max((number for number in told if number < answers), default=-1)
            if most > known or len(told) >= answers or by.expired:
                return most, len(told)
            with self._text.changed:
                if self._text.end == end:
                    self._text.changed.wait(min(0.5, max(0.001, _left(by))))

    def _answer(self, name: str, by: Deadline) -> str | None:
        whole = re.compile(rb"TB%s=([^\r\n]*)=(\d+) (\d+)[\r\n]" % name.encode())
        while not by.expired:
            self._vitals.check()
            end = self._text.end
            said = self._text.since(self._mark)
            for match in whole.finditer(said):
                value = match[1]
                if cksum(name.encode() + value) == (int(match[2]), int(match[3])):
                    return value.decode(errors="replace")
            if b"TB%s!" % name.encode() in said:  # the line did not arrive whole
                return None
            with self._text.changed:
                if self._text.end == end:
                    self._text.changed.wait(min(0.5, max(0.001, _left(by))))
        return None

    def _last_sign(self, signs: Mapping[str, re.Pattern[bytes]]) -> str | None:
        last, where = None, -1
        for name, pattern in signs.items():
            last_line = 0 if name == "booting" else self._last_line
            since = max(self._mark, self._ignored.get(name, 0), last_line)
            said = self._text.since(since)
            offset = self._text.end - len(said)
            for match in pattern.finditer(said):
                if offset + match.end() > where:
                    last, where = name, offset + match.end()
        return last


def checked(script: str, *, otherwise: str = "") -> bytes:
    """A line that has ``script`` evaluated if it arrived as it was sent."""
    number, size = cksum(script.encode())
    quoted = "'" + script.replace("'", "'\\''") + "'"
    line = f'c={quoted};if [ "$(printf %s "$c"|cksum)" = \'{number} {size}\' ];then eval "$c"'
    if otherwise:
        line += f";else echo TB{otherwise}'!'"
    return (line + ";fi").encode()


def answer(name: str) -> str:
    return f'printf "TB%s=%s=%s\\n" {name} "$a" "$(printf %s "{name}$a"|cksum)"'


def _left(by: Deadline) -> float:
    return by.left("") if not by.expired else 0.0
