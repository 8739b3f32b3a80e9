"""Programs of others that tests talk to and this host's own suite does not carry.

libest's ``estserver`` is in Debian trixie, OpenSSL's PKCS#11 provider for Debian 12 in its
backports. They are fetched from the archive that the host uses, checked by apt against Debian's
keyring, and unpacked beside everything else below the user's cache; nothing is installed.
"""

from __future__ import annotations

import platform
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
from filelock import FileLock

from emulator.archive import KEYRINGS, host_archive
from emulator.paths import cache_root
from harness.errors import Misuse

_CONFIGURATION = """\
Dir::Etc::SourceList "{here}/sources.list";
Dir::Etc::SourceParts "/dev/null";
Dir::Etc::Preferences "/dev/null";
Dir::Etc::PreferencesParts "/dev/null";
Dir::State "{here}";
Dir::State::Lists "{here}/lists";
Dir::State::status "{here}/status";
Dir::Cache "{here}/cache";
APT::Sandbox::User "root";
APT::Update::Error-Mode "any";
Acquire::Languages "none";
Acquire::Retries "3";
Debug::NoLocking "true";
"""


@dataclass(frozen=True, slots=True)
class Peer:
    """Unpacked packages: ``program`` and ``library`` find files in them."""

    root: Path

    def program(self, name: str) -> Path:
        return self.root / "usr/bin" / name

    def library(self, name: str) -> Path:
        return next(self.root.glob(f"usr/lib/*/{name}"))

    @property
    def libraries(self) -> Path:
        return next(self.root.glob("usr/lib/*-linux-gnu*"))


def libest() -> Peer:
    return _fetched("libest", "trixie", "libest-utils", "libest3")


def umoci() -> Path:
    """The Open Container Initiative's own tool for images, which unpacks and checks them."""
    return _fetched("umoci", "bookworm", "umoci").program("umoci")


def skopeo() -> Peer:
    """What carries images to registries, with the library that Debian builds it with."""
    return _fetched("skopeo", "bookworm", "skopeo", "libgpgme11")


def pkcs11_provider() -> Path:
    """OpenSSL's provider for keys in tokens: the installed one, or Debian 12's backport."""
    installed = sorted(Path("/usr/lib").glob("*/ossl-modules/pkcs11.so"))
    if installed:
        return installed[0]
    return _fetched("provider", "bookworm-backports", "pkcs11-provider").library(
        "ossl-modules/pkcs11.so"
    )


def _fetched(name: str, suite: str, *packages: str) -> Peer:
    """Skips the test, saying why, where there is no Debian archive to fetch from."""
    try:
        archive = host_archive()
    except Misuse as problem:
        pytest.skip(f"{name} is not to be had here: {problem.message}")
    keyring = next((file for file in KEYRINGS if file.exists()), None)
    if keyring is None:
        pytest.skip(f"{name} is not to be had here: debian-archive-keyring is not installed")
    here = cache_root() / "peers" / f"{name}-{platform.machine()}"
    here.mkdir(parents=True, exist_ok=True)
    with FileLock(here / "lock", timeout=600):
        root = here / "root"
        if not root.is_dir():
            for part in ("lists/partial", "cache/archives/partial"):
                (here / part).mkdir(parents=True, exist_ok=True)
            (here / "status").touch()
            line = f"deb [signed-by={keyring}] {archive} {suite} main\n"
            (here / "sources.list").write_text(line)
            (here / "apt.conf").write_text(_CONFIGURATION.format(here=here))
            apt = ["apt-get", "-q", "-y", "-c", str(here / "apt.conf")]
            _run([*apt, "update"], here)
            _run([*apt, "download", *packages], here)
            scratch = here / "unpacking"
            shutil.rmtree(scratch, ignore_errors=True)
            for package in packages:
                (file,) = here.glob(f"{package}_*.deb")
                _run(["dpkg-deb", "-x", str(file), str(scratch)], here)
            scratch.rename(root)
    return Peer(root)


def _run(argv: list[str], here: Path) -> None:
    """Fails the test with the tool's own words: no network is not a reason to look green."""
    done = subprocess.run(argv, cwd=here, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.fail(f"{argv[0]} could not get a peer of the tests: {done.stderr[-500:]}")
