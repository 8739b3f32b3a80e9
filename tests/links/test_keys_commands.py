"""``trustbox keys data`` and ``keys wipe``, typed, on a token of SoftHSM2 at the far end of SSH."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from harness.deadline import Deadline
from harness.errors import TokenRefused
from harness.secret import Secret
from harness.target import Target
from provisioning.keys import KeySession
from provisioning.private_files import private_directory
from provisioning.record import FORMAT
from provisioning.station import Station
from provisioning.token_secrets import LARGEST_DATA
from tests.links.host_box import SERIAL, HostBox, host_box
from tests.links.sshd import LocalSshd
from tests.links.token_rows import LABEL, SO, USER, ours, plan
from tests.typed import Said, typed


@pytest.fixture
def box(sshd: LocalSshd, tmp_path: Path, by: Deadline) -> Iterator[HostBox]:
    """With a token that is ours."""
    place = tmp_path / "box"
    place.mkdir()
    with host_box(sshd, place) as made:
        plan(made)  # writes the file of PINs
        with closing(KeySession(made.target)) as keys:
            ours(keys, by)
        yield made


def told(said: Said) -> dict[str, object]:
    found = json.loads(said.out or said.err.splitlines()[-1])
    assert isinstance(found, dict)
    return found


Typed = Callable[..., Said]


@pytest.fixture
def trustbox_keys(
    box: HostBox,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Typed:
    """``trustbox keys``, as it is typed, but that the box is open already."""

    @contextmanager
    def already_open(*_: object, lasting: str | None = None, **__: object) -> Iterator[Target]:
        yield replace(box.target, lasting=lasting == SERIAL)

    monkeypatch.setattr("provisioning.cli.keys_options.opened", already_open)
    where = ("--pins", str(box.pins), "--state", str(tmp_path / "station"))
    return lambda *words: typed(monkeypatch, capsys, "keys", *words, *where)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    made = tmp_path / "batch.json"
    made.write_bytes(b'{"batch": 7}\n')
    return made


@pytest.mark.fault(
    "Token",
    "the power went between the SO PIN and the user PIN of a new token",
    comes="keys list (0) shows the slots and flags, and that there is no user PIN yet",
    then="run trustbox provision again",
)
def test_a_token_without_a_user_pin_is_listed_and_what_to_do_is_said(
    box: HostBox, trustbox_keys: Typed, by: Deadline
) -> None:
    with closing(KeySession(box.target)) as keys:
        blank = next(slot for slot in keys.tokens(by=by) if not slot.initialised)
        keys.token._caller.call(
            "init_token", doing="as a cut run", by=by,
            slot=blank.slot, label="half", so_pin=SO.encode(),
        )  # fmt: skip

    said = trustbox_keys("list", "--token", "half")

    assert said.status == 0
    assert "half" in said.out
    assert "token-initialized" in said.out
    assert "half has no user PIN yet: run trustbox provision again" in said.err


@pytest.mark.fault(
    "TEE storage",
    "the tokens of a box that was provisioned are blank, and somebody lists its keys",
    comes="keys list shows the blank slots, then IntegrityFailure, status 7, names the record",
    then="look where its storage is (trustbox attest), and bring back its disk",
)
def test_blank_tokens_of_a_box_whose_record_has_one_are_no_good_list(
    box: HostBox, trustbox_keys: Typed, tmp_path: Path
) -> None:
    shutil.rmtree(box.place / "tokens")
    (box.place / "tokens").mkdir()
    fresh = trustbox_keys("list")
    record = private_directory(Station(tmp_path / "station").records(SERIAL)) / "record.json"
    record.write_text(json.dumps({"format": FORMAT, "token": {"label": {"value": LABEL}}}))

    said = trustbox_keys("list")

    assert (fresh.status, said.status) == (0, 7)
    assert "blank" in said.out
    assert f"its tokens are blank, and the record has the token '{LABEL}' ({record})" in said.err


def test_file_is_kept_in_the_token_listed_and_given_back(
    trustbox_keys: Typed, file: Path, tmp_path: Path
) -> None:
    kept = trustbox_keys("data", "put", "batch", str(file), "--json")
    again = trustbox_keys("data", "put", "batch", str(file), "--json")
    listed = trustbox_keys("data", "list", "--json")
    got = trustbox_keys("data", "get", "batch")
    written = trustbox_keys("data", "get", "batch", "--out", str(tmp_path / "out"), "--json")

    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert (told(kept)["sha256"], told(kept)["stored"], told(again)["stored"]) == (
        digest,
        True,
        False,
    )
    assert told(listed)["data"] == [{"label": "batch", "octets": 13}]
    assert (got.status, got.out) == (0, file.read_text())
    assert told(written)["sha256"] == digest
    assert "value" not in told(written)
    assert (tmp_path / "out").read_bytes() == file.read_bytes()
    assert (tmp_path / "out").stat().st_mode & 0o777 == 0o600


def test_other_contents_and_the_end_of_them_need_a_permission(
    trustbox_keys: Typed, file: Path
) -> None:
    trustbox_keys("data", "put", "batch", str(file))
    kept = file.read_text()
    file.write_text("other")

    replaced = trustbox_keys("data", "put", "batch", str(file), "--json")
    erased = trustbox_keys("data", "erase", "batch", "--json")
    still = trustbox_keys("data", "get", "batch")
    permitted = trustbox_keys("data", "put", "batch", str(file), "--lasting", SERIAL)
    now = trustbox_keys("data", "get", "batch")
    gone = trustbox_keys("data", "erase", "batch", "--lasting", SERIAL)
    nothing = trustbox_keys("data", "get", "batch", "--json")

    assert (replaced.status, erased.status, still.out) == (2, 2, kept)
    assert f"--lasting {SERIAL}" in str(told(replaced)["hint"])
    assert (permitted.status, now.out, gone.status) == (0, "other", 0)
    assert nothing.status == 2
    assert told(nothing)["message"] == "the token keeps nothing as batch"


@pytest.mark.parametrize(
    ("label", "contents", "wrong"),
    [
        ("batch", b"", "its size"),
        ("batch", bytes(LARGEST_DATA + 1), "its size"),
        (" batch", b"good", "LABEL"),
        ("\x1b[2J", b"good", "LABEL"),
        ("b" * 65, b"good", "LABEL"),
    ],
    ids=["empty", "too large", "blank", "escape", "long label"],
)
def test_what_no_data_object_can_be_is_refused_before_a_box_is_opened(
    trustbox_keys: Typed,
    file: Path,
    monkeypatch: pytest.MonkeyPatch,
    label: str,
    contents: bytes,
    wrong: str,
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(contents)))

    done = trustbox_keys("data", "put", label, "-", "--json")

    assert done.status == 2
    assert wrong in str(told(done)["message"])


def test_octets_that_could_command_a_terminal_are_not_shown_on_one(
    trustbox_keys: Typed, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.write_bytes(b"\x1b[2J")
    trustbox_keys("data", "put", "batch", str(file))
    piped = trustbox_keys("data", "get", "batch")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)

    shown = trustbox_keys("data", "get", "batch")

    assert (piped.status, piped.out) == (0, "\x1b[2J")
    assert (shown.status, shown.out) == (2, "")
    assert "--out" in shown.err


def test_wiped_token_says_what_it_held_is_empty_and_has_its_pins(
    trustbox_keys: Typed, box: HostBox, file: Path, by: Deadline
) -> None:
    with closing(KeySession(box.target)) as keys:
        keys.login(LABEL, Secret(USER.encode()), by=by)
        keys.generate("device-id", by=by)
    trustbox_keys("data", "put", "batch", str(file))

    refused = trustbox_keys("wipe", "--json")
    wiped = trustbox_keys("wipe", "--token", LABEL, "--lasting", SERIAL, "--json")

    assert refused.status == 2
    assert told(refused)["message"] == f"wiping the token {LABEL} of {SERIAL} cannot be undone"
    assert wiped.status == 0
    assert "will be lost: 1 data, 1 private key, 1 public key (device-id)" in wiped.err
    with closing(KeySession(box.target)) as keys:
        keys.login(LABEL, Secret(USER.encode()), by=by)
        assert keys.token.objects(by=by) == ()


@pytest.mark.parametrize(
    ("options", "status", "said"),
    [
        (("--token", "other"), 2, "no token of TB-HOST-0001 labelled other"),
        (("--token-serial", "0000"), 2, "0 tokens of TB-HOST-0001 have the serial number 0000"),
    ],
    ids=["label", "serial number"],
)
def test_token_that_is_not_there_is_not_wiped_and_those_there_are_named(
    trustbox_keys: Typed, options: tuple[str, ...], status: int, said: str
) -> None:
    done = trustbox_keys("wipe", *options, "--lasting", SERIAL, "--json")

    assert done.status == status
    assert said in str(told(done)["message"])
    assert repr(LABEL) in str(told(done)["message"])


def test_wrong_so_pin_wipes_nothing(trustbox_keys: Typed, box: HostBox, by: Deadline) -> None:
    with closing(KeySession(box.target)) as keys:
        keys.login(LABEL, Secret(USER.encode()), by=by)
        key, _ = keys.generate("device-id", by=by)
        box.pins.write_text(f"so_pin = 'another-{SO}'\nuser_pin = '{USER}'\n")

        done = trustbox_keys("wipe", "--lasting", SERIAL, "--json")

        assert done.status == TokenRefused.exit_status
        assert "CKR_PIN_INCORRECT" in str(told(done)["message"])
        keys.login(LABEL, Secret(USER.encode()), by=by)
        assert keys.find("device-id", by=by) == key
