"""``trustbox shell``: one command on the box, or a shell for a person."""

from __future__ import annotations

import os
import select
import sys
from typing import Annotated

import typer

from harness.capability import Capability
from harness.deadline import Deadline
from harness.errors import DeadlineExpired, DeviceRefused
from harness.target import Stream
from provisioning.cli.options import Serial, TargetName, TargetsFile, opened, to_stderr


def shell(
    command: Annotated[
        list[str] | None, typer.Argument(help="A program and its arguments; none: a shell.")
    ] = None,
    target: TargetName = "emulator",
    serial: Serial = None,
    config: TargetsFile = None,
    seconds: Annotated[float, typer.Option(help="How long a command may take.")] = 60.0,
) -> None:
    """Run one program on the box (trustbox shell -- uname -a), or a shell until Ctrl-D.

    With a program: its output, and its exit status.
    """
    with opened(target, serial, config, progress=to_stderr) as found:
        if command:
            done = found.shell.run(*command, by=Deadline.after(seconds), check=False)
            sys.stdout.buffer.write(done.stdout)
            sys.stderr.buffer.write(done.stderr)
            raise typer.Exit(done.status)
        found.require(Capability.STREAMS)
        if found.streams is None:
            raise DeviceRefused(f"{found.name} has no way to carry a shell")
        to_stderr(f"a shell on {found.serial}; Ctrl-D leaves")
        stream = found.streams.stream("sh", "-c", "exec sh -i 2>&1", by=Deadline.after(30))
        try:
            _carry(stream)
        finally:
            stream.close()


def _carry(stream: Stream) -> None:
    """Lines from here, bytes from there, until either side ends."""
    keyboard = sys.stdin.fileno()
    watched = [keyboard, stream.fileno()]
    while True:
        ready, _, _ = select.select(watched, [], [], 1.0)
        if keyboard in ready:
            typed = os.read(keyboard, 4096)
            if not typed:
                watched.remove(keyboard)
                typed = b"exit\n"  # what is still to come is waited for
            stream.send(typed, by=Deadline.after(30))
        if not ready or stream.fileno() in ready:
            try:
                heard = stream.receive(65536, by=Deadline.after(0.01))
            except DeadlineExpired:
                continue
            if not heard:
                return
            os.write(sys.stdout.fileno(), heard)
