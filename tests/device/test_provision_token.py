"""A token in the TEE that is full, locked, taken or dead: the run's error, and what is left then.

The faults of docs/faults.md, "Token", that need a TEE. One box serves all of them:
its three tokens are the plan's, one for a user PIN to be used up, and one for an SO PIN.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from harness.capability import Capability
from harness.deadline import Deadline
from harness.errors import DeviceRefused, LinkError, TeeRefused, TokenRefused, TrustBoxError
from harness.target import Target
from provisioning.keys import KeySession
from provisioning.pkcs11_ta import Cka, Pkcs11Ta, Who
from provisioning.plan import Plan, example_plan, parse_plan
from provisioning.run import Outcome, Provisioned, Watcher, provision
from provisioning.station import Station
from provisioning.steps import EffectStep, LookStep
from provisioning.steps_key import KeyStep, TokenStep
from provisioning.token_state import TokenFlags, TokenState
from provisioning.trustbox import TrustBox
from provisioning.work import Work
from tests.device.key_parts import SO, USER, WRONG
from tests.device.ta_calls import EC_KEY_PAIR_GEN, ECDH1_DERIVE, P256, ecdh, point, shared
from tests.fault_rows import marked

pytestmark = [
    pytest.mark.needs(
        Capability.PKCS11, Capability.PKCS11_REMOTE, Capability.AGENT, Capability.RESTORE
    ),
    pytest.mark.timeout(300),
]

LABEL, TIRED, LOCKED = "trustbox", "tired-user", "locked-so"


@dataclass(frozen=True)
class Ground:
    """A box with its three tokens, and a station that knows their PINs."""

    box: TrustBox
    station: Station
    pins: Path

    def plan(self, label: str = LABEL, purpose: str = "device-id") -> Plan:
        text = example_plan().replace('"generate"\n', f'"{self.pins}"\n')
        text = text.replace(f'\nlabel = "{LABEL}"', f'\nlabel = "{label}"')
        text = text.replace('\npurpose = "device-id"', f'\npurpose = "{purpose}"')
        return parse_plan(text.encode(), where="plan.toml", beside=self.pins.parent)

    def run(self, plan: Plan, watcher: Watcher | None = None) -> Provisioned:
        return provision(self.box.target, plan, self.station, steps=to_the_key, watcher=watcher)

    def objects(self, purpose: str, by: Deadline) -> list[str]:
        """Kinds of the objects that the plan's token has for a purpose."""
        with closing(KeySession(self.box.target)) as keys:
            keys.login(LABEL, USER, by=by)
            wanted = keys.id_of(purpose)
            return sorted(kind for kind, _, id in keys.token.objects(by=by) if id == wanted)

    def tokens(self, by: Deadline) -> tuple[TokenState, ...]:
        """Asked by a session that ends with it: one that stays keeps a dead TA from coming back."""
        with closing(KeySession(self.box.target)) as keys:
            return keys.tokens(by=by)

    def token(self, label: str, by: Deadline) -> TokenState:
        [state] = [state for state in self.tokens(by) if state.label == label]
        return state

    def slot(self, label: str, by: Deadline) -> int:
        return self.token(label, by).slot


class Reached:
    """The first step's part that these rows need: which TEE this is."""

    name, doing, seconds = "reach", "asking the box who it is", 30.0

    def look(self, work: Work, by: Deadline) -> str:
        work.tee_uuid = work.box.keys.tokens(by=by)[0].tee_uuid
        return "this box"


def outcomes(done: Provisioned) -> dict[str, Outcome]:
    return {report.name: report.outcome for report in done.reports}


def to_the_key() -> tuple[EffectStep | LookStep, ...]:
    return (Reached(), TokenStep(), KeyStep())


