"""A box on a bench, on the loopback: an OpenSSH server, a pty, and a power switch for both.

What the harness talks to is real; what stands in is the box's own side: a getty that answers a key,
a few lines of boot log, and a kernel's boot id, which this machine's kernel would not change.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import select
import threading
import tty
import uuid
from collections.abc import Callable
from pathlib import Path

from harness.config import parse
from harness.config_bench import BenchConfig
from tests.links.sshd import CONFIG, LocalSshd

BOOT_LOG = b"\r\nU-Boot 2025.01 (trustbox)\r\n[    0.0] Booting Linux on physical CPU 0x0\r\n"
CAT = """\
#!/bin/sh
case "$1" in /proc/sys/kernel/random/boot_id) exec /bin/cat "{directory}/boot_id";; esac
exec /bin/cat "$@"
"""
REBOOT = """\
#!/bin/sh
# Instead of this machine's own: nothing here may ever reach that.
echo "$@" >"{directory}/reboot"
"""


class BenchBox:
    """On after ``open``. ``hears`` is called with what is typed on the console while it is on;
    ``reboots`` says whether the reboot command works."""

    def __init__(self, directory: Path, *, serial: str) -> None:
        self.directory, self.serial = directory, serial
        self.sshd = LocalSshd(directory)
        self.is_on = False
        self.hears: Callable[[bytes], None] = lambda typed: None
        self.answers_keys = self.reboots = True
        self.cuts = 0
        self._master, far = os.openpty()
        tty.setraw(far)
        self.uart, self._far = os.ttyname(far), far
        self._lock = threading.RLock()
        self._over, self._end = os.pipe()

    def open(self) -> None:
        self.write_serial(self.serial)
        (self.directory / "ta").mkdir()
        binaries = self.directory / "bin"
        binaries.mkdir()
        (binaries / "cat").write_text(CAT.format(directory=self.directory))
        (binaries / "reboot").write_text(REBOOT.format(directory=self.directory))
        for program in binaries.iterdir():
            program.chmod(0o755)
        self._fifo, self._reboot = (self._fifo_at(name) for name in ("console", "reboot"))
        self.new_boot_id()
        self.sshd.open()
        path = f"SetEnv SHLVL=1 PATH={binaries}:/usr/bin:/bin"
        config = CONFIG.format(keys=self.directory).replace("SetEnv SHLVL=1", path)
        (self.directory / "config").write_text(config)
        self.port = self.sshd.endpoint().port
        self.is_on = True
        self._uart_thread = threading.Thread(target=self._uart_loop, daemon=True)
        self._uart_thread.start()

    def write_serial(self, serial: str) -> None:
        (self.directory / "serial").write_text(serial + "\n")

    def new_boot_id(self) -> None:
        (self.directory / "boot_id").write_text(f"{uuid.uuid4()}\n")

    def on(self) -> None:
        """Power: boots at once. Already on: nothing happens."""
        with self._lock:
            if self.is_on:
                return
            self.new_boot_id()
            self.is_on = True
            self.says(BOOT_LOG)
            self.sshd.reopen()
            self.says(b"\r\ntrustbox login: ")

    def off(self) -> None:
        with self._lock:
            if self.is_on:
                self.is_on = False
                self.cuts += 1
                self.sshd.shut()

    def hang(self) -> None:
        """Still powered; nobody answers on the network."""
        self.sshd.shut()

    def _fifo_at(self, name: str) -> int:
        os.mkfifo(self.directory / name)
        return os.open(self.directory / name, os.O_RDWR | os.O_NONBLOCK)

    def says(self, data: bytes) -> None:
        while data:
            data = data[os.write(self._master, data) :]

    def close(self) -> None:
        self.off()
        os.write(self._end, b"x")
        self._uart_thread.join()
        with contextlib.suppress(OSError):
            self.sshd.close()
        for descriptor in (
            *(self._master, self._far, self._over, self._end, self._fifo, self._reboot),
        ):
            os.close(descriptor)

    def entry(self, **more: str) -> str:
        """The TOML table; ``more`` are further lines, or others in place of these."""
        lines = {
            "kind": '"bench"',
            "preset": '"emulator"',
            "address": '"127.0.0.1"',
            "port": str(self.port),
            "user": f'"{getpass.getuser()}"',
            "host_key": f'"{self.sshd.host_key}"',
            "client_key": f'"{self.directory}/client"',
            "serial_url": f'"{self.uart}"',
            "console_tty": f'"{self.directory}/console"',
            "serial_paths": f'["{self.directory}/serial"]',
            "lab_directory": f'"{self.directory}/lab"',
            "layout": f'{{ agent_directory = "{self.directory}" }}',
            **more,
        }
        return "[bench-07]\n" + "".join(f"{key} = {value}\n" for key, value in lines.items())

    def config(self, **more: str) -> BenchConfig:
        (found,) = parse(self.entry(**more), str(self.directory / "targets.toml")).values()
        assert isinstance(found, BenchConfig)
        return found

    def _uart_loop(self) -> None:
        while True:
            watched = [self._master, self._fifo, self._reboot, self._over]
            ready, _, _ = select.select(watched, [], [])
            if self._over in ready:
                return
            if self._fifo in ready:
                self.says(os.read(self._fifo, 4096))
            if self._reboot in ready and os.read(self._reboot, 4096) and self.reboots:
                self.off()
                self.on()
            if self._master in ready:
                typed = os.read(self._master, 4096)
                if self.is_on:
                    self.hears(typed)
                    if self.answers_keys and b"\r" in typed:
                        self.says(b"\r\ntrustbox login: ")
