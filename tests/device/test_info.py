"""``box.info``: what the box tells about itself is what is known about it by other ways."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.capability import Capability
from harness.deadline import Deadline
from harness.target import Target
from provisioning.info import InfoSession, Seen
from provisioning.verdict import ZERO_HUK_UUID


def test_the_serial_number_is_the_box_s_own(target: Target, by: Deadline) -> None:
    assert InfoSession(target).look(by=by)["serial number"] == target.serial


def test_the_kernel_version_is_what_uname_says(target: Target, by: Deadline) -> None:
    said = target.shell.run("uname", "-r", by=by).text

    assert InfoSession(target).look(by=by)["kernel version"] == said


@pytest.mark.needs(Capability.TEE)
def test_the_op_tee_version_begins_the_firmware_s(target: Target, by: Deadline) -> None:
    version = InfoSession(target).look(by=by)["OP-TEE version"]

    assert version is not None
    assert target.firmware.version.startswith(version.split()[0])


@pytest.mark.needs(Capability.AGENT, Capability.PKCS11, Capability.OWN_HUK)
def test_the_tee_uuid_is_not_the_zero_key_s(target: Target, by: Deadline) -> None:
    found = InfoSession(target).look(by=by).tee_uuid

    assert found is not None
    assert found != ZERO_HUK_UUID


def test_without_a_tee_the_tee_uuid_is_absent(target: Target, by: Deadline) -> None:
    bare = replace(target, capabilities=target.capabilities - {Capability.TEE})

    assert InfoSession(bare).look(by=by).tee_uuid is None


def test_every_fact_says_how_it_came_to_be_known(target: Target, by: Deadline) -> None:
    facts = InfoSession(target).look(by=by)

    assert all(isinstance(fact.seen, Seen) and fact.source for fact in facts)