@pytest.fixture(scope="module")
def ground(module_box: TrustBox, tmp_path_factory: pytest.TempPathFactory) -> Ground:
    place, by = tmp_path_factory.mktemp("station"), Deadline.after(120)
    pins = place / "pins.toml"
    pins.touch(mode=0o600)
    pins.write_text(f'so_pin = "{SO.reveal().decode()}"\nuser_pin = "{USER.reveal().decode()}"\n')
    keys = module_box.keys
    keys.initialise(LABEL, so_pin=SO, user_pin=USER, by=by)
    keys.initialise(TIRED, so_pin=SO, user_pin=USER, by=by)
    [blank] = [state.slot for state in keys.tokens(by=by) if not state.initialised]
    keys.close()
    with Pkcs11Ta.open(module_box.target, by=by) as ta:
        ta.init_token(blank, LOCKED, SO)
    return Ground(module_box, Station(place), pins)


class Meanwhile(Watcher):
    """Makes trouble when the key's step begins: the run is logged in by then."""

    def __init__(self, trouble: Callable[[], None]) -> None:
        self._trouble = trouble

    def started(self, step: EffectStep | LookStep) -> None:
        if step.name == "key":
            self._trouble()


class MakeTrouble(Protocol):
    """Trouble on entry; gone on exit."""

    def __call__(self, ground: Ground, by: Deadline) -> AbstractContextManager[None]: ...


@contextmanager
def heap_full(ground: Ground, by: Deadline) -> Iterator[None]:
    """Another client of the TA has all of its memory."""
    with Pkcs11Ta.open(ground.box.target, by=by) as ta:
        session = ta.open_session(ground.slot(LABEL, by))
        for size in (1024, 64):
            with pytest.raises(TokenRefused, match="CKR_DEVICE_MEMORY"):
                while True:
                    data = {Cka.CLASS: 0, Cka.TOKEN: False, Cka.PRIVATE: False}
                    ta.create(session, {**data, Cka.VALUE: bytes(size)})
        yield


@contextmanager
def panicked(ground: Ground, by: Deadline) -> Iterator[None]:
    """The TA panics (N-39: a point off the curve, OP-TEE 4.10); its sessions are gone."""
    with suppress(LinkError, TrustBoxError), Pkcs11Ta.open(ground.box.target, by=by) as ta:
        session = ta.open_session(ground.slot(LABEL, by))
        ta.login(session, Who.USER, USER)
        _, mine = ta.generate_pair(
            session, EC_KEY_PAIR_GEN, {Cka.EC_PARAMS: P256}, {Cka.DERIVE: True, Cka.PRIVATE: True}
        )
        theirs = point(ec.generate_private_key(ec.SECP256R1()))
        try:
            ta.derive(session, mine, ECDH1_DERIVE, ecdh(theirs[:-1] + b"?"), shared())
        except TokenRefused:
            pytest.skip("this PKCS#11 TA refuses the point, and nobody knows what makes it panic")
        except TeeRefused:
            pass
    yield


TROUBLES: dict[str, tuple[MakeTrouble, str, str]] = {
    "no memory left in the TA": (heap_full, "CKR_DEVICE_MEMORY", "after-memory"),
    "TA panic": (panicked, "CKR_", "after-panic"),
}


FAULTS = {
    "no memory left in the TA": pytest.mark.fault(
        "Token",
        "no memory is left in the PKCS#11 TA",
        comes="TokenRefused CKR_DEVICE_MEMORY, status 6; no half pair",
        then="end the program on the box that holds the TA's memory, then run again: the key is"
        " made then",
    ),
    "TA panic": pytest.mark.fault(
        "Token",
        "the PKCS#11 TA panics in mid-run",
        comes="TokenRefused, status 6; no half pair",
        then="end the programs on the box that keep a session with the TA (IoT Edge's key"
        " service), then run again: the key is made then",
    ),
}


