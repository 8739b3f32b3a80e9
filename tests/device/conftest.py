"""Tokens of the box under test: the one in its TEE, and one of another vendor beside it."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import PurePosixPath

import pytest

from harness.capability import Capability
from harness.deadline import Deadline
from harness.errors import LinkError, TokenRefused
from harness.target import Target
from provisioning.box_module import softhsm_on
from provisioning.keys import KeySession
from provisioning.trustbox import TrustBox
from tests.device.key_parts import LABEL, SO, USER

MODULES = (
    pytest.param("tee", id="optee"),
    pytest.param("softhsm", id="softhsm", marks=pytest.mark.needs(Capability.SOFTHSM)),
)


@pytest.fixture(scope="module", params=MODULES)
def kind(request: pytest.FixtureRequest) -> str:
    """Whose tokens ``keys`` are. Of a module, so that pytest runs those of one vendor together: a
    test of SoftHSM's would otherwise pay for restoring the box that one of the TEE's left."""
    return str(request.param)


@pytest.fixture
def keys(request: pytest.FixtureRequest, kind: str, by: Deadline) -> Iterator[KeySession]:
    """The tokens of one module on the box, as delivered: every test with it runs for each."""
    if kind == "tee":
        box: TrustBox = request.getfixturevalue("box")
        yield box.keys
        return
    # Its tokens are files in a directory of their own: no need for a pristine box.
    target: Target = request.getfixturevalue("target")
    directory = f"/run/trustbox-softhsm-{secrets.token_hex(8)}"
    second = KeySession(target, softhsm_on(target, directory, by=by))
    try:
        yield second
    finally:
        second.close()
        target.shell.run("rm", "-r", "-f", "--", directory, by=Deadline.after(30))


@pytest.fixture
def open_keys(keys: KeySession, by: Deadline) -> KeySession:
    """The same with a token that is ours, and logged in to it."""
    keys.initialise(LABEL, so_pin=SO, user_pin=USER, by=by)
    keys.login(LABEL, USER, by=by)
    return keys


@pytest.fixture
def open_box(box: TrustBox, by: Deadline) -> TrustBox:
    """A box whose token in the TEE is ours and open."""
    box.keys.initialise(LABEL, so_pin=SO, user_pin=USER, by=by)
    box.keys.login(LABEL, USER, by=by)
    return box


@pytest.fixture(scope="module", params=MODULES)
def shared_token(
    request: pytest.FixtureRequest, module_box: TrustBox
) -> Iterator[KeySession]:  # fmt: skip
    """A token of each module that is ours, for all tests of a file: see ``held_keys``."""
    by, keys = Deadline.after(60), module_box.keys
    if request.param == "softhsm":
        directory = f"/run/trustbox-softhsm-{secrets.token_hex(8)}"
        keys = KeySession(module_box.target, softhsm_on(module_box.target, directory, by=by))
    yield keys
    keys.close()


@pytest.fixture
def held_keys(shared_token: KeySession, by: Deadline) -> Iterator[KeySession]:
    """The shared token, logged in to and empty: what a test leaves in it is erased after it."""
    _ours_again(shared_token, by)
    shared_token.login(LABEL, USER, by=by)
    yield shared_token
    by = Deadline.after(60)
    token = shared_token.token
    shared_token.login(LABEL, USER, by=by)
    for kind, _, id in token.objects(by=by):
        if kind != "other":
            token.destroy(kind, id, by=by)
    token.destroy_data("batch", by=by)


def _ours_again(keys: KeySession, by: Deadline) -> None:
    """After a failed test the box is restored, and with it the token is gone."""
    if configuration := keys.module.environment.get("SOFTHSM2_CONF"):
        softhsm_on(keys.target, str(PurePosixPath(configuration).parent), by=by)
    try:
        there = keys.state(LABEL, by=by)
    except (LinkError, TokenRefused):
        keys.close()
        there = keys.state(LABEL, by=by)
    if there is None:
        keys.initialise(LABEL, so_pin=SO, user_pin=USER, by=by)
