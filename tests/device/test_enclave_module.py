"""A module's first program on the box: the enclave is in its place before the application runs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from harness.capability import Capability
from harness.deadline import Deadline
from provisioning.enclave_start import start_program
from provisioning.sample_enclave import SAMPLE
from provisioning.trustbox import TrustBox
from tests.device.enclaves import count_up, sealed_for

pytestmark = [
    pytest.mark.enclave,
    pytest.mark.needs(
        Capability.TEE,
        Capability.AGENT,
        Capability.TA_LOAD,
        Capability.TA_DEVKIT,
        Capability.TA_ENCRYPTION,
    ),
]

PLACE = "/run/trustbox-module"


@pytest.fixture
def module(box: TrustBox, by: Deadline) -> Iterator[TrustBox]:
    """A box with what a module's image has in /enclave, elsewhere."""
    shell = box.target.shell
    shell.run("mkdir", "-p", PLACE, by=by)
    shell.write(f"{PLACE}/start", start_program(), by=by, mode=0o755)
    shell.write(f"{PLACE}/{SAMPLE}.ta", sealed_for(box.target), by=by, mode=0o444)
    yield box


def test_the_application_starts_with_its_enclave_in_place(module: TrustBox, by: Deadline) -> None:
    target, enclave = module.target, f"{PLACE}/{SAMPLE}.ta"
    directory = target.layout.ta_directory
    argv = (f"{PLACE}/start", enclave, directory, "/bin/cat", f"{directory}/{SAMPLE}.ta")

    seen = target.shell.run(*argv, by=by).stdout

    assert seen == target.shell.read(enclave, by=by)
    assert count_up(target, by) == 1


def test_an_enclave_that_cannot_be_put_in_place_starts_nothing(
    module: TrustBox, by: Deadline
) -> None:
    shell = module.target.shell
    argv = (f"{PLACE}/start", f"{PLACE}/{SAMPLE}.ta", "/no/such/place", "/bin/echo", "started")

    ended = shell.run(*argv, by=by, check=False)

    assert (ended.status, ended.stdout) == (1, b"")
    assert b"cannot write /no/such/place" in ended.stderr
