"""A real shell on a real pty, behind a line that may lose and double bytes."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path

from harness.console import SerialConsole
from harness.console_login import ConsoleLogin
from harness.console_shell import ConsoleShell
from harness.history import History
from harness.target import Layout, World
from harness.vitals import Vitals


@dataclass(slots=True)
class Box:
    """Something on a terminal that plays the box, and a console attached to the line's other end.

    Its program is started again when it ends.
    """

    program: tuple[str, ...]
    directory: Path
    loss: float = 0.0
    double: float = 0.0
    seed: int = 7
    vitals: Vitals = field(default_factory=lambda: Vitals("the box"))
    history: History = field(default_factory=History)
    console: SerialConsole = field(init=False)
    host: str = ""
    tty: str = ""
    _line: subprocess.Popen[str] | None = None
    _noise: threading.Thread | None = None
    _quiet: threading.Event = field(default_factory=threading.Event)
    _shells: list[ConsoleShell] = field(default_factory=list)

    def on(self) -> Box:
        command = [sys.executable, "-m", "harness.uart_faulty", "--seed", str(self.seed)]
        command += ["--loss", str(self.loss), "--double", str(self.double), "--", *self.program]
        # What a developer's shell would read at its start is none of a box's business.
        environment = {"PATH": os.environ["PATH"], "PS1": "box# ", "HOME": str(self.directory)}
        pipe = subprocess.PIPE
        self._line = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment)
        assert self._line.stdout is not None
        self.host, self.tty = self._line.stdout.readline().split()
        self.console = SerialConsole(World.NORMAL, self.vitals)
        self.console.attach(self.host)
        return self

    def shell(self, login: ConsoleLogin | None = None, *, silence: float = 4.0) -> ConsoleShell:
        layout = Layout(agent_directory=str(self.directory))
        made = ConsoleShell(
            self.console,
            login or ConsoleLogin(),
            layout,
            self.vitals,
            self.history,
            most_output=16 * 1024 * 1024,
            silence=silence,
        )
        self._shells.append(made)
        return made

    def says(self, data: bytes) -> None:
        """As the kernel does: straight to the terminal, whoever else writes there."""
        with Path(self.tty).open("wb", buffering=0) as tty:
            tty.write(data)

    def hang(self, number: int = signal.SIGSTOP) -> None:
        """The line itself stands still: nothing comes, whoever is at its ends."""
        assert self._line is not None
        self._line.send_signal(number)

    def log_lines(self, seconds: float) -> None:
        """A log line each so many ``seconds``, until ``off``."""

        def write() -> None:
            number = 0
            while not self._quiet.wait(seconds):
                number += 1
                with contextlib.suppress(OSError):
                    self.says(
                        b"[%5d.123456] usb 1-1: new high-speed device %d # $ \r\n"
                        % (number, number)
                    )

        self._noise = threading.Thread(target=write, daemon=True)
        self._noise.start()

    def off(self) -> None:
        self._quiet.set()
        if self._noise is not None:
            self._noise.join()
        for shell in self._shells:
            shell.close()
        self.console.close()
        if self._line is not None and self._line.stdin is not None:
            self._line.stdin.close()
            self._line.wait()
            assert self._line.stdout is not None
            self._line.stdout.close()
