"""The tables of a plan about enrollment are read as strictly as the others, and may be left out."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import BadInput
from provisioning.plan import Plan, example_plan, parse_plan

BESIDE = Path("/factory")
FIRST = example_plan().partition("\n[enrollment.est]\n")[0] + "\n"
EST = '[enrollment.est]\nserver = "https://est.example.com:8443"\nca = "root.pem"\n'
DPS = '[enrollment.dps]\nservice = "https://dps.example.com/"\nid_scope = "0ne00ABCDEF"\n'


def parsed(tables: str) -> Plan:
    return parse_plan((FIRST + tables).encode(), where="my.toml", beside=BESIDE)


def test_example_enrolls_with_the_stations_own_services() -> None:
    plan = parse_plan(example_plan().encode(), where="first.toml", beside=BESIDE)

    assert plan.est is not None
    assert plan.dps is not None
    assert plan.edge is not None
    assert (plan.est.server, plan.dps.service, plan.edge.hostname) == ("", "", "")


def test_all_three_may_be_left_out() -> None:
    plan = parsed("")

    assert (plan.est, plan.dps, plan.edge) == (None, None, None)


def test_paths_are_relative_to_the_plan() -> None:
    more = 'trusted = "tls.pem"\nuser = "line"\npassword_file = "password"\nprofile = "client"\n'
    plan = parsed(EST + more + DPS)

    assert plan.est is not None
    assert (plan.est.ca, plan.est.trusted) == (BESIDE / "root.pem", BESIDE / "tls.pem")
    assert (plan.est.login, plan.est.idevid) == (("line", BESIDE / "password"), False)
    assert plan.dps is not None
    assert (plan.dps.service, plan.dps.id_scope) == ("https://dps.example.com", "0ne00ABCDEF")


STATION = '[enrollment.est]\nserver = "station"\n'


@pytest.mark.parametrize(
    ("tables", "key"),
    [
        pytest.param("[enrollment.scep]\n", r"\[enrollment\.scep\]", id="unknown table"),
        pytest.param("enrollment = 1\n", "integrity.enrollment", id="in another table"),
        pytest.param("[enrollment]\nest = 1\n", "enrollment.est", id="no table"),
        pytest.param(EST + 'pin = "1"\n', "enrollment.est.pin", id="unknown key"),
        pytest.param(EST + "renew_days = 0\n", "enrollment.est.renew_days", id="no days"),
        pytest.param(EST + 'proof = "yes"\n', "enrollment.est.proof", id="unknown proof"),
        pytest.param(STATION + 'proof = "tls-unique"\n', "enrollment.est.proof", id="own proof"),
        pytest.param("[enrollment.est]\n", "enrollment.est.server", id="no server"),
        pytest.param(EST.replace("https", "http"), "enrollment.est.server", id="http"),
        pytest.param(EST.replace('ca = "root.pem"', ""), "enrollment.est.ca", id="no root"),
        pytest.param(EST + 'user = "a"\n', "enrollment.est.password_file", id="no password"),
        pytest.param(EST + 'user = "a:b"\n', "enrollment.est.user", id="colon in the user"),
        pytest.param(EST + "patience = -1\n", "enrollment.est.patience", id="no patience"),
        pytest.param(EST + 'label = "../x"\n', "enrollment.est.label", id="label as path"),
        pytest.param(EST + 'profile = "any"\n', "enrollment.est.profile", id="unknown profile"),
        pytest.param(STATION + 'ca = "x"\n', "enrollment.est.ca", id="root of the station's"),
        pytest.param(DPS.replace("0ne00ABCDEF", "a/b"), "enrollment.dps.id_scope", id="scope"),
        pytest.param(
            '[enrollment.dps]\nservice = "station"\nid_scope = "a"\n',
            "enrollment.dps.id_scope",
            id="scope of the station's",
        ),
        pytest.param('[iotedge]\nidentity = "installed"\n', "iotedge.identity", id="no DPS"),
        pytest.param(DPS + '[iotedge]\nidentity = "x"\n', "iotedge.identity", id="unknown way"),
        pytest.param(
            DPS + '[iotedge]\nidentity = "installed"\nhostname = "A B"\n',
            "iotedge.hostname",
            id="no host name",
        ),
    ],
)
def test_what_is_wrong_is_named(tables: str, key: str) -> None:
    with pytest.raises(BadInput, match=rf"^my\.toml: {key} is ") as complaint:
        parsed(tables)

    assert complaint.value.exit_status == 2
