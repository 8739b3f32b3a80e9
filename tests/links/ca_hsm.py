"""A factory with an HSM of somebody else's making: two initialised tokens behind one module."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from provisioning.softhsm import softhsm_module
from provisioning.token_uri import TokenUri
from tests.typed import trustbox

SO_PIN = "so-40961177"
PINS = {"Root CA": "root-pin-62183375", "Line CA": "line-pin-19407752"}


class Factory:
    """A station's state, and the command ``trustbox ca`` on it. Tokens have blanks in labels."""

    def __init__(self, place: Path) -> None:
        self.place, self.state = place, place / "station"
        (place / "tokens").mkdir(parents=True)
        configuration = place / "softhsm2.conf"
        configuration.write_text(f"directories.tokendir = {place / 'tokens'}\n")
        self.environment = {**os.environ, "SOFTHSM2_CONF": str(configuration)}
        for label, pin in PINS.items():
            file = self.pin_file(label)
            file.touch(mode=0o600)
            file.write_text(f"{pin}\n")
            self.run(
                *("softhsm2-util", "--init-token", "--free", "--label", label),
                *("--so-pin", SO_PIN, "--pin", pin),
            )

    def pin_file(self, label: str) -> Path:
        return self.place / f"{label.split()[0].lower()}.pin"

    def uri(self, label: str, *, pin_source: bool = True, id: bytes | None = None) -> str:
        source = self.pin_file(label) if pin_source else None
        return str(TokenUri(Path(softhsm_module()), label, id=id, pin_source=source))

    def tokens(self, *, pin_source: bool = True) -> tuple[str, ...]:
        """The options that name both."""
        root, line = (self.uri(label, pin_source=pin_source) for label in ("Root CA", "Line CA"))
        return ("--root-token", root, "--issuing-token", line)

    def ca(
        self, command: str, *arguments: str, stdin: bytes = b""
    ) -> subprocess.CompletedProcess[str]:
        """``trustbox ca``, in this process: starting Python costs more than the CA."""
        argv = ["ca", command, *arguments, "--state", str(self.state)]
        said = trustbox(*argv, stdin=stdin, environment=self.environment)
        return subprocess.CompletedProcess(argv, said.status, said.out, said.err)

    def keep(self, name: str) -> None:
        """Remember all of it, to ``bring_back``: tokens are slow to make."""
        kept = self.place.with_name(name)
        shutil.copytree(self.place, kept)

    def bring_back(self, name: str) -> None:
        shutil.rmtree(self.place)
        shutil.copytree(self.place.with_name(name), self.place)
        self.state = self.place / "station"

    def argv(self, command: str, *arguments: str) -> list[str]:
        program = "from provisioning.cli import main; main()"
        argv = [sys.executable, "-c", program, "ca", command, *arguments]
        return [*argv, "--state", str(self.state)]

    def run(self, *argv: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            argv, cwd=self.place, env=self.environment, capture_output=True, check=True
        )

    def request(self, serial: str, name: str = "box") -> Path:
        """A request made by openssl, PEM; its key is kept beside it."""
        key, made = self.place / f"{name}.key", self.place / f"{name}.csr"
        subject = f"/CN={serial.lower()}/serialNumber={serial}"
        if not key.exists():
            curve = ("ecparam", "-name", "prime256v1", "-genkey", "-noout")
            self.run("openssl", *curve, "-out", key.name)
        self.run("openssl", "req", "-new", "-key", key.name, "-subj", subject, "-out", made.name)
        return made
