"""The Debian archive: which one this host uses, and a private apt that reaches other suites of it.

Nothing of the host's own apt is touched: lists, cache, status and sources are ours, only its
network settings (proxies) are inherited. Signatures are checked against debian-archive-keyring.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from emulator.deb822 import paragraphs
from emulator.running import Tools
from harness.errors import BuildFailed, Misuse

KEYRINGS = (
    Path("/usr/share/keyrings/debian-archive-keyring.pgp"),
    Path("/usr/share/keyrings/debian-archive-keyring.gpg"),
)
BINARIES = "trixie"
SSH_SERVER = "bookworm"  # why: see emulator/packages.py
SOURCES = ("trixie", "sid")
ARCHITECTURE = "arm64"


def host_archive(apt: Path = Path("/etc/apt"), release: Path = Path("/etc/os-release")) -> str:
    """The Debian archive's URI in this host's apt configuration. Raises Misuse when there is none.

    It is the source whose suite is the codename the host itself runs: security and vendor
    archives have other suites. Reads ``sources.list.d/*.sources`` (deb822) and the one-line style.
    """
    fields = dict(line.split("=", 1) for line in release.read_text().splitlines() if "=" in line)
    distribution, codename = fields.get("ID", "").strip('"'), fields.get("VERSION_CODENAME", "")
    if distribution == "debian":
        for uri, suites in _entries(apt):
            if codename.strip('"') in suites:
                return uri.rstrip("/")
    raise Misuse(
        "this host's apt configuration names no Debian archive",
        hint="Give one with --archive URL: any Debian mirror that carries"
        f" {BINARIES} (binaries and sources), {SSH_SERVER} (binaries) and {SOURCES[-1]} (sources).",
    )


def _entries(apt: Path) -> Iterator[tuple[str, list[str]]]:
    for file in sorted((apt / "sources.list.d").glob("*.sources")):
        for entry in paragraphs(file.read_text()):
            if "deb" in entry.get("Types", "").split() and entry.get("Enabled", "yes") != "no":
                for uri in entry.get("URIs", "").split():
                    yield uri, entry.get("Suites", "").split()
    for file in (apt / "sources.list", *sorted((apt / "sources.list.d").glob("*.list"))):
        for line in file.read_text().splitlines() if file.exists() else ():
            words = line.split("#")[0].split("]", 1)
            rest = (words[-1] if len(words) > 1 else words[0].removeprefix("deb ")).split()
            if line.startswith("deb ") and len(rest) >= 2:
                yield rest[0], [rest[1]]


@dataclass(frozen=True, slots=True)
class Apt:
    """A private apt in ``directory``, on the archive ``uri``."""

    directory: Path
    uri: str
    tools: Tools

    def refresh(self) -> None:
        """Fetch the archive's lists. Raises BuildFailed when it cannot be reached or trusted."""
        self._configure()
        self.tools.run("archive lists", *self._apt_get("update"))

    def simulate(self, names: Iterable[str]) -> list[str]:
        """The names of all packages that installing ``names`` on an empty system would bring."""
        text = self.tools.ask(
            "package closure",
            *self._apt_get("install", "--simulate", "--no-install-recommends"),
            *names,
        )
        return sorted(line.split()[1] for line in text.splitlines() if line.startswith("Inst "))

    def show(self, names: Iterable[str]) -> list[dict[str, str]]:
        """The archive's own record of each binary package, ``name`` or ``name/suite``."""
        command = ["apt-cache", "-c", str(self._conf), "show", "--no-all-versions", *names]
        return list(paragraphs(self.tools.ask("package records", *command)))

    def download(self, names: Iterable[str], into: Path) -> None:
        """Fetch binary packages (hashes checked by apt) into the directory ``into``."""
        wanted = sorted(names)
        if wanted:
            self.tools.run("package download", *self._apt_get("download", *wanted), cwd=into)

    def source_files(self, name: str, suite: str) -> list[tuple[str, str]]:
        """(file name, sha256) of each part of the source package ``name`` in ``suite``."""
        command = self._apt_get("source", "--print-uris", "--only-source", f"{name}/{suite}")
        parts = []
        for line in self.tools.ask(f"source of {name}", *command).splitlines():
            if line.startswith("'"):
                _, file, _, digest = line.rsplit(" ", 3)
                parts.append((file, digest.removeprefix("SHA256:")))
        if not any(file.endswith(".dsc") for file, _ in parts):
            raise BuildFailed(f"source of {name}", f"{suite} has no source package {name}")
        return parts

    def download_source(self, name: str, suite: str, into: Path) -> None:
        """Fetch the parts of a source package (hashes checked by apt) into ``into``."""
        command = self._apt_get("source", "--download-only", "--only-source", f"{name}/{suite}")
        self.tools.run(f"source of {name}", *command, cwd=into)

    @property
    def _conf(self) -> Path:
        return self.directory / "apt.conf"

    def _apt_get(self, *words: str) -> list[str]:
        return ["apt-get", "-q", "-y", "-c", str(self._conf), *words]

    def _configure(self) -> None:
        keyring = next((file for file in KEYRINGS if file.exists()), None)
        if keyring is None:
            raise BuildFailed("archive lists", "debian-archive-keyring is not installed")
        for part in ("lists/partial", "cache/archives/partial"):
            (self.directory / part).mkdir(parents=True, exist_ok=True)
        (self.directory / "status").touch()
        lines = [
            f"deb [arch={ARCHITECTURE} signed-by={keyring}] {self.uri} {suite} main"
            for suite in (BINARIES, SSH_SERVER)
        ]
        lines += [f"deb-src [signed-by={keyring}] {self.uri} {suite} main" for suite in SOURCES]
        (self.directory / "sources.list").write_text("\n".join(lines) + "\n")
        # Read after the host's own configuration (-c), so that its pins and architectures do not
        # reach in here. Sandbox user: apt's own user cannot enter a cache below a private home.
        self._conf.write_text(
            f'Dir::Etc::SourceList "{self.directory}/sources.list";\n'
            'Dir::Etc::SourceParts "/dev/null";\n'
            'Dir::Etc::Preferences "/dev/null";\n'
            'Dir::Etc::PreferencesParts "/dev/null";\n'
            'Dir::Etc::Trusted "/dev/null";\n'
            'Dir::Etc::TrustedParts "/dev/null";\n'
            f'Dir::State "{self.directory}";\n'
            f'Dir::State::Lists "{self.directory}/lists";\n'
            f'Dir::State::status "{self.directory}/status";\n'
            f'Dir::Cache "{self.directory}/cache";\n'
            # Container images switch these off, and each command would parse all lists again.
            'Dir::Cache::pkgcache "pkgcache.bin";\n'
            'Dir::Cache::srcpkgcache "srcpkgcache.bin";\n'
            f'APT::Architecture "{ARCHITECTURE}";\n'
            "#clear APT::Architectures;\n"
            f'APT::Architectures {{ "{ARCHITECTURE}"; }};\n'
            'APT::Default-Release "";\n'
            'APT::Sandbox::User "root";\n'
            "#clear APT::Update::Post-Invoke;\n"
            "#clear APT::Update::Post-Invoke-Success;\n"
            "#clear DPkg::Post-Invoke;\n"
            'Acquire::Languages "none";\n'
            'Acquire::Retries "3";\n'
            # Without it a list that could not be fetched is a warning, and the old one is used.
            'APT::Update::Error-Mode "any";\n'
            'Debug::NoLocking "true";\n'
        )
