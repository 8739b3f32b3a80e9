"""What OP-TEE's PKCS#11 token must refuse, with the exact return values, on spare token slots.

The calls go to the TA itself: no library may soften what it answers. A token that is locked out
for good is one of a restored box, or of one whose owner permitted it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from harness.capability import Capability
from harness.deadline import Deadline
from harness.errors import TeeRefused, TokenRefused
from harness.secret import Secret
from harness.target import Target
from provisioning.pkcs11_ta import Attributes, Cka, Pkcs11Ta, Who
from provisioning.token_state import TokenFlags
from provisioning.trustbox import TrustBox
from tests.device.key_parts import SO, USER, WRONG
from tests.device.ta_calls import (
    AES_ECB,
    EC_KEY_PAIR_GEN,
    ECDH1_DERIVE,
    ECDSA,
    P256,
    SHA3_256,
    aes,
    ecdh,
    point,
    rsa_private,
    shared,
)

pytestmark = pytest.mark.needs(Capability.PKCS11, Capability.AGENT, Capability.RESTORE)

SPARE = 2
"""The last of OP-TEE's three slots: a plan takes the first that is blank."""
HIDDEN: Attributes = {Cka.PRIVATE: True, Cka.SENSITIVE: True, Cka.EXTRACTABLE: False}


@pytest.fixture
def ta(box: TrustBox, by: Deadline) -> Iterator[Pkcs11Ta]:
    with Pkcs11Ta.open(box.target, by=by) as opened:
        yield opened


@pytest.fixture
def labelled(ta: Pkcs11Ta) -> Pkcs11Ta:
    """The spare token has its label and SO PIN, and no user PIN."""
    ta.init_token(SPARE, "spare", SO)
    return ta


@pytest.fixture
def ready(labelled: Pkcs11Ta) -> Pkcs11Ta:
    """The spare token has both PINs, and nobody is logged in."""
    session = labelled.open_session(SPARE)
    labelled.login(session, Who.SO, SO)
    labelled.init_pin(session, USER)
    labelled.close_session(session)
    return labelled


@pytest.fixture
def session(ready: Pkcs11Ta) -> int:
    """A session of the user's, who is logged in."""
    opened = ready.open_session(SPARE)
    ready.login(opened, Who.USER, USER)
    return opened


@contextmanager
def refused(ckr: str) -> Iterator[None]:
    with pytest.raises(TokenRefused) as refusal:
        yield
    assert refusal.value.ckr == ckr


def state(ta: Pkcs11Ta) -> TokenFlags:
    return TokenFlags(ta.flags(SPARE) & sum(TokenFlags))


def pair(ta: Pkcs11Ta, session: int, **more: bool) -> tuple[int, int]:
    usage: dict[Cka, bool] = {Cka[name]: wanted for name, wanted in more.items()}
    return ta.generate_pair(
        session, EC_KEY_PAIR_GEN, {Cka.EC_PARAMS: P256, Cka.VERIFY: True}, {**HIDDEN, **usage}
    )


@pytest.mark.case("N-30", expect="0xa0 six times, then 0xa4; COUNT_LOW, FINAL_TRY, LOCKED")
def test_seventh_wrong_user_pin_locks_the_user_out(lasting: Target, ready: Pkcs11Ta) -> None:
    session = ready.open_session(SPARE)
    seen = []
    for _ in range(6):
        with refused("CKR_PIN_INCORRECT"):
            ready.login(session, Who.USER, WRONG)
        seen.append(state(ready))
    with refused("CKR_PIN_LOCKED"):
        ready.login(session, Who.USER, WRONG)

    assert all(TokenFlags.USER_PIN_COUNT_LOW in flags for flags in seen)
    assert [TokenFlags.USER_PIN_FINAL_TRY in flags for flags in seen] == [False] * 5 + [True]
    assert TokenFlags.USER_PIN_LOCKED in state(ready)
    with refused("CKR_PIN_LOCKED"):
        ready.login(session, Who.USER, USER)


@pytest.mark.case("N-30", expect="a right PIN gives all tries back")
def test_right_user_pin_gives_all_tries_back(ready: Pkcs11Ta) -> None:
    session = ready.open_session(SPARE)
    for _ in range(6):
        with refused("CKR_PIN_INCORRECT"):
            ready.login(session, Who.USER, WRONG)

    ready.login(session, Who.USER, USER)

    assert not state(ready) & (TokenFlags.USER_PIN_COUNT_LOW | TokenFlags.USER_PIN_FINAL_TRY)


