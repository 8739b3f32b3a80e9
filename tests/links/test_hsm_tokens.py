"""The factory's HSM holds two tokens of one label, and locks PINs as any token does."""

from __future__ import annotations

import re
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from harness.deadline import Deadline
from harness.errors import DeviceRefused, TokenRefused
from provisioning.authority_tokens import opened_token
from provisioning.pin_budget import MOST
from provisioning.softhsm import softhsm_module
from provisioning.token_uri import TokenUri
from tests.links.est_command import trustbox

LABEL = "line"


class Hsm:
    """Two tokens of one label with a PIN each; ``uris`` names them by their serial numbers."""

    def __init__(self, place: Path) -> None:
        self.state = place / "station"
        self.uris: list[TokenUri] = []
        for name in ("first", "second"):
            pin = place / f"{name}.pin"
            pin.touch(mode=0o600)
            pin.write_text(f"pin-of-{name}\n")
            words = ("--init-token", "--free", "--label", LABEL, "--so-pin", "so-pin-1")
            softhsm2_util(*words, "--pin", f"pin-of-{name}")
            [serial] = shown_serials() - set(self.serials)
            module = Path(softhsm_module())
            self.uris.append(TokenUri(module, LABEL, serial=serial, pin_source=pin))

    @property
    def serials(self) -> list[str]:
        return [uri.serial or "" for uri in self.uris]


def softhsm2_util(*words: str) -> str:
    done = subprocess.run(
        ["softhsm2-util", *words], capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout


def shown_serials() -> set[str]:
    """Of all tokens with one, as a person would see them."""
    found = re.findall(r"Serial number: +([0-9a-f]+)\n", softhsm2_util("--show-slots"))
    return set(found)


@pytest.fixture
def hsm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hsm:
    (tmp_path / "tokens").mkdir()
    (tmp_path / "softhsm2.conf").write_text(f"directories.tokendir = {tmp_path / 'tokens'}\n")
    monkeypatch.setenv("SOFTHSM2_CONF", str(tmp_path / "softhsm2.conf"))
    return Hsm(tmp_path)


@pytest.fixture
def by() -> Deadline:
    return Deadline.after(60)


def test_token_is_told_by_the_serial_number_that_its_uri_names(hsm: Hsm, by: Deadline) -> None:
    for uri, serial in zip(hsm.uris, hsm.serials, strict=True):
        with opened_token(str(uri), hsm.state, by=by) as token:
            assert token.logged_in is not None
            assert token.logged_in.serial == serial


def test_uri_that_means_two_tokens_is_refused_and_told_their_serial_numbers(
    hsm: Hsm, by: Deadline
) -> None:
    uri = replace(hsm.uris[0], serial=None)

    with (
        pytest.raises(DeviceRefused, match="2 tokens") as refused,
        opened_token(str(uri), hsm.state, by=by),
    ):
        pass

    assert all(serial in refused.value.diagnostics() for serial in hsm.serials)


def test_wrong_pins_are_counted_until_a_person_found_the_right_one(hsm: Hsm, by: Deadline) -> None:
    first, second = hsm.uris
    wrong = str(replace(first, pin_source=second.pin_source))
    said = [refusal(hsm, wrong, by) for _ in range(MOST + 1)]
    with opened_token(str(second), hsm.state, by=by):
        pass  # the other token's count is its own

    assert "CKR_PIN_INCORRECT" in said[MOST - 1]
    assert "CKR_PIN_LOCKED" in refusal(hsm, str(first), by)
    assert "Not tried" in said[MOST]
    forget = said[MOST].partition("then: trustbox ")[2].replace("'", "").split()
    done = trustbox(*forget, "--state", str(hsm.state), "--json")
    assert done.returncode == 0, done.stderr
    with opened_token(str(first), hsm.state, by=by) as token:
        assert token.logged_in is not None


def refusal(hsm: Hsm, uri: str, by: Deadline) -> str:
    with pytest.raises(TokenRefused) as refused, opened_token(uri, hsm.state, by=by):
        pass
    return f"{refused.value} {refused.value.diagnostics()}"
