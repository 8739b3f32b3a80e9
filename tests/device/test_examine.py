"""A box that is as it must be passes; what is changed on it is named by the check for it."""

from __future__ import annotations

import posixpath
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace

import pytest

from harness.capability import Capability
from harness.deadline import Deadline
from harness.tamper import CorePart
from harness.target import Target
from provisioning.appraisal import Appraisal, appraise, watch
from provisioning.enclave_image import parse
from provisioning.policy import Check
from provisioning.policy_file import Pinned, PolicyEnclave
from provisioning.sample_enclave import COUNTER_READ, MEASURE_SELF, SAMPLE
from provisioning.trustbox import TrustBox
from provisioning.verdict import Outcome
from provisioning.verdict_observed import OF_OBSERVED
from tests.device.policies import policy_for
from tests.device.sample import build_sample
from tests.device.tampering import tamper_of, tee_at_work

pytestmark = [
    pytest.mark.integrity,
    pytest.mark.needs(
        Capability.AGENT, Capability.ATTESTATION, Capability.GOLDEN, Capability.TA_LOAD
    ),
]
SSHD_PORT = 2200
OF_THE_ENCLAVE = {
    Check.ENCLAVE_MEMORY_SIGNATURE,
    Check.ENCLAVE_MEMORY,
    Check.ENCLAVE_IDENTITY_SIGNATURE,
    Check.ENCLAVE_IDENTITY,
}


def looked(target: Target, by: Deadline, pinned: Pinned | None = None) -> Appraisal:
    return appraise(target, policy_for(target), pinned, by=by)


def kept(look: Appraisal) -> Pinned:
    """What somebody keeps of a good look, to compare later ones with."""
    evidence = look.examination.evidence
    assert evidence is not None
    return Pinned(evidence.key, look.examination.observed.ta_files)


def refused(look: Appraisal) -> set[Check]:
    return {finding.check for finding in look.verdict.refusals}


def files_in(target: Target, directory: str, by: Deadline) -> set[str]:
    return set(target.shell.run("ls", "-1", directory, by=by).text.split())


def test_a_box_as_it_was_delivered_passes_and_nothing_is_left_on_it(
    target: Target, by: Deadline
) -> None:
    before = files_in(target, target.layout.ta_directory, by)

    look = looked(target, by)

    assert refused(look) == set()
    assert 0 < look.examination.tee_seconds < look.examination.seconds
    assert look.verdict[Check.LOAD_ENFORCEMENT].outcome is Outcome.PASS
    assert look.verdict[Check.STORAGE].outcome is Outcome.PASS
    assert files_in(target, target.layout.ta_directory, by) == before


def test_the_same_box_passes_with_what_was_kept_of_it(target: Target, by: Deadline) -> None:
    again = looked(target, by, kept(looked(target, by)))

    assert refused(again) == set()
    assert again.verdict[Check.KEY].outcome is Outcome.PASS
    assert again.verdict[Check.TA_FILES].outcome is Outcome.PASS


def test_the_tee_alone_is_looked_at_when_that_is_asked(target: Target, by: Deadline) -> None:
    look = appraise(target, policy_for(target), by=by, tee_only=True)

    assert look.verdict.ok
    assert {look.verdict[check].outcome for check in OF_OBSERVED} == {Outcome.ABSENT}


@pytest.mark.case("N-40", expect="tee-device fails")
def test_a_tee_device_that_everybody_may_open_is_named(box: TrustBox, by: Deadline) -> None:
    target = box.target
    target.shell.run("chmod", "666", target.layout.tee_device, by=by)

    assert refused(looked(target, by)) == {Check.TEE_DEVICE}


def test_a_ta_file_too_many_and_one_that_changed_are_named(box: TrustBox, by: Deadline) -> None:
    target = box.target
    pinned = kept(looked(target, by))
    directory = target.layout.ta_directory
    name = next(iter(sorted(files_in(target, directory, by))))
    another = posixpath.join(directory, "00000000-1111-4222-8333-444444444444.ta")
    target.shell.write(another, b"HSTO", by=by)

    too_many = looked(target, by, pinned)
    target.shell.run("rm", "--", another, by=by)
    target.shell.run("sh", "-c", 'printf x >> "$1"', "sh", posixpath.join(directory, name), by=by)
    changed = looked(target, by, pinned)

    assert refused(too_many) == refused(changed) == {Check.TA_FILES}
    assert posixpath.basename(another) in too_many.verdict[Check.TA_FILES].why
    assert name in changed.verdict[Check.TA_FILES].why


@pytest.mark.needs(Capability.STREAMS)
def test_a_service_that_nobody_expects_is_named(box: TrustBox, by: Deadline) -> None:
    target = box.target
    assert target.streams is not None
    argv = ("/usr/sbin/sshd", "-D", "-e", "-p", str(SSHD_PORT), "-o", "PidFile=none")
    until_it_listens = f"until grep -q :{SSHD_PORT:04X} /proc/net/tcp; do :; done"
    with closing(target.streams.stream(*argv, by=by)):
        target.shell.run("sh", "-c", until_it_listens, by=by)

        look = looked(target, by)

    assert refused(look) == {Check.LISTENING_PORTS}
    assert str(SSHD_PORT) in look.verdict[Check.LISTENING_PORTS].why


@pytest.fixture
def watching(target: Target) -> Iterator[Callable[[], tuple[Appraisal, set[Check]]]]:
    """The next look of a watch without a pause between looks, and the checks that moved."""
    looks = watch(target, policy_for(target), period=0.0, stop=threading.Event())

    def look() -> tuple[Appraisal, set[Check]]:
        found, moves = next(looks)
        return found, {move.check for move in moves}

    with closing(looks):
        yield look


@pytest.mark.needs(Capability.TAMPER, Capability.PKCS11)
@pytest.mark.timeout(180)
def test_a_watch_tells_which_check_moved_and_when_it_moved_back(
    target: Target, watching: Callable[[], tuple[Appraisal, set[Check]]]
) -> None:
    by = Deadline.after(150)
    first, _ = watching()
    quiet, moved_nothing = watching()
    with (
        tee_at_work(target, by) as busy,
        tamper_of(target).core(CorePart.RODATA, busy=busy, by=by),
    ):
        changed, moved_away = watching()
    back, moved_back = watching()

    assert (first.verdict.ok, quiet.verdict.ok, moved_nothing) == (True, True, set())
    assert (changed.verdict.ok, moved_away) == (False, {Check.TEE_MEMORY})
    assert (back.verdict.ok, moved_back) == (True, {Check.TEE_MEMORY})


def test_a_spoilt_enclave_file_is_named_and_the_rest_is_judged(box: TrustBox, by: Deadline) -> None:
    target = box.target
    data = build_sample(target)
    enclave = PolicyEnclave(SAMPLE, None, parse(data).digest, MEASURE_SELF, COUNTER_READ)
    policy = replace(policy_for(target), enclave=enclave)
    spoilt = data[:-1] + bytes([data[-1] ^ 1])
    target.shell.write(box.enclave.path(SAMPLE), spoilt, by=by, mode=0o444)

    look = appraise(target, policy, by=by)

    assert refused(look) == OF_THE_ENCLAVE
    assert "0xffff" in look.verdict[Check.ENCLAVE_MEMORY].why
    assert look.verdict[Check.TEE_MEMORY].outcome is Outcome.PASS
    assert look.verdict[Check.STORAGE].outcome is Outcome.PASS