@pytest.mark.case("N-31", expect="0xa4 at the seventh, and at C_InitToken for ever")
def test_seventh_wrong_so_pin_at_login_locks_the_token_for_good(
    lasting: Target, ready: Pkcs11Ta
) -> None:
    session = ready.open_session(SPARE)
    for _ in range(6):
        with refused("CKR_PIN_INCORRECT"):
            ready.login(session, Who.SO, WRONG)
    with refused("CKR_PIN_LOCKED"):
        ready.login(session, Who.SO, WRONG)
    ready.close_session(session)

    assert TokenFlags.SO_PIN_LOCKED in state(ready)
    with refused("CKR_PIN_LOCKED"):
        ready.init_token(SPARE, "again", SO)


@pytest.mark.case("N-31", expect="C_InitToken: 0xa0 at the seventh, 0xa4 at the eighth")
def test_wrong_so_pins_at_init_token_lock_the_token_for_good(
    lasting: Target, ready: Pkcs11Ta
) -> None:
    for _ in range(7):
        with refused("CKR_PIN_INCORRECT"):
            ready.init_token(SPARE, "again", WRONG)

    assert TokenFlags.SO_PIN_LOCKED in state(ready)
    with refused("CKR_PIN_LOCKED"):
        ready.init_token(SPARE, "again", SO)


@pytest.mark.case("N-32", expect="0x07")
@pytest.mark.parametrize("size", [3, 129])
def test_so_pin_of_a_wrong_length_initialises_nothing(ta: Pkcs11Ta, size: int) -> None:
    with refused("CKR_ARGUMENTS_BAD"):
        ta.init_token(SPARE, "spare", Secret(b"1" * size))

    assert TokenFlags.TOKEN_INITIALIZED not in state(ta)


@pytest.mark.case("N-33", expect="0xa2")
@pytest.mark.parametrize("size", [3, 129])
def test_user_pin_of_a_wrong_length_is_not_set(labelled: Pkcs11Ta, size: int) -> None:
    session = labelled.open_session(SPARE)
    labelled.login(session, Who.SO, SO)

    with refused("CKR_PIN_LEN_RANGE"):
        labelled.init_pin(session, Secret(b"1" * size))

    assert TokenFlags.USER_PIN_INITIALIZED not in state(labelled)


@pytest.mark.case("N-33", expect="0x101")
def test_user_cannot_set_the_users_first_pin(ready: Pkcs11Ta, session: int) -> None:
    with refused("CKR_USER_NOT_LOGGED_IN"):
        ready.init_pin(session, Secret(b"another-pin"))


@pytest.mark.case("N-34", expect="0x102")
def test_user_cannot_log_in_before_there_is_a_pin(labelled: Pkcs11Ta) -> None:
    session = labelled.open_session(SPARE)

    with refused("CKR_USER_PIN_NOT_INITIALIZED"):
        labelled.login(session, Who.USER, USER)


@pytest.mark.case("N-34", expect="0x100, and 0x104 for the other user")
def test_nobody_logs_in_over_somebody_else(ready: Pkcs11Ta, session: int) -> None:
    with refused("CKR_USER_ALREADY_LOGGED_IN"):
        ready.login(session, Who.USER, USER)
    with refused("CKR_USER_ANOTHER_ALREADY_LOGGED_IN"):
        ready.login(session, Who.SO, SO)


@pytest.mark.case("N-35", expect="0xb6")
def test_token_in_use_is_not_initialised_again(ready: Pkcs11Ta) -> None:
    ready.open_session(SPARE)

    with refused("CKR_SESSION_EXISTS"):
        ready.init_token(SPARE, "again", SO)


@pytest.mark.case("N-35", expect="0xb7")
def test_so_does_not_log_in_beside_a_read_only_session(ready: Pkcs11Ta) -> None:
    ready.open_session(SPARE, rw=False)
    session = ready.open_session(SPARE)

    with refused("CKR_SESSION_READ_ONLY_EXISTS"):
        ready.login(session, Who.SO, SO)


