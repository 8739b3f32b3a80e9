"""A box that nobody knows yet: a real shell on a real pty, a real OpenSSH server."""

from __future__ import annotations

import getpass
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness import adopt_entry
from harness.adopt import Wish
from harness.adopt_key import ensure_key
from harness.target import Layout
from tests.links.faulty_line import Box
from tests.links.sshd import CONFIG, LocalSshd, make_key

SERIAL = "TB-0042"


@dataclass(slots=True)
class Lab:
    """A box that nobody knows yet, and where its entry shall stand."""

    box: Box
    sshd: LocalSshd
    directory: Path
    file: Path

    @property
    def keys(self) -> Path:
        return self.directory / "home/.ssh/authorized_keys"

    def wish(self) -> Wish:
        return Wish(
            name="bench-07",
            serial_url=self.box.host,
            client_key=self.directory / "station_key",
            preset="emulator",
            address="127.0.0.1",
            port=self.sshd.endpoint().port,
            user=getpass.getuser(),
            ssh_directory=str(self.directory / "ssh"),
            serial_paths=(str(self.directory / "serial"),),
            home=str(self.directory / "home"),
            layout=Layout(agent_directory=str(self.directory)),
        )

    def known(self) -> None:
        """An entry as adopting writes it, without waiting for a console."""
        wish = self.wish()
        ensure_key(wish.client_key)
        entry = {
            "kind": "bench",
            "preset": "emulator",
            "serial": SERIAL,
            "address": "127.0.0.1",
            "port": wish.port,
            "user": wish.user,
            "client_key": str(wish.client_key),
            "host_key": self.host_key(),
            "serial_url": wish.serial_url,
            "serial_paths": list(wish.serial_paths),
        }
        adopt_entry.put(self.file, "bench-07", entry, replace=False)

    def host_key(self) -> str:
        public = (self.directory / "ssh/ssh_host_ecdsa_key.pub").read_text()
        return " ".join(public.split()[:2])

    def new_host_key(self) -> str:
        """As a reflash does it: another key, and no authorized_keys any more."""
        for old in (self.directory / "ssh").iterdir():
            old.unlink()
        self.keys.unlink(missing_ok=True)
        return make_key(self.directory / "ssh/ssh_host_ecdsa_key")


@contextmanager
def a_lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    monkeypatch.setenv("TRUSTBOX_LAB", str(tmp_path / "locks"))
    for made in ("ssh", "home"):
        (tmp_path / made).mkdir()
    (tmp_path / "serial").write_text(SERIAL + "\n")
    make_key(tmp_path / "ssh/ssh_host_ecdsa_key")
    sshd = LocalSshd(tmp_path)
    sshd.open()
    config = CONFIG.format(keys=tmp_path)
    config = config.replace(f"{tmp_path}/host", f"{tmp_path}/ssh/ssh_host_ecdsa_key")
    config = config.replace(f"{tmp_path}/client.pub", f"{tmp_path}/home/.ssh/authorized_keys")
    (tmp_path / "config").write_text(config)
    box = Box(("dash", "-i"), tmp_path).on()
    box.console.detach()  # the line is for who adopts it
    yield Lab(box, sshd, tmp_path, tmp_path / "targets.toml")
    box.off()
    sshd.close()
