"""``trustbox dps`` as a script of a factory uses it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.links.dps_server import HUB, KEY, DpsServer
from tests.links.dps_token import PIN, device_token
from tests.links.est_command import process, trustbox
from tests.links.est_pki import Pki

pytestmark = pytest.mark.slow

DEVICE = "tb-cli-0001"


@pytest.fixture
def pki(tmp_path: Path) -> Pki:
    made = Pki.make(tmp_path)
    (tmp_path / "policy").write_bytes(KEY + b"\n")
    (tmp_path / "policy").chmod(0o600)
    return made


@pytest.fixture
def server(pki: Pki) -> Iterator[DpsServer]:
    with DpsServer(pki) as running:
        yield running


def factory(server: DpsServer, verb: str, *words: str, key: str = "") -> tuple[int, bytes, bytes]:
    here = server.pki.here
    done = trustbox(
        *("dps", verb, "line-1", "--service", server.url, "--json"),
        *("--trusted", str(here / "ca.pem"), "--key-file", key or str(here / "policy")),
        *words,
        stdin=KEY,
    )
    return done.returncode, done.stdout, done.stderr


def test_enrollment_is_made_shown_and_removed(server: DpsServer) -> None:
    ca = ("--certificate", str(server.pki.here / "ca.pem"))

    made, again = factory(server, "enroll", *ca), factory(server, "enroll", *ca, key="-")
    shown, removed = factory(server, "show"), factory(server, "remove")
    gone = factory(server, "show")

    assert (json.loads(made[1])["changed"], json.loads(again[1])["changed"]) == (True, False)
    assert json.loads(shown[1])["certificate_sha256"] == json.loads(made[1])["certificate_sha256"]
    assert json.loads(removed[1])["removed"]
    assert (gone[0], json.loads(gone[2])["error"]) == (6, "ServiceRefused")


def test_enrollment_that_differs_is_status_2_until_replaced(server: DpsServer) -> None:
    here = server.pki.here
    factory(server, "enroll", "--certificate", str(here / "ca.pem"))

    refused = factory(server, "enroll", "--certificate", str(here / "server.pem"))
    changed = factory(server, "enroll", "--certificate", str(here / "server.pem"), "--replace")

    assert (refused[0], changed[0]) == (2, 0)


def test_enrollment_for_iot_edge_has_what_the_options_say_and_is_shown_so(
    server: DpsServer, tmp_path: Path
) -> None:
    ca = ("--certificate", str(server.pki.here / "ca.pem"))
    (tmp_path / "twin.json").write_text('{"tags": {"line": 3}}')
    wished = ("--edge", "--twin", str(tmp_path / "twin.json"), "--reprovision", "never")

    factory(server, "enroll", *ca, *wished)
    changed = factory(server, "enroll", *ca, "--disabled", "--replace")
    shown = json.loads(factory(server, "show")[1])

    assert changed[0] == 0
    assert b"is disabled and lets nobody in" in changed[2]
    assert (shown["edge"], shown["enabled"], shown["twin"]) == (True, False, {"tags": {"line": 3}})
    assert shown["reprovision"] == {"updateHubAssignment": False, "migrateDeviceData": False}


@pytest.mark.parametrize("text", ["no JSON", "[]", '{"desired": {}}', None])
def test_twin_of_another_form_is_status_2_and_nobody_is_asked(
    server: DpsServer, tmp_path: Path, text: str | None
) -> None:
    if text is not None:
        (tmp_path / "twin.json").write_text(text)
    ca = ("--certificate", str(server.pki.here / "ca.pem"))

    done = factory(server, "enroll", *ca, "--twin", str(tmp_path / "twin.json"))

    assert done[0] == 2
    assert server.requests == []


def test_device_registers_with_a_key_in_a_file(server: DpsServer) -> None:
    server.open = True
    mine = server.pki.identity(DEVICE)

    done = trustbox(
        *("dps", "register", DEVICE, "--id-scope", "0ne00ABCDEF", "--endpoint", server.url),
        *("--chain", str(mine.chain), "--key", str(mine.key), "--json"),
        *("--trusted", str(server.pki.here / "ca.pem")),
    )

    assert json.loads(done.stdout)["hub"] == HUB
    assert done.stderr.startswith(b"operation 4.")


def test_device_registers_with_a_key_in_a_token_and_the_pin_stays_hidden(
    server: DpsServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.open = True
    with device_token(tmp_path / "token", server.pki, DEVICE, far=False) as token:
        (tmp_path / "leaf.pem").write_text(token.identity.chain)
        for name, value in token.remote.environment.items():
            monkeypatch.setenv(name, value)
        seen, stop = [b""], threading.Event()
        watcher = threading.Thread(target=_watch, args=(seen, stop))
        watcher.start()
        done = process(
            *("dps", "register", DEVICE, "--id-scope", "0ne00ABCDEF", "--endpoint", server.url),
            *("--chain", str(tmp_path / "leaf.pem"), "--key", token.identity.key.text()),
            *("--module", token.identity.module, "--provider", token.identity.provider),
            *("--pin-file", "-", "--trusted", str(server.pki.here / "ca.pem")),
            stdin=PIN.reveal() + b"\n",
        )
        stop.set()
        watcher.join()

    assert done.stdout.decode() == f"{DEVICE} is assigned to {HUB} as {DEVICE}\n"
    assert b"s_client" in seen[0]
    assert PIN.reveal() not in seen[0] + done.stdout + done.stderr


def _watch(seen: list[bytes], stop: threading.Event) -> None:
    """Every command line on this machine, again and again."""
    while not stop.wait(0.05):
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                line = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if line not in seen[0]:
                seen[0] += line
