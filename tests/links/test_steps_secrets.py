"""Secrets that a plan names, an EST login and PINs, reach whom they are for and nobody else."""

from __future__ import annotations

import base64
import shutil
from pathlib import Path

import pytest

from harness.errors import Misuse
from harness.wire import TRAFFIC
from provisioning.http_errors import ServiceRefused
from provisioning.station import Station
from tests.device.sampling import sampled_here
from tests.links.dps_server import DpsServer
from tests.links.est_asking import p7
from tests.links.est_issuing import Issuing
from tests.links.est_pki import Pki
from tests.links.est_script import ScriptedServer, answer
from tests.links.host_box import SERIAL, USER_PIN, HostBox, host_box
from tests.links.sshd import LocalSshd

pytestmark = pytest.mark.slow

PASSWORD = "planted-est-password-60317"
LOGIN = base64.b64encode(f"line-1:{PASSWORD}".encode()).decode()
SECRETS = [PASSWORD, LOGIN, USER_PIN, "planted-so-pin-9917"]


def tables(pki: Pki, est: str, password: Path, dps: str = "") -> str:
    root = pki.here / "ca.pem"
    text = (
        f'[enrollment.est]\nserver = "{est}"\ntrusted = "{root}"\nca = "{root}"\n'
        f'profile = "client"\nuser = "line-1"\npassword_file = "{password}"\n'
    )
    more = f'[enrollment.dps]\nservice = "{dps}"\nid_scope = "0ne00ABCDEF"\ntrusted = "{root}"\n'
    return text + (more if dps else "")


@pytest.fixture
def password(tmp_path: Path) -> Path:
    file = tmp_path / "password"
    file.touch(mode=0o600)
    file.write_text(f"{PASSWORD}\n")
    return file


def left_by(box: HostBox, station: Station) -> bytes:
    """All that a run wrote, but for what keeps secrets: on the station and in the box's place."""
    files = [*station.records(SERIAL).rglob("*"), *(box.place / "identity").rglob("*")]
    return b"".join(file.read_bytes() for file in files if file.is_file())


def test_planted_login_and_pins_are_seen_nowhere(
    sshd: LocalSshd,
    tmp_path: Path,
    pki: Pki,
    password: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    (tmp_path / "box").mkdir()
    station = Station(tmp_path / "station")
    with (
        host_box(sshd, tmp_path / "box") as box,
        ScriptedServer(pki, Issuing(pki, None)) as est,
        DpsServer(pki) as dps,
        caplog.at_level(TRAFFIC, logger="harness"),
        caplog.at_level(1),
        sampled_here() as seen,
    ):
        dps.enrollments.enroll_group("line-1", pki.root)
        box.run(box.plan(tables(pki, est.url, password, dps.url)), station)
        refusing = answer(b"no", status="401 No", kind="text/plain")
        with (
            ScriptedServer(pki, answer(p7(pki.root)), refusing) as stranger,
            pytest.raises(ServiceRefused) as refusal,
        ):
            box.clean()
            (station.records(SERIAL) / "device.pem").unlink()
            shutil.rmtree(station.records(SERIAL) / "issued")
            box.run(box.plan(tables(pki, stranger.url, password)), station)
        written = left_by(box, station)
        asked = "".join(str(entry) for entry in box.target.history.since(0))

    posts = [request for request in est.requests if request.startswith(b"POST")]
    assert all(LOGIN.encode() in post for post in posts)
    assert LOGIN.encode() in stranger.requests[1]
    for kind in (b"s_client", b"token_worker"):
        assert kind in seen.all, f"no {kind!r} was sampled: this looked at nothing"
    logged = caplog.text + repr(caplog.records) + repr([r.args for r in caplog.records])
    told = f"{refusal.value!r} {refusal.value.__dict__} {refusal.value.__context__!r}"
    text = written + seen.all + (logged + told + asked).encode(errors="surrogateescape")
    for secret in SECRETS:
        assert secret.encode() not in text
        assert secret.encode().hex().encode() not in text


def test_password_file_that_others_may_read_is_refused_and_nobody_asked(
    sshd: LocalSshd, tmp_path: Path, pki: Pki, password: Path
) -> None:
    (tmp_path / "box").mkdir()
    password.chmod(0o644)
    with (
        host_box(sshd, tmp_path / "box") as box,
        ScriptedServer(pki, Issuing(pki, None)) as est,
        pytest.raises(Misuse, match="others than its owner may read"),
    ):
        box.run(box.plan(tables(pki, est.url, password)), Station(tmp_path / "station"))

    assert est.requests == []
