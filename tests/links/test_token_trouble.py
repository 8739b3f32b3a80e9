"""A token that is not there any more in the middle of its use, and a process that forks."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from pkcs11 import Mechanism

from harness.deadline import Deadline
from harness.errors import Misuse
from harness.secret import Secret
from provisioning.softhsm import softhsm_module
from provisioning.token_calls import TokenCalls
from provisioning.token_protocol import Answer, Request, pack_request
from provisioning.token_state import TokenState
from provisioning.token_worker import answer_to
from tests.links.remote_token import Remote

SO, USER = Secret(b"so-pin-71250"), Secret(b"user-pin-38461")


class InThisProcess:
    """The worker's verbs without the worker, so that a test is inside the module's process."""

    def __init__(self) -> None:
        self.calls = TokenCalls(softhsm_module())
        self.slot = 0

    def ask(self, verb: str, **arguments: object) -> Answer:
        return answer_to(self.calls.verbs(), pack_request(Request(verb, arguments)))

    def end_all_sessions(self) -> None:
        """What another part of the same program may do."""
        module = ctypes.CDLL(softhsm_module())
        assert module.C_CloseAllSessions(ctypes.c_ulong(self.slot)) == 0


@pytest.fixture
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[InThisProcess]:
    (tmp_path / "tokens").mkdir()
    settings = tmp_path / "softhsm2.conf"
    settings.write_text(f"directories.tokendir = {tmp_path / 'tokens'}\n")
    monkeypatch.setenv("SOFTHSM2_CONF", str(settings))
    made = InThisProcess()
    try:
        blank = made.calls.slots()[0]["slot"]
        made.ask("init_token", slot=blank, label="box", so_pin=SO.reveal())
        found = (TokenState.parse(one) for one in made.calls.slots())
        [made.slot] = [state.slot for state in found if state.label == "box"]
        made.ask("init_pin", slot=made.slot, so_pin=SO.reveal(), pin=USER.reveal())
        yield made
    finally:
        made.calls._library.finalize()


@pytest.mark.fault(
    "Token",
    "the session is closed in mid-sign",
    comes="TokenRefused CKR_SESSION_HANDLE_INVALID, status 6; no signature",
    then="run again: a login brings the session back",
)
# python-pkcs11 complains at nobody when it cannot end a search in a session that is gone.
@pytest.mark.filterwarnings("ignore:Exception ignored in:pytest.PytestUnraisableExceptionWarning")
def test_session_that_ends_in_mid_signature_is_told_and_a_login_brings_it_back(
    inside: InThisProcess,
) -> None:
    """C_SignInit, half of the data, C_CloseAllSessions, the other half."""
    inside.ask("login", slot=inside.slot, pin=USER.reveal())
    inside.ask("generate_secret", id=b"s", label="s", kind="hmac", bits=256, template={})
    whole = inside.ask("mac", id=b"s", data=b"half" * 2)

    def halves() -> Iterator[bytes]:
        yield b"half"
        inside.end_all_sessions()
        yield b"half"

    def sign() -> bytes:
        key = inside.calls._one("secret", b"s")
        return bytes(key.sign(halves(), mechanism=Mechanism.SHA256_HMAC))

    cut = answer_to({"sign": sign}, pack_request(Request("sign", {})))
    after = inside.ask("mac", id=b"s", data=b"half")
    back = inside.ask("login", slot=inside.slot, pin=USER.reveal())

    assert cut.ckr == after.ckr == "CKR_SESSION_HANDLE_INVALID"
    assert back == Answer()
    assert inside.ask("mac", id=b"s", data=b"half" * 2) == whole


@pytest.mark.parametrize("verb", ["logout", "init_pin", "set_pin"])
def test_session_that_somebody_ended_is_no_obstacle_to_what_needs_none(
    inside: InThisProcess, verb: str
) -> None:
    arguments = {
        "logout": {},
        "init_pin": {"slot": inside.slot, "so_pin": SO.reveal(), "pin": b"another-pin-1"},
        "set_pin": {"slot": inside.slot, "who": "user", "old": USER.reveal(), "new": b"another-1"},
    }
    inside.ask("login", slot=inside.slot, pin=USER.reveal())
    inside.end_all_sessions()

    assert inside.ask(verb, **arguments[verb]) == Answer()


@pytest.mark.fault(
    "Token",
    "a program forks while it holds a session",
    comes="Misuse in the child, status 2; the parent's session works",
    then="open another session after the fork",
)
def test_forked_child_is_refused_the_session_of_its_parent(tmp_path: Path) -> None:
    """PKCS#11 leaves a module in a forked child undefined; here no module is in our process."""
    by, remote = Deadline.after(60), Remote(tmp_path)
    remote.token.initialise("box", so_pin=SO, user_pin=USER, by=by)
    remote.token.login("box", USER, by=by)
    told, tell = os.pipe()

    child = os.fork()
    if not child:  # the child ends here, whatever happens
        try:
            remote.token.slots(by=by)
        except Misuse as refusal:
            os.write(tell, str(refusal).encode())
        finally:
            remote.process.close()
            os._exit(0)
    os.waitpid(child, 0)
    os.close(tell)
    with os.fdopen(told) as pipe:
        said = pipe.read()

    assert f"is of process {os.getpid()}" in said
    assert remote.token.ensure(b"k", "k", by=by)[1]
    remote.close()
