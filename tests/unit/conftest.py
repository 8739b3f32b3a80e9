"""A factory's CA in SoftHSM2, for the tests of what it signs and what it refuses."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.deadline import Deadline
from provisioning.authority import Authority
from provisioning.authority_open import open_authority
from provisioning.softhsm import softhsm_token
from provisioning.token import Token
from tests.unit.authority_parts import P256


@pytest.fixture(scope="module")
def token(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Token]:
    made = softhsm_token(tmp_path_factory.mktemp("hsm"), "factory", by=Deadline.after(60))
    yield made
    made.close()


@pytest.fixture
def authority(token: Token, tmp_path: Path, by: Deadline) -> Authority:
    """A CA of its own for each test; all share the token, and with it the keys."""
    return open_authority(token, tmp_path / "ca", make=P256, by=by)
