"""The test server, judged by Microsoft's own client for devices, and our client beside it.

A server that only our own client has seen may share its mistakes. The npm packages come by the
lock file in ``dps_node``, their checksums checked by npm, into the user's cache.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.links.dps_microsoft import installed
from tests.links.dps_server import HUB, KEY, DpsServer, Fault
from tests.links.est_pki import Pki

pytestmark = pytest.mark.slow

DEVICE = "tb-node-0001"


@pytest.fixture(scope="module")
def modules() -> Path:
    return installed()


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


@pytest.fixture(scope="module")
def told(modules: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What each verb of Microsoft's client for the factory's side gave (enroll.js)."""
    pki = Pki.make(tmp_path_factory.mktemp("pki"))
    with DpsServer(pki) as server:
        done = subprocess.run(
            ["node", "enroll.js", str(server.port), *[str(pki.here / "ca.pem")] * 2],
            input=KEY, cwd=modules, capture_output=True, check=False, timeout=60,
        )  # fmt: skip
    assert done.stdout, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_microsofts_client_enrolls_with_pem_and_is_shown_the_documented_fields(
    told: dict[str, Any],
) -> None:
    made = told["made"]
    primary = made["attestation"]["x509"]["signingCertificates"]["primary"]

    assert made["capabilities"] == {"iotEdge": True}
    assert made["initialTwin"] == {"tags": {"line": 1}, "properties": {"desired": {"led": "on"}}}
    assert made["reprovisionPolicy"] == {"updateHubAssignment": True, "migrateDeviceData": True}
    assert {"allocationPolicy", "createdDateTimeUtc", "lastUpdatedDateTimeUtc"} <= set(made)
    assert primary["certificate"] is None
    assert set(primary["info"]) == {
        *("subjectName", "sha1Thumbprint", "sha256Thumbprint", "issuerName"),
        *("notBeforeUtc", "notAfterUtc", "serialNumber", "version"),
    }
    assert primary["info"]["version"] == 3
    assert told["attestation"] == made["attestation"]


def test_microsofts_client_puts_back_what_it_got_and_not_what_is_old(
    told: dict[str, Any],
) -> None:
    assert told["put_back"]["provisioningStatus"] == "disabled"
    assert told["put_back"]["attestation"] == told["made"]["attestation"]
    assert told["put_back"]["createdDateTimeUtc"] == told["made"]["createdDateTimeUtc"]
    assert told["stale"]["status"] == 412
    assert told["twice"]["status"] == 409


def test_microsofts_client_lists_removes_and_finds_nothing_then(told: dict[str, Any]) -> None:
    assert [one["enrollmentGroupId"] for one in told["listed"]] == ["line-1"]
    assert told["nobody"]["status"] == 404
    assert told["gone"]["status"] == 404