@pytest.mark.parametrize("row", marked(TROUBLES, FAULTS))
def test_trouble_in_the_tee_ends_the_run_and_the_next_one_makes_the_key(
    ground: Ground, row: tuple[MakeTrouble, str, str], by: Deadline
) -> None:
    make, ckr, purpose = row
    with ExitStack() as trouble:
        meanwhile = Meanwhile(lambda: trouble.enter_context(make(ground, by)))
        with pytest.raises(TokenRefused, match=ckr) as refusal:
            ground.run(ground.plan(purpose=purpose), meanwhile)

    assert ckr != "CKR_DEVICE_MEMORY" or "CFG_PKCS11_TA_HEAP_SIZE" in refusal.value.hint
    left = ground.objects(purpose, by)
    again = ground.run(ground.plan(purpose=purpose))

    assert left == []
    assert outcomes(again)["key"] is Outcome.DONE
    assert ground.objects(purpose, by) == ["private", "public"]


@pytest.mark.fault(
    "Token",
    "the user PIN has one try left, or is locked",
    comes="TokenRefused CKR_PIN_LOCKED, status 6; not tried, the counters as they were",
    then="find out who tried (trustbox keys pin status); have the SO set the user PIN: trustbox"
    " keys pin unblock",
)
def test_user_pin_with_one_try_left_or_none_is_not_tried(
    ground: Ground, lasting: Target, by: Deadline
) -> None:
    """The station's own count knows nothing of it: somebody else tried."""
    with Pkcs11Ta.open(ground.box.target, by=by) as ta:
        token = ground.slot(TIRED, by)
        session = ta.open_session(token)

        def wrong(ckr: str) -> None:
            with pytest.raises(TokenRefused, match=ckr):
                ta.login(session, Who.USER, WRONG)

        for _ in range(6):
            wrong("CKR_PIN_INCORRECT")
        last = ta.flags(token)
        with pytest.raises(TokenRefused, match="CKR_PIN_LOCKED") as not_tried:
            ground.run(ground.plan(TIRED))
        kept = ta.flags(token)
        wrong("CKR_PIN_LOCKED")
        with pytest.raises(TokenRefused, match="CKR_PIN_LOCKED") as locked:
            ground.run(ground.plan(TIRED))

    assert last & TokenFlags.USER_PIN_FINAL_TRY
    assert kept == last
    assert "Not tried" in not_tried.value.hint
    assert "Not tried" in locked.value.hint


@pytest.mark.fault(
    "Token",
    "the SO PIN is locked",
    comes="TokenRefused CKR_PIN_LOCKED, status 6; not tried, the token stays without a user PIN",
    then="take another label in the plan: this token can never be initialised again",
)
def test_so_pin_that_is_locked_ends_the_run_and_the_token_stays_without_its_user_pin(
    ground: Ground, lasting: Target, by: Deadline
) -> None:
    with Pkcs11Ta.open(ground.box.target, by=by) as ta:
        token = ground.slot(LOCKED, by)
        for _ in range(7):
            with pytest.raises(TokenRefused):
                ta.init_token(token, LOCKED, WRONG)
        ta_says = ta.flags(token)

    with pytest.raises(TokenRefused, match="CKR_PIN_LOCKED"):
        ground.run(ground.plan(LOCKED))

    state = ground.token(LOCKED, by)
    assert (ta_says & TokenFlags.SO_PIN_LOCKED, state.has_user_pin) == (
        TokenFlags.SO_PIN_LOCKED,
        False,
    )


@pytest.mark.fault(
    "Token",
    "no free slot",
    comes="DeviceRefused, status 6; the tokens as they were",
    then="use the label of a token that is there, or a TEE built with more tokens",
)
def test_box_without_a_blank_token_keeps_those_it_has(ground: Ground, by: Deadline) -> None:
    before = [state.label for state in ground.tokens(by)]

    with pytest.raises(DeviceRefused, match="no blank token is left for a-fourth"):
        ground.run(ground.plan("a-fourth"))

    assert [state.label for state in ground.tokens(by)] == before
    assert sorted(before) == sorted([LABEL, TIRED, LOCKED])
