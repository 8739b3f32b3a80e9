"""What is wrong with a token or a PIN before a run: the error, and what is left on box and station.

SoftHSM2 stands in the TEE's token's place, at the far end of SSH and p11-kit: see host_box.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from harness.deadline import Deadline
from harness.errors import (
    BadInput,
    DeviceRefused,
    IntegrityFailure,
    TokenRefused,
    TrustBoxError,
)
from provisioning.keys import KeySession
from provisioning.run import provision
from provisioning.station import Station
from provisioning.steps_edge import EdgeStep
from provisioning.steps_key import KeyStep, TokenStep
from provisioning.token_public import KeyProfile
from provisioning.token_template import STRICT, KeyTemplate
from tests.fault_rows import marked
from tests.links.host_box import SERIAL, HostBox, Who, host_box, last_words, recorded
from tests.links.sshd import LocalSshd
from tests.links.token_fault_marks import TOKENS
from tests.links.token_rows import (
    LABEL,
    PURPOSE,
    SO,
    USER,
    made_with,
    objects,
    ours,
    plan,
    run,
)

pytestmark = pytest.mark.slow

OPEN = {"PRIVATE": True, "SENSITIVE": True, "EXTRACTABLE": True}


@pytest.fixture
def box(sshd: LocalSshd, tmp_path: Path) -> Iterator[HostBox]:
    place = tmp_path / "box"
    place.mkdir()
    with host_box(sshd, place) as made:
        yield made


@pytest.fixture
def station(tmp_path: Path) -> Station:
    return Station(tmp_path / "station")


def twice_the_label(keys: KeySession, by: Deadline) -> None:
    """The harness never makes a second one: another tool did, and its label was this one."""
    ours(keys, by)
    blank = next(slot for slot in keys.tokens(by=by) if not slot.initialised)
    keys.token._caller.call(
        "init_token", doing="as another tool", by=by,
        slot=blank.slot, label=LABEL, so_pin=SO.encode(),
    )  # fmt: skip


def foreign(keys: KeySession, by: Deadline) -> None:
    ours(keys, by)
    key = ec.generate_private_key(ec.SECP256R1())
    keys.token.import_ec(keys.id_of(PURPOSE), PURPOSE, key, template=STRICT, by=by)


def two_of_one_id(keys: KeySession, by: Deadline) -> None:
    foreign(keys, by)
    key = ec.generate_private_key(ec.SECP256R1())
    keys.token.import_ec(keys.id_of(PURPOSE), PURPOSE, key, template=STRICT, by=by)


@dataclass(frozen=True)
class Row:
    """``at``: the step that ends the run."""

    arrange: Callable[[KeySession, Deadline], None]
    raises: type[TrustBoxError]
    said: str
    at: str
    user: str = USER


ROWS = {
    "wrong PIN": Row(ours, TokenRefused, "CKR_PIN_INCORRECT", "token", user="not-the-pin"),
    "PIN of 3 octets": Row(ours, BadInput, "user_pin", "token", user="123"),
    "PIN of 129 octets": Row(ours, BadInput, "user_pin", "token", user="1" * 129),
    "two tokens of one label": Row(twice_the_label, DeviceRefused, "2 tokens", "token"),
    "two keys of one id": Row(two_of_one_id, DeviceRefused, "2 private and 2 public", "key"),
    "key of another curve": Row(
        made_with(profile=KeyProfile.EC_P384), IntegrityFailure, "is ec-p384", "key"
    ),
    "imported key posing as made here": Row(foreign, IntegrityFailure, "LOCAL", "key-proof"),
    "EXTRACTABLE": Row(
        made_with(KeyTemplate("t", OPEN)), IntegrityFailure, "EXTRACTABLE", "key-proof"
    ),
    "not SENSITIVE": Row(
        made_with(KeyTemplate("t", {**OPEN, "SENSITIVE": False})),
        IntegrityFailure,
        "SENSITIVE",
        "key-proof",
    ),
}


@pytest.mark.parametrize("row", marked(ROWS, TOKENS))
def test_faulty_token_ends_the_run_and_is_left_as_it_was(
    box: HostBox, station: Station, row: Row, by: Deadline
) -> None:
    with closing(KeySession(box.target)) as keys:
        row.arrange(keys, by)
    before = objects(box)

    with pytest.raises(row.raises) as raised:
        run(box, plan(box, user=row.user), station)

    assert row.said in f"{raised.value} {raised.value.diagnostics()}"
    assert row.user not in f"{raised.value} {raised.value.diagnostics()}"
    assert objects(box) == before
    assert last_words(station) == (row.at, "failed")
    assert not (station.records(SERIAL) / "record.json").exists()


@pytest.mark.fault(
    "Token",
    "the PKCS#11 module is not there",
    comes="DeviceRefused or LinkLost, status 6 or 4; nothing was made",
    then="install the module on the box, or name its path in the target's layout, then run again",
)
def test_module_that_is_gone_ends_the_run_before_anything_is_made(
    box: HostBox, station: Station
) -> None:
    layout = replace(box.target.layout, pkcs11_module="/nonexistent/libckteec.so.0")
    without = replace(box, target=replace(box.target, layout=layout))

    with pytest.raises(TrustBoxError):
        run(without, plan(box), station)

    assert objects(box) == set()
    assert last_words(station) == ("token", "failed")
    assert not (station.records(SERIAL) / "record.json").exists()


@pytest.mark.fault(
    "Token",
    "a public key without its private one, as a power cut leaves it",
    comes="works: the orphan is gone, one pair is there",
    then="nothing",
)
def test_public_key_left_by_a_power_cut_gives_way_to_a_whole_pair(
    box: HostBox, station: Station, by: Deadline
) -> None:
    with closing(KeySession(box.target)) as keys:
        made_with()(keys, by)
        keys.token.destroy("private", keys.id_of(PURPOSE), by=by)
    [orphan] = objects(box)

    run(box, plan(box), station)

    assert orphan not in objects(box)
    assert len(objects(box)) == 2
    assert recorded(station, "key", "verdict") == "made-inside"


@pytest.mark.fault(
    "Token",
    "a PIN or a label with &;%+ and spaces, or beyond ASCII",
    comes="works: one pair, and a second run finds it",
    then="nothing",
)
@pytest.mark.parametrize(
    ("user", "label"),
    [('p&;%+= /?#"n', LABEL), ("äöü-4012", LABEL), (USER, "box; token=x&%2F")],
    ids=["PIN with a URI's signs", "PIN beyond ASCII", "label with a URI's signs"],
)
def test_signs_that_mean_something_elsewhere_are_taken_as_they_are(
    box: HostBox, station: Station, user: str, label: str
) -> None:
    wanted = plan(box, user=user, label=label)

    run(box, wanted, station)
    run(box, wanted, station)

    assert recorded(station, "token", "label") == label
    assert recorded(station, "key", "verdict") == "made-inside"
    assert len(objects(box)) == 2


@pytest.mark.fault(
    "Token",
    "two keys of one label, where IoT Edge is to be configured",
    comes="IntegrityFailure, status 7, before IoT Edge is configured; both keys are there",
    then="look at both with trustbox keys evidence; erase or relabel the one that is not"
    " the device key",
)
def test_two_keys_of_one_label_are_not_left_to_iot_edge_to_choose_from(
    box: HostBox, station: Station, by: Deadline
) -> None:
    """It looks keys up by their label and takes the first. The key's own step goes by CKA_ID."""
    with closing(KeySession(box.target)) as keys:
        ours(keys, by)
        key = ec.generate_private_key(ec.SECP256R1())
        keys.token.import_ec(b"theirs", PURPOSE, key, template=STRICT, by=by)
    service = '[enrollment.dps]\nservice = "https://localhost:1"\nid_scope = "0ne00ABCDEF"\n'
    plan(box)
    wanted = box.plan(service + '[iotedge]\nidentity = "installed"\n')

    with pytest.raises(IntegrityFailure, match="2 keys labelled device-id") as refusal:
        provision(
            box.target, wanted, station, steps=lambda: (Who(), TokenStep(), KeyStep(), EdgeStep())
        )

    assert b"theirs".hex() in refusal.value.hint
    assert last_words(station) == ("iotedge", "failed")
