"""The Debian packages an image is made of: found in which version, fetched, unpacked."""

from __future__ import annotations

import hashlib
import re
import shutil
import tempfile
import urllib.parse
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from emulator.archive import BINARIES, SSH_SERVER, Apt
from emulator.deb822 import paragraphs
from emulator.running import Tools
from harness.errors import BuildFailed

# From Debian 12, OpenSSH 9.2 instead of 10: it can serve a connection by a fork alone (sshd -r),
# where later ones execute two dynamically linked programs, which in a freshly restored QEMU costs
# more than the key exchange. It is also nearer to what boxes in the field run (7.6 to 8.2). Its
# dependencies are met by the newer suite; apt would refuse the pair, because OpenSSH before 9.4 is
# strict about OpenSSL's version, so these files are swapped in after the closure is known.
OLDER_SSH = frozenset({"openssh-server", "openssh-client", "openssh-sftp-server"})
FIRMWARE = "u-boot-qemu"
KERNEL = "linux-image-arm64"
# source package → suite. OP-TEE before 4.10 has no attestation PTA in Debian's build and open CVEs.
SOURCES = {"arm-trusted-firmware": "trixie", "mbedtls": "trixie", "optee-os": "sid"}


@dataclass(frozen=True, slots=True, order=True)
class Binary:
    """One binary package as the archive records it; ``file`` is where it was fetched to."""

    name: str
    version: str
    sha256: str
    source: str
    file: Path


@dataclass(frozen=True, slots=True, order=True)
class Source:
    """One source package: the file names and sha256 of its parts, the first being the .dsc."""

    name: str
    version: str
    suite: str
    files: tuple[tuple[str, str], ...]
    directory: Path

    @property
    def upstream(self) -> tuple[int, ...]:
        """The leading numbers of the upstream version: ``4.10.0-2`` → (4, 10, 0)."""
        found = re.match(r"(?:\d+:)?(\d+(?:\.\d+)*)", self.version)
        return tuple(int(part) for part in found[1].split(".")) if found else ()

    def unpack(self, into: Path, tools: Tools) -> Path:
        """The patched source tree, in the new directory ``into``."""
        dsc = self.directory / self.files[0][0]
        # apt has checked every part against the signed list; the .dsc's own signature is by a
        # maintainer whose key need not be here.
        tools.run(f"unpacking {self.name}", "dpkg-source", "--no-check", "-x", dsc, into)
        return into


def resolve(apt: Apt, userland: Iterable[str]) -> tuple[list[Binary], Binary]:
    """Everything for the userland plus U-Boot, and the kernel. Versions are the archive's today."""
    meta = apt.show([KERNEL])[0]
    kernel = re.match(r"(linux-image-\S+)", meta.get("Depends", ""))
    if not kernel:
        raise BuildFailed("package closure", f"{KERNEL} names no kernel package")
    names = [*apt.simulate(userland), FIRMWARE, kernel[1]]
    found: dict[str, Binary] = {}
    for record in apt.show(f"{n}/{SSH_SERVER}" if n in OLDER_SSH else n for n in names):
        name, version = record["Package"], record["Version"]
        file = f"{name}_{urllib.parse.quote(version, safe='+~')}_{record['Architecture']}.deb"
        file = file.replace("%3A", "%3a")
        source = record.get("Source", name).split()[0]
        where = apt.directory / "debs" / file
        found.setdefault(name, Binary(name, version, record["SHA256"], source, where))
    lacking = sorted(set(names) - set(found))
    if lacking:
        raise BuildFailed("package closure", f"{BINARIES} lacks {', '.join(lacking)}")
    return sorted(found.values()), found[kernel[1]]


def fetch(apt: Apt, binaries: list[Binary]) -> None:
    """Download what is not here yet, then check every file against the archive's sha256."""
    into = apt.directory / "debs"
    into.mkdir(parents=True, exist_ok=True)
    apt.download((f"{b.name}={b.version}" for b in binaries if not _is(b.file, b.sha256)), into)
    for binary in binaries:
        if not _is(binary.file, binary.sha256):
            raise BuildFailed("package download", f"{binary.file.name} is not what was promised")


def fetch_source(apt: Apt, name: str) -> Source:
    """The source package ``name``, fetched and checked."""
    suite = SOURCES[name]
    into = apt.directory / "sources"
    into.mkdir(parents=True, exist_ok=True)
    files = sorted(apt.source_files(name, suite), key=lambda part: not part[0].endswith(".dsc"))
    if not all(_is(into / file, digest) for file, digest in files):
        apt.download_source(name, suite, into)
    for file, digest in files:
        if not _is(into / file, digest):
            raise BuildFailed(f"source of {name}", f"{file} is not what was promised")
    version = _dsc_version(into / files[0][0])
    return Source(name, version, suite, tuple(files), into)


def unpack(binary: Binary, into: Path, tools: Tools) -> None:
    """The files of a package, without its maintainer scripts."""
    if binary.name not in OLDER_SSH:
        tools.run(f"unpacking {binary.name}", "dpkg-deb", "-x", binary.file, into)
        return
    # Older packages hold a directory /lib, with which dpkg-deb would replace the link to /usr/lib.
    with tempfile.TemporaryDirectory(dir=into.parent) as apart:
        tools.run(f"unpacking {binary.name}", "dpkg-deb", "-x", binary.file, apart)
        shutil.copytree(apart, into, symlinks=True, dirs_exist_ok=True)


def _dsc_version(dsc: Path) -> str:
    for paragraph in paragraphs(dsc.read_text()):
        if "Version" in paragraph:
            return paragraph["Version"]
    raise BuildFailed("sources", f"{dsc.name} names no version")


def _is(file: Path, sha256: str) -> bool:
    if not file.is_file():
        return False
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest() == sha256
