"""Which Debian archive the host uses, and that a private apt believes only a signed one."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from emulator.archive import Apt, host_archive
from emulator.running import Tools
from harness.deadline import Deadline
from harness.errors import BuildFailed, Misuse

BOOKWORM = 'ID=debian\nVERSION_CODENAME=bookworm\nPRETTY_NAME="Debian"\n'
MIRROR = "http://mirror.example/archive"


@pytest.fixture
def host(tmp_path: Path) -> Path:
    (tmp_path / "apt/sources.list.d").mkdir(parents=True)
    (tmp_path / "os-release").write_text(BOOKWORM)
    return tmp_path


def archive_of(host: Path) -> str:
    return host_archive(host / "apt", host / "os-release")


def test_the_archive_is_found_in_deb822_sources(host: Path) -> None:
    (host / "apt/sources.list.d/debian.sources").write_text(
        "Types: deb\nURIs: http://security.example/archive\nSuites: bookworm-security\n"
        "Components: main\n\n"
        f"Types: deb deb-src\n# a comment\nURIs: {MIRROR}/\nSuites: bookworm\n bookworm-updates\n"
    )

    assert archive_of(host) == MIRROR


@pytest.mark.parametrize(
    "line",
    [
        f"deb {MIRROR} bookworm main",
        f"deb [arch=amd64 signed-by=/usr/share/keyrings/a.gpg] {MIRROR} bookworm main # mine",
    ],
    ids=["plain", "with options"],
)
def test_the_archive_is_found_in_one_line_sources(host: Path, line: str) -> None:
    vendor = "deb http://vendor.example/archive stable main\n# deb http://old.example bookworm x\n"
    (host / "apt/sources.list").write_text(f"{vendor}{line}\n")

    assert archive_of(host) == MIRROR


def test_a_disabled_source_is_not_used(host: Path) -> None:
    (host / "apt/sources.list.d/debian.sources").write_text(
        f"Enabled: no\nTypes: deb\nURIs: {MIRROR}\nSuites: bookworm\nComponents: main\n"
    )

    with pytest.raises(Misuse, match="names no Debian archive"):
        archive_of(host)


def test_a_host_that_is_not_debian_is_told_the_option(host: Path) -> None:
    (host / "os-release").write_text("ID=ubuntu\nID_LIKE=debian\nVERSION_CODENAME=noble\n")
    (host / "apt/sources.list").write_text("deb http://other.example/archive noble main\n")

    with pytest.raises(Misuse) as told:
        archive_of(host)

    assert "--archive URL" in told.value.diagnostics()


@pytest.fixture
def unsigned_archive(tmp_path: Path) -> Iterator[str]:
    root = tmp_path / "www"
    for suite in ("trixie", "sid"):
        (root / "dists" / suite).mkdir(parents=True)
        (root / "dists" / suite / "InRelease").write_text(f"Origin: Debian\nSuite: {suite}\n")

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args: object) -> None:
            super().__init__(*args, directory=str(root))  # type: ignore[arg-type]

        def log_message(self, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_an_archive_without_debians_signature_is_refused(
    tmp_path: Path, unsigned_archive: str
) -> None:
    tools = Tools(tmp_path / "log", Deadline.after(60), lambda line: None)

    with pytest.raises(BuildFailed) as failed:
        Apt(tmp_path / "apt", unsigned_archive, tools).refresh()

    assert failed.value.step == "archive lists"
    assert failed.value.log == str(tmp_path / "log")
    assert not list((tmp_path / "apt/lists").glob("*Packages*"))
