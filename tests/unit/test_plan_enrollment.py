"""The tables of a plan about enrollment are read as strictly as the others, and may be left out."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from harness.errors import BadInput
from provisioning.plan import Plan, example_plan, parse_plan
from provisioning.plan_edge import EdgeEst

BESIDE = Path("/factory")
FIRST = example_plan().partition("\n[enrollment.est]\n")[0] + "\n"
EST = '[enrollment.est]\nserver = "https://est.example.com:8443"\nca = "root.pem"\n'
DPS = '[enrollment.dps]\nservice = "https://dps.example.com/"\nid_scope = "0ne00ABCDEF"\n'


EDGE = '[iotedge]\nidentity = "est"\nserver = "https://est.example.com:8443"\n'


def parsed_as_idevid(tables: str) -> Plan:
    """With a device key of another purpose than the example's."""
    first = FIRST.replace('purpose = "device-id"', 'purpose = "idevid"')
    return parse_plan((first + tables).encode(), where="my.toml", beside=BESIDE)


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


def test_line_may_have_a_certificate_of_its_own_for_the_est_server() -> None:
    plan = parsed(EST + 'chain = "line.pem"\nkey = "line.key"\n')

    assert plan.est is not None
    assert plan.est.identity == (BESIDE / "line.pem", BESIDE / "line.key")


def test_iot_edge_may_get_its_certificate_by_est() -> None:
    plan = parsed_as_idevid(DPS + EDGE + 'label = "boxes"\ntrusted = "tls.pem"\n')

    assert plan.edge is not None
    assert plan.edge.est == EdgeEst(
        "https://est.example.com:8443", label="boxes", trusted=BESIDE / "tls.pem"
    )
    assert plan.edge.est.url == "https://est.example.com:8443/.well-known/est/boxes"


def test_iot_edge_may_get_it_by_a_login_and_keep_its_key() -> None:
    more = 'user = "edge"\npassword_file = "password"\nrotate_key = false\n'
    plan = parsed_as_idevid(DPS + EDGE + more)

    assert plan.edge is not None
    assert plan.edge.est is not None
    assert (plan.edge.est.login, plan.edge.est.rotate_key) == (("edge", BESIDE / "password"), False)


@pytest.mark.parametrize(
    ("line", "label"),
    [('purpose = "idevid"', "device-id"), ("[keys]", "est-id")],
    ids=["the device key", "another key"],
)
def test_no_key_is_called_as_iot_edge_calls_its_own(line: str, label: str) -> None:
    """It takes the key of that name for its own instead of making one."""
    called = f'purpose = "{label}"' if line != "[keys]" else f'[keys]\n{label} = "ec-p256"'
    text = FIRST.replace('purpose = "device-id"', 'purpose = "idevid"').replace(line, called)

    with pytest.raises(BadInput, match=r"iotedge\.identity") as complaint:
        parse_plan((text + DPS + EDGE).encode(), where="my.toml", beside=BESIDE)

    assert f"other purposes than {label}" in complaint.value.expected


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
        pytest.param(EST + 'chain = "a"\n', "enrollment.est.key", id="chain without its key"),
        pytest.param(EST + 'key = "a"\n', "enrollment.est.chain", id="key without its chain"),
        pytest.param(STATION + 'chain = "a"\n', "enrollment.est.chain", id="own chain"),
        pytest.param(
            DPS + '[iotedge]\nidentity = "installed"\nserver = "https://x"\n',
            "iotedge.server",
            id="server of the installed",
        ),
        pytest.param(DPS + '[iotedge]\nidentity = "est"\n', "iotedge.server", id="edge's server"),
        pytest.param(
            DPS + '[iotedge]\nidentity = "est"\nserver = "station"\n',
            "iotedge.server",
            id="the station for the edge",
        ),
        pytest.param(
            DPS + EDGE + 'user = "a"\n', "iotedge.password_file", id="edge without password"
        ),
        pytest.param(DPS + EDGE + "rotate_key = 1\n", "iotedge.rotate_key", id="no flag"),
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


@pytest.mark.fault(
    "Run",
    "the plan's [iotedge] server is this station, by localhost or by an address of its own",
    comes="BadInput, status 2, of plan check and provision, before a box is opened",
    then="name a server that the box reaches in the field",
)
@pytest.mark.parametrize(
    "host",
    [
        *("localhost:8443", "LOCALHOST", "est.localhost", "localhost.localdomain"),
        *("127.0.0.1:8443", "127.9.9.9", "[::1]:8443", "0.0.0.0"),  # noqa: S104
        pytest.param(socket.gethostname(), id="this machine's name"),
    ],
)
def test_iot_edge_is_not_sent_to_this_station_which_on_the_box_is_the_box(host: str) -> None:
    tables = DPS + EDGE.replace("est.example.com:8443", host)

    with pytest.raises(BadInput, match=r"^my\.toml: iotedge\.server is .*as the box reaches it"):
        parsed_as_idevid(tables)


def test_iot_edge_is_sent_to_an_address_of_another_machine() -> None:
    found = parsed_as_idevid(DPS + EDGE.replace("est.example.com", "192.0.2.7")).edge

    assert found is not None
    assert found.est is not None
    assert found.est.server == "https://192.0.2.7:8443"