@pytest.mark.case("N-36", expect="0x11")
def test_secret_values_are_not_shown(ready: Pkcs11Ta, session: int) -> None:
    _, made = pair(ready, session, SIGN=True)
    imported = ready.create(session, {**rsa_private(), **HIDDEN})

    with refused("CKR_ATTRIBUTE_SENSITIVE"):
        ready.attribute(session, made, Cka.VALUE)
    with refused("CKR_ATTRIBUTE_SENSITIVE"):
        ready.attribute(session, imported, Cka.PRIVATE_EXPONENT)


@pytest.mark.case("N-36", expect="0x6a")
def test_unextractable_key_is_not_wrapped(ready: Pkcs11Ta, session: int) -> None:
    wrapping = ready.create(session, aes(Cka.WRAP))
    _, made = pair(ready, session, SIGN=True)

    with refused("CKR_KEY_UNEXTRACTABLE"):
        ready.wrap(session, wrapping, made, AES_ECB)


@pytest.mark.case("N-37", expect="0x68")
def test_key_that_is_not_for_signing_does_not_sign(ready: Pkcs11Ta, session: int) -> None:
    _, made = pair(ready, session, DERIVE=True, SIGN=False)

    with refused("CKR_KEY_FUNCTION_NOT_PERMITTED"):
        ready.sign_init(session, made, ECDSA)


@pytest.mark.case("N-37", expect="0x70")
def test_mechanism_that_the_token_lacks_is_refused(ready: Pkcs11Ta, session: int) -> None:
    _, made = pair(ready, session, SIGN=True)

    with refused("CKR_MECHANISM_INVALID"):
        ready.sign_init(session, made, SHA3_256)


@pytest.mark.case("N-38", expect="not found")
def test_private_object_is_invisible_before_login(ready: Pkcs11Ta, session: int) -> None:
    made = ready.create(session, {**aes(Cka.ENCRYPT), Cka.TOKEN: True, Cka.LABEL: b"mine"})
    seen = ready.find(session, {Cka.LABEL: b"mine"})
    ready.logout(session)

    assert seen == (made,)
    assert ready.find(session, {Cka.LABEL: b"mine"}) == ()


@pytest.mark.case("N-38", expect="0xb5")
def test_nothing_is_kept_from_a_read_only_session(ready: Pkcs11Ta, session: int) -> None:
    read_only = ready.open_session(SPARE, rw=False)

    with refused("CKR_SESSION_READ_ONLY"):
        ready.create(read_only, {**aes(Cka.ENCRYPT), Cka.TOKEN: True})


@pytest.mark.case("N-39", expect="refused")
@pytest.mark.weakness("CVE-2026-45614: ECDH takes points that are not on the curve", below="4.10")
def test_point_off_the_curve_gives_no_shared_secret(ready: Pkcs11Ta, session: int) -> None:
    _, mine = pair(ready, session, DERIVE=True)
    theirs = point(ec.generate_private_key(ec.SECP256R1()))
    astray = theirs[:-1] + bytes([theirs[-1] ^ 1])

    ready.derive(session, mine, ECDH1_DERIVE, ecdh(theirs), shared())
    with pytest.raises((TokenRefused, TeeRefused)):
        ready.derive(session, mine, ECDH1_DERIVE, ecdh(astray), shared())


@pytest.mark.case("N-39", expect="refused by a TA that lives on")
@pytest.mark.weakness("the TA panics over a point off the curve, seen with 4.10", below="4.11")
def test_point_off_the_curve_does_not_end_the_token_for_everybody(
    ready: Pkcs11Ta, session: int
) -> None:
    _, mine = pair(ready, session, DERIVE=True)
    theirs = point(ec.generate_private_key(ec.SECP256R1()))

    with pytest.raises(TokenRefused):
        ready.derive(session, mine, ECDH1_DERIVE, ecdh(theirs[:-1] + b"?"), shared())


@pytest.mark.case("N-31", expect="refused by a TA that lives on")
@pytest.mark.weakness("the TA panics over a blank token's SO login (PR 7901)", below="4.11")
def test_so_login_to_a_blank_token_does_not_end_the_token_for_everybody(ta: Pkcs11Ta) -> None:
    session = ta.open_session(SPARE)

    with pytest.raises(TokenRefused):
        ta.login(session, Who.SO, SO)
