"""A real OpenSSH server on the loopback, with keys and settings of its own, run by the test user.

Each connection gets an ``sshd -i`` of its own, so the port is the kernel's choice and a connection
can be broken by ending its process.
"""

from __future__ import annotations

import getpass
import os
import shutil
import signal
import socket
import subprocess
import threading
from dataclasses import dataclass, field
from pathlib import Path

from harness.holding import Endpoint
from tests.links.held_port import held_port

# SHLVL: or bash, taking itself for a login by ssh, runs the developer's ~/.bashrc each time.
CONFIG = """\
HostKey {keys}/host
AuthorizedKeysFile {keys}/client.pub
PidFile none
UsePAM no
StrictModes no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin yes
PrintMotd no
SetEnv SHLVL=1
MaxSessions 20
Subsystem sftp internal-sftp
"""


def make_key(path: Path) -> str:
    """A fresh P-256 key pair; returns the public half as ``type base64``."""
    keygen = ["ssh-keygen", "-q", "-t", "ecdsa", "-b", "256", "-N", "", "-f", str(path)]
    subprocess.run(keygen, check=True)
    return " ".join(path.with_suffix(".pub").read_text().split()[:2])


@dataclass(slots=True)
class LocalSshd:
    """Listens from ``open`` to ``close``, save between ``shut`` and ``reopen``: always on one port.
    ``drop`` breaks every connection without a goodbye."""

    directory: Path
    host_key: str = ""
    _holder: socket.socket | None = None
    _listener: socket.socket | None = None
    _children: list[subprocess.Popen[bytes]] = field(default_factory=list)
    _acceptor: threading.Thread | None = None

    def open(self) -> None:
        self.host_key = make_key(self.directory / "host")
        make_key(self.directory / "client")
        (self.directory / "config").write_text(CONFIG.format(keys=self.directory))
        if os.geteuid() == 0:  # where sshd locks up its unprivileged half
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        self._holder = held_port()
        self.reopen()

    def reopen(self) -> None:
        """Listen again after ``shut``, with the same keys and settings, on the same port."""
        assert self._holder is not None
        self._listener = socket.create_server(self._holder.getsockname())
        self._acceptor = threading.Thread(target=self._serve, args=(self._listener,), daemon=True)
        self._acceptor.start()

    def endpoint(self) -> Endpoint:
        assert self._listener is not None
        return Endpoint(
            host="127.0.0.1",
            port=self._listener.getsockname()[1],
            host_key=self.host_key,
            user=getpass.getuser(),
            client_key=self.directory / "client",
        )

    def fall_silent(self) -> None:
        """Nobody listens, and those that are connected hear neither a word nor a goodbye."""
        for child in self._children:
            child.send_signal(signal.SIGSTOP)
        children, self._children = self._children, []
        self.shut()
        self._children = children

    def drop(self) -> None:
        while self._children:
            child = self._children.pop()
            child.kill()
            child.wait()

    def close(self) -> None:
        """Its port is anybody's from then on. Safe to call twice."""
        self.shut()
        holder, self._holder = self._holder, None
        if holder is not None:
            holder.close()

    def shut(self) -> None:
        """Nobody listens, and every connection is broken; the port stays its own."""
        listener, self._listener = self._listener, None
        if listener is not None and self._acceptor is not None:
            listener.shutdown(socket.SHUT_RDWR)
            self._acceptor.join()
            listener.close()
        self.drop()

    def _serve(self, listener: socket.socket) -> None:
        sshd = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin:/usr/bin")
        assert sshd, "the tests need the Debian package openssh-server"
        command = [sshd, "-i", "-e", "-f", str(self.directory / "config")]
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection, (self.directory / "log").open("ab") as log:
                self._children.append(
                    subprocess.Popen(
                        command, stdin=connection.fileno(), stdout=connection.fileno(), stderr=log
                    )
                )
