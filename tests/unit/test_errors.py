"""The error tree: addressed to somebody, with facts, a sentence and an exit status."""

from __future__ import annotations

import pickle
import threading

import pytest

from harness import errors
from harness.deadline import Deadline
from harness.errors import (
    BadInput,
    BoxDied,
    CommandFailed,
    MissingCapability,
    TeeRefused,
    TrustBoxError,
    UntrustedHost,
)
from harness.lookout import looked_for
from harness.secret import Secret
from harness.uboot_session import _Powering
from harness.vitals import Vitals

STATUSES = {
    errors.Misuse: 2,
    errors.MissingCapability: 3,
    errors.LinkError: 4,
    errors.UntrustedHost: 5,
    errors.DeviceRefused: 6,
    errors.IntegrityFailure: 7,
    errors.RigError: 8,
}


def every_error() -> list[type[TrustBoxError]]:
    found = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    return [k for k in found if issubclass(k, TrustBoxError) and k is not TrustBoxError]


@pytest.mark.parametrize("kind", every_error(), ids=lambda kind: str(kind.__name__))
def test_every_error_has_the_exit_status_of_its_branch(kind: type[TrustBoxError]) -> None:
    branch = [base for base in STATUSES if issubclass(kind, base)]

    assert len(branch) == 1
    assert kind.exit_status == STATUSES[branch[0]]


def test_a_missing_capability_names_every_part() -> None:
    error = MissingCapability("bench", ["tee", "agent"])

    assert str(error) == "bench lacks agent, tee"


def test_bad_input_shows_file_key_value_and_form() -> None:
    error = BadInput(where="plan.toml", key="token.label", value="x" * 500, expected="a text")

    assert str(error).startswith("plan.toml: token.label is 'xxx")
    assert len(str(error)) < 200
    assert "plan.toml" in error.diagnostics()


def test_a_failed_command_quotes_its_last_line() -> None:
    error = CommandFailed(["openssl", "x"], 1, b"", b"first\nunable to load key\n")

    assert str(error) == "openssl x exited with 1 on the box: unable to load key"


def test_a_tee_refusal_shows_code_name_and_origin() -> None:
    error = TeeRefused("opening", 0xFFFF0008, 3, name="TEE_ERROR_ITEM_NOT_FOUND")

    assert "0xffff0008 (TEE_ERROR_ITEM_NOT_FOUND), origin TEE" in str(error)


def test_an_untrusted_host_shows_both_keys_and_what_to_do() -> None:
    error = UntrustedHost("bench:22", pinned="SHA256:a", offered="SHA256:b")

    assert "SHA256:a" in str(error)
    assert "SHA256:b" in str(error)
    assert "reflashed" in error.diagnostics()


def test_the_first_death_is_the_one_that_is_told() -> None:
    vitals = Vitals("box")
    woken: list[int] = []
    vitals.subscribe(lambda: woken.append(1))
    vitals.report_death("Kernel panic")
    vitals.report_death("QEMU exited")

    with pytest.raises(BoxDied, match="box died: Kernel panic"):
        vitals.check()
    assert woken == [1]


def test_a_new_life_is_told_from_the_old_one() -> None:
    vitals = Vitals("box")
    before = vitals.life
    vitals.report_death("Kernel panic")
    vitals.reset()

    vitals.check()
    assert vitals.life != before


def test_who_no_longer_listens_is_not_woken() -> None:
    vitals = Vitals("box")
    woken: list[int] = []

    def wake() -> None:
        woken.append(1)

    vitals.subscribe(wake)
    vitals.unsubscribe(wake)
    vitals.unsubscribe(wake)
    vitals.report_death("Kernel panic")

    assert woken == []


def test_a_secret_has_no_text_form() -> None:
    secret = Secret(b"1234")

    assert "1234" not in f"{secret} {secret!r} {[secret]}"
    with pytest.raises(TypeError):
        pickle.dumps(secret)
    assert secret == Secret(b"1234")
    assert secret.reveal() == b"1234"


@pytest.mark.parametrize(
    "error",
    [
        errors.DeviceRefused("the box says '\x1b[2J\x07'", hint="\x1b]0;x"),
        CommandFailed(["x"], 1, b"", b"\x1b[2Jno\n"),
        BoxDied("box", "\x1b[2Jpanic"),
        UntrustedHost("a\x1b[2Jb", pinned="SHA256:a", offered="SHA256:b"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_an_error_quotes_does_not_drive_a_terminal(error: TrustBoxError) -> None:
    said = f"{error}{error.message}{error.diagnostics()}"

    assert "\x1b" not in said
    assert "\x07" not in said
    assert r"\x1b[2J" in said


def test_the_lines_of_a_message_stay_lines() -> None:
    assert str(errors.RigError("first\n\tsecond\x00")) == "first\n\tsecond\\x00"


def test_who_begins_to_listen_after_the_death_is_woken_at_once() -> None:
    vitals = Vitals("box")
    woken: list[int] = []
    vitals.report_death("Kernel panic")
    vitals.subscribe(lambda: woken.append(1))

    assert woken == [1]


def test_a_look_that_fails_by_itself_ends_no_wait() -> None:
    vitals, looked = Vitals("box"), threading.Event()

    def examine(by: Deadline) -> None:
        looked.set()
        raise errors.NetworkFailed("bench-07:22", "no descriptor")

    vitals.examine_by(examine)
    with looked_for(vitals, Deadline.after(2)):
        assert looked.wait(20)

    for thread in threading.enumerate():
        if thread.name == "lookout-box":
            thread.join(20)


def test_whatever_kept_the_power_from_coming_is_told() -> None:
    def on() -> None:
        raise ValueError("a defect")

    power = _Powering(on)
    power.join()
    with pytest.raises(ValueError, match="a defect"):
        power.check()
