"""What a console benchmark talks to: a shell on a pty, or an emulated box's UART, with noise."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import tenacity

from harness.console import SerialConsole
from harness.console_login import ConsoleLogin
from harness.console_shell import ConsoleShell
from harness.deadline import Deadline
from harness.errors import Unreachable
from harness.history import History
from harness.holding import Holding
from harness.ssh import SshShell
from harness.target import Layout, World
from harness.vitals import Vitals

LOG_LINE = "usb 1-1: new high-speed USB device number 7 using xhci_hcd # $ "


@contextmanager
def faulty(*arguments: str, loss: float, seed: int = 7) -> Iterator[tuple[str, ...]]:
    """``harness.uart_faulty`` at work: the paths that it tells."""
    command = [sys.executable, "-m", "harness.uart_faulty", "--loss", str(loss)]
    command += ["--seed", str(seed), *arguments]
    pipe = subprocess.PIPE
    environment = {"PATH": os.environ["PATH"], "PS1": "box# "}
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment) as line:
        assert line.stdout is not None and line.stdin is not None
        try:
            yield tuple(line.stdout.readline().split())
        finally:
            line.stdin.close()
            line.wait()


@contextmanager
def on_a_pty(*, noise: float = 0.0, loss: float = 0.0) -> Iterator[ConsoleShell]:
    """A local shell; ``noise`` log lines a second are written to its terminal."""
    vitals = Vitals("a local shell")
    console = SerialConsole(World.NORMAL, vitals)
    with TemporaryDirectory() as directory, faulty("--", "dash", "-i", loss=loss) as paths:
        console.attach(paths[0])
        layout = Layout(agent_directory=directory)
        shell = ConsoleShell(console, ConsoleLogin(), layout, vitals, History())
        try:
            with _written(Path(paths[1]), noise):
                yield shell
        finally:
            shell.close()
            console.close()


@contextmanager
def on_a_uart(holding: Holding, *, noise: float = 0.0, loss: float = 0.0) -> Iterator[ConsoleShell]:
    """The box's normal world UART; ``noise`` log lines a second come from its kernel."""
    console = normal_console(holding)
    login = holding.console_login or ConsoleLogin()
    shell = ConsoleShell(console, login, holding.layout, holding.vitals, History())
    with contextlib.ExitStack() as held:
        if loss:
            url = console.url
            console.detach()
            held.callback(console.attach, url)
            console.attach(held.enter_context(faulty("--line", url, loss=loss))[0])
            held.callback(console.detach)
        held.callback(shell.close)
        held.enter_context(_logged(holding, noise))
        yield shell


def normal_console(holding: Holding) -> SerialConsole:
    console = holding.consoles[World.NORMAL]
    assert isinstance(console, SerialConsole)
    return console


@contextmanager
def through_an_exporter(holding: Holding) -> Iterator[None]:
    """Meanwhile the UART is reached over RFC 2217, through ser2net as labgrid's exporter starts it.

    The options are those of labgrid 26.0.1 (remote/exporter.py, SerialPortExport), so Nagle's
    algorithm is on at the server: whoever lets his acknowledgements wait pays for it.
    """
    console = normal_console(holding)
    url = console.url
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    options = (
        f"connection: &con01#  accepter: telnet(rfc2217,mode=server),tcp,127.0.0.1,{port}",
        f"  connector: serialdev(nouucplock=true),{url},115200n81,local",
        "  options:",
        "    max-connections: 10",
    )
    words = [word for option in options for word in ("-Y", option)]
    console.detach()
    command = ["/usr/sbin/ser2net", "-d", "-n", *words]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            _attach(console, f"rfc2217://127.0.0.1:{port}?ign_set_control")
            yield
        finally:
            server.terminate()
            server.wait()  # it sets the line's modes back at its end
            console.attach(url)


@tenacity.retry(
    retry=tenacity.retry_if_exception_type(Unreachable),
    wait=tenacity.wait_fixed(0.05),
    stop=tenacity.stop_after_delay(10),
    reraise=True,
)
def _attach(console: SerialConsole, url: str) -> None:
    console.attach(url)


@contextmanager
def _written(tty: Path, rate: float) -> Iterator[None]:
    enough = threading.Event()

    def write() -> None:
        with tty.open("wb", buffering=0) as out:
            while not enough.wait(1 / rate):
                out.write(f"[ 1234.567890] {LOG_LINE}\r\n".encode())

    thread = threading.Thread(target=write)
    if rate:
        thread.start()
    try:
        yield
    finally:
        enough.set()
        if rate:
            thread.join()


@contextmanager
def _logged(holding: Holding, rate: float) -> Iterator[None]:
    if not rate:
        yield
        return
    ssh = SshShell(holding.endpoint, holding.vitals, History())
    by = Deadline.after(60)
    # The shell's own words: starting a program for each line would slow the box down.
    loop = f"while sleep {1 / rate}; do echo '<1>{LOG_LINE}' >/dev/kmsg; done"
    try:
        started = ssh.run("sh", "-c", f"({loop}) </dev/null >/dev/null 2>&1 & echo $!", by=by)
        try:
            yield
        finally:
            ssh.run("kill", started.text, by=Deadline.after(60))
    finally:
        ssh.close()
