"""``trustbox console``: a box's UART, for a person at a keyboard."""

from __future__ import annotations

import contextlib
import os
import re
import select
import sys
import termios
import threading
import tty
from collections.abc import Iterator
from typing import Annotated

import typer

from harness.capability import Capability
from harness.deadline import Deadline
from harness.errors import DeadlineExpired, TrustBoxError
from harness.target import Console, World
from provisioning.cli.options import Serial, TargetName, TargetsFile, opened, to_stderr

LEAVE = b"\x1d"
"""Ctrl-], as in telnet: the box gets everything else, Ctrl-C too."""
_ANYTHING = re.compile(rb".+", re.DOTALL)


def console(
    target: TargetName = "emulator",
    serial: Serial = None,
    config: TargetsFile = None,
    secure: Annotated[bool, typer.Option("--secure", help="The secure world's UART.")] = False,
) -> None:
    """Show what the box says on its UART, and send it what is typed. Ctrl-] leaves.

    It begins with what was recorded before. A box that shall stay on afterwards is one that runs
    already: trustbox emulator start.
    """
    with opened(target, serial, config, progress=to_stderr) as found:
        if secure:
            found.require(Capability.SECURE_CONSOLE)
        uart = found.consoles[World.SECURE if secure else World.NORMAL]
        to_stderr(f"{found.serial}, {'secure' if secure else 'normal'} world; Ctrl-] leaves")
        over = threading.Event()
        ended: list[TrustBoxError] = []
        reader = threading.Thread(target=_show, args=(uart, over, ended), daemon=True)
        with _keys_as_typed():
            reader.start()
            try:
                _type(uart, over)
            finally:
                over.set()
                reader.join()
        if ended:
            raise ended[0]


def _show(uart: Console, over: threading.Event, ended: list[TrustBoxError]) -> None:
    """Until it is over, or the box or its line died: then ``ended`` has the reason."""
    while not over.is_set():
        try:
            came = uart.expect(_ANYTHING, by=Deadline.after(0.2))
        except DeadlineExpired:
            continue
        except TrustBoxError as problem:
            ended.append(problem)
            over.set()
            return
        os.write(sys.stdout.fileno(), came[0])


def _type(uart: Console, over: threading.Event) -> None:
    keyboard = sys.stdin.fileno()
    while not over.is_set():
        if not select.select([keyboard], [], [], 0.2)[0]:
            continue
        typed = os.read(keyboard, 1024)
        if not typed or LEAVE in typed:
            return
        uart.send(typed)


@contextlib.contextmanager
def _keys_as_typed() -> Iterator[None]:
    """Each key at once and unechoed, where stdin is a terminal; afterwards as it was before."""
    if not sys.stdin.isatty():
        yield
        return
    before = termios.tcgetattr(sys.stdin)
    try:
        tty.setraw(sys.stdin)
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)
