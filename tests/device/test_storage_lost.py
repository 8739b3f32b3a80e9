"""The TEE's storage is damaged, in RAM, or nobody reaches it: each command that needs it says so.

What opening the box would find is asked anew after each fault; the commands are typed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from harness.capability import Capability
from harness.deadline import Deadline
from harness.errors import IntegrityFailure
from harness.target import Target
from harness.tee_supplicant import NoSupplicant
from provisioning import incidents
from provisioning.plan import example_plan, parse_plan
from provisioning.reprove_checks import enclave
from provisioning.reprove_storage import storage
from provisioning.run import provision
from provisioning.sample_enclave import SAMPLE
from provisioning.station import Station
from provisioning.steps_box import ReachStep, RecordStep
from provisioning.steps_tee import EnclaveStep
from provisioning.trustbox import TrustBox
from tests.device.key_parts import LABEL, SO, USER
from tests.device.probing import asked_again
from tests.device.run_needs import A_RUN_NEEDS
from tests.device.sample import build_sample
from tests.device.spoiling import Checked
from tests.device.test_storage_cases import files, path, put_back, saved, spoil
from tests.typed import Said, trustbox

pytestmark = [A_RUN_NEEDS, pytest.mark.timeout(300)]
Typing = Callable[..., Said]
CODES = ("0xf0100001", "0xffff000f")


@pytest.fixture
def station(tmp_path: Path) -> Station:
    return Station(tmp_path / "station")


@pytest.fixture
def typing(
    box: TrustBox, station: Station, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Typing:
    """A command on this box, which is asked at its opening what it can do; its answer."""

    @contextmanager
    def open_target(*_: object, **__: object) -> Iterator[Target]:
        yield asked_again(box.target, by=Deadline.after(60))

    monkeypatch.setattr("harness.targets.open_target", open_target)
    monkeypatch.setattr(Station, "default", lambda: station)
    enclave, plan = tmp_path / f"{SAMPLE}.ta", tmp_path / "plan.toml"
    enclave.write_bytes(build_sample(box.target))
    plan.write_text(example_plan())
    commands = {
        "provision": ("provision", str(plan)),
        "ta install": ("ta", "install", str(enclave)),
        "keys list": ("keys", "list"),
        "attest": ("attest",),
        "info": ("info", "--json"),
    }
    return lambda command: trustbox(*commands[command], "--target", box.target.name)


def run(target: Target, script: str) -> str:
    return target.shell.run("sh", "-c", script, by=Deadline.after(60)).text


@pytest.mark.fault(
    "TEE storage",
    "a file of the TEE's storage is damaged, or another box's storage lies in its place",
    comes="StorageDamaged, status 7, with the TEE's own code (0xf0100001 or 0xffff000f) in"
    " provision, ta install and keys list; attest refuses, status 7; info still shows the box."
    " Nothing is made",
    then="keep a copy of the storage directory, then find out who wrote there",
    case="F-22",
)
def test_damaged_storage_ends_each_command_that_needs_it_with_the_tees_own_code(
    box: TrustBox, typing: Typing, station: Station, by: Deadline
) -> None:
    spoil(box.target, "dirf.db", by)

    ended = {name: typing(name) for name in ("keys list", "ta install", "provision", "attest")}
    info = typing("info")

    # OP-TEE throws such a storage away at the first look, and makes a new one: the station knows.
    assert {name: said.status for name, said in ended.items()} == dict.fromkeys(ended, 7)
    for name, said in ended.items():
        assert any(code in said.out + said.err for code in CODES), f"{name}: {said}"
    assert not (station.state / "pins").exists()
    assert info.status == 0
    assert incidents.seen(station, box.target.serial)


@pytest.mark.parametrize("signal", ["STOP", "KILL"])
def test_without_a_supplicant_each_command_that_needs_it_says_so_at_once(
    box: TrustBox, typing: Typing, by: Deadline, signal: str
) -> None:
    before = run(box.target, f"ls -A {box.target.layout.ta_directory}")
    # One that ends may be started again at once, if its program is there.
    script = "p=$(pidof tee-supplicant); f=$(readlink /proc/$p/exe); mv $f $f.away; kill -$0 $p"
    box.target.shell.run("sh", "-c", script, signal, by=by)

    ended = {name: typing(name) for name in ("keys list", "ta install", "provision", "attest")}
    info = typing("info")

    assert {name: said.status for name, said in ended.items()} == dict.fromkeys(ended, 6)
    for name, said in ended.items():
        assert "nothing answers the TEE's requests on the box" in said.err, f"{name}: {said}"
    assert info.status == 0
    assert run(box.target, f"ls -A {box.target.layout.ta_directory}") == before


def test_a_supplicant_that_hangs_is_named_and_nothing_is_taken_for_absent(
    box: TrustBox, by: Deadline
) -> None:
    """Frozen as by a cgroup's freezer, it does not count as stopped."""
    script = (
        "mkdir /run/frozen && mount -t cgroup2 none /run/frozen && mkdir /run/frozen/one"
        " && pidof tee-supplicant >/run/frozen/one/cgroup.procs"
        " && echo 1 >/run/frozen/one/cgroup.freeze"
    )
    run(box.target, script)

    found = asked_again(box.target, by=by)

    needed = (Capability.TA_LOAD, Capability.PKCS11, Capability.PKCS11_REMOTE)
    assert found.missing(needed) == []
    with pytest.raises(NoSupplicant, match="had no answer within 10 s"):
        found.require(*needed)


