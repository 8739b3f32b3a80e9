"""The test server, judged by Microsoft's own client for devices, and our client beside it.

A server that only our own client has seen may share its mistakes. The npm packages come by the
lock file in ``dps_node``, their checksums checked by npm, into the user's cache.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from emulator.paths import cache_root
from tests.links.dps_server import HUB, DpsServer, Fault
from tests.links.est_pki import Pki

pytestmark = pytest.mark.slow

DEVICE = "tb-node-0001"
HERE = Path(__file__).with_name("dps_node")


@pytest.fixture(scope="module")
def modules() -> Path:
    """Where Microsoft's client is installed."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("Microsoft's client needs node and npm, which this host does not have")
    lock = (HERE / "package-lock.json").read_bytes()
    place = cache_root() / "peers" / f"node-{hashlib.sha256(lock).hexdigest()[:16]}"
    place.mkdir(parents=True, exist_ok=True)
    with FileLock(place / "lock", timeout=100):
        if not (place / "whole").exists():
            for file in HERE.iterdir():
                shutil.copy(file, place)
            npm = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
            got = subprocess.run(
                npm, cwd=place, capture_output=True, text=True, check=False, timeout=90
            )
            if got.returncode:
                pytest.fail(f"npm could not get Microsoft's client: {got.stderr[-500:]}")
            (place / "whole").touch()
        shutil.copy(HERE / "register.js", place)
    return place


def register(modules: Path, server: DpsServer, name: str = DEVICE) -> dict[str, Any]:
    mine = server.pki.identity(name)
    done = subprocess.run(
        [
            *("node", "register.js", str(server.port), "0ne00ABCDEF", DEVICE),
            *(str(mine.chain), str(mine.key), str(server.pki.here / "ca.pem")),
        ],
        cwd=modules,
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert done.stdout, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told


@pytest.mark.parametrize("polls", [0, 2])
def test_microsofts_client_is_assigned(modules: Path, pki: Pki, polls: int) -> None:
    with DpsServer(pki, polls=polls, retry_after="1") as server:
        server.open = True
        told = register(modules, server)

    assert told == {"hub": HUB, "device": DEVICE, "status": "assigned"}
    assert server.subjects[0] == f"CN={DEVICE}"


def test_microsofts_client_understands_the_refusal_of_a_certificate(
    modules: Path, pki: Pki
) -> None:
    with DpsServer(pki) as server:
        told = register(modules, server)  # no enrollment

    assert told["error"] == "UnauthorizedError"
    assert json.loads(told["body"])["errorCode"] == 401002


@pytest.mark.parametrize("when", ["/register", "/operations/"])
def test_microsofts_client_takes_a_busy_service_for_an_error(
    modules: Path, pki: Pki, when: str
) -> None:
    """Measured; ours waits as it is told (test_dps_trouble)."""
    busy = Fault(429, only=when, headers={"retry-after": "1"})
    with DpsServer(pki, busy, retry_after="1") as server:
        server.open = True
        assert register(modules, server)["error"] == "ThrottlingError"


@pytest.mark.parametrize("status", ["disabled", "failed"])
def test_microsofts_client_takes_the_other_ends_for_errors(
    modules: Path, pki: Pki, status: str
) -> None:
    with DpsServer(pki, retry_after="1", outcome={"status": status}) as server:
        server.open = True
        assert status in register(modules, server)["message"]