@pytest.mark.fault(
    "TEE storage",
    "a tmpfs was mounted over the storage of a token that is in use",
    comes="IntegrityFailure, status 7, with the place and its file system, of each key command; not"
    " the token's CKR_GENERAL_ERROR alone",
    then="umount it, or bring back the disk that was there",
)
def test_a_token_whose_storage_was_hidden_by_ram_says_so(box: TrustBox, by: Deadline) -> None:
    root = box.target.layout.storage_root
    box.keys.initialise(LABEL, so_pin=SO, user_pin=USER, by=by)
    run(box.target, f"mount -t tmpfs ram {root}")

    with pytest.raises(IntegrityFailure, match=f"{root}: it is on tmpfs"):
        box.keys.login(LABEL, USER, by=by)


@pytest.mark.fault(
    "TEE storage",
    "the TEE's storage lies on a tmpfs, a ramfs or a RAM disk",
    comes="IntegrityFailure, status 7, in the first step of a run, before a token or a key is made",
    then="mount a disk there, or start tee-supplicant with another --fs-parent-path",
    case="F-23",
)
def test_a_storage_in_ram_is_refused_before_anything_is_made(
    box: TrustBox, typing: Typing, station: Station, by: Deadline
) -> None:
    root = box.target.layout.storage_root
    run(box.target, f"cp -a {root} /run/kept && mount -t tmpfs ram {root}")
    run(box.target, f"cp -a /run/kept/. {root}")

    said = typing("provision")
    with pytest.raises(IntegrityFailure, match="gone at the next boot"):
        box.keys.initialise(LABEL, so_pin=SO, user_pin=USER, by=by)

    assert said.status == 7
    assert f"{root}: it is on tmpfs" in said.err
    assert "gone at the next boot" in said.err
    assert [token.initialised for token in box.keys.tokens(by=by)].count(True) == 0
    assert not (station.state / "pins").exists()


@pytest.mark.fault(
    "TEE storage",
    "an older storage, or a new one, stands in the place of what the record was made with",
    comes="verify: its check storage FAILED, status 7, with both counters",
    then="stop and look who wrote to its disk",
    case="F-21",
)
def test_a_storage_without_what_the_record_sealed_in_it_is_refused(
    box: TrustBox, station: Station, by: Deadline
) -> None:
    plan = parse_plan(example_plan().encode(), where="plan.toml", beside=Path("/"))
    older = saved(box.target, by)
    provision(box.target, plan, station, steps=lambda: (ReachStep(), EnclaveStep(), RecordStep()))
    look = ReachStep(), Checked(enclave), Checked(storage)

    good = provision(box.target, plan, station, steps=lambda: look)
    put_back(box.target, older, by)
    with pytest.raises(IntegrityFailure) as caught:
        provision(box.target, plan, station, steps=lambda: look)

    assert good.reports[-1].said == "the enclave's sealed counter is there, and not below 1"
    assert "stands at 0, and the record has 1" in caught.value.message


@pytest.mark.needs(Capability.POWER)
@pytest.mark.fault(
    "TEE storage",
    "the file of the token's database is noise after a power cut, and OP-TEE takes it away when it"
    " first meets it",
    comes="the first command: StorageDamaged, status 7, which the station keeps; every later one,"
    " which sees a blank token: IntegrityFailure, status 7, in provision, with what was seen first",
    then="find out why, revoke what was certified for the box, then move the station's file away",
    case="F-21",
)
def test_a_damaged_token_database_is_remembered_when_the_box_has_forgotten_it(
    box: TrustBox, typing: Typing, station: Station, by: Deadline
) -> None:
    target = box.target
    target.rig.restore(by=by)  # opening the box asked its token, which makes files for it
    before = files(target, by)
    box.keys.initialise(LABEL, so_pin=SO, user_pin=USER, by=by)
    box.keys.close()
    for name in sorted(files(target, by) - before)[:1]:  # the first slot's
        run(target, f"dd if=/dev/urandom of={path(target, name)} bs=8k count=1 conv=notrunc; sync")
    target.rig.off()
    target.rig.on(by=Deadline.after(120))

    first, listed, again = typing("keys list"), typing("keys list"), typing("provision")

    assert [said.status for said in (first, listed, again)] == [7, 7, 7]
    for said in (first, listed, again):
        assert "the PKCS#11 TA ends at its start with 0xffff000f" in said.err
    assert (first.out, "blank" in listed.out) == ("", True)
    assert "its token is blank, but this station saw on" in again.err
    assert len(incidents.seen(station, target.serial)) == 1
