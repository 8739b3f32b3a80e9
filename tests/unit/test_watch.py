"""What a watch holds later looks against, and what it tells of each."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from threading import Event
from typing import cast

import pytest

from harness.errors import DeadlineExpired, LinkLost, TeeRefused, TrustBoxError
from harness.target import Target
from provisioning import appraisal
from provisioning.appraisal import Appraisal, followed, moved, watch
from provisioning.cli import attest_run
from provisioning.cli.attest_asked import Asked
from provisioning.cli.attest_run import told
from provisioning.cli.ending import ended
from provisioning.evidence import Evidence
from provisioning.integrity import Examination
from provisioning.observed import Observed
from provisioning.policy import Check
from provisioning.policy_file import Pinned, PolicyFile
from provisioning.verdict import verify
from tests.unit import attested

pytestmark = pytest.mark.integrity
NOTHING = Pinned()


def look(evidence: Evidence | None = None, **changed: object) -> Appraisal:
    observed: Observed = replace(attested.observed(), **changed)  # type: ignore[arg-type]
    found = Examination(evidence, observed, None, 1.0, 0.1, 0.5)
    return Appraisal(
        attested.NONCE, 0.0, found, verify(attested.evidence(), attested.policy(), observed)
    )


def after(*looks: Appraisal, pinned: Pinned = NOTHING) -> Pinned:
    for one in looks:
        pinned = followed(pinned, one)
    return pinned


def test_the_highest_counter_is_followed_and_not_the_first() -> None:
    assert after(look(counter=17), look(counter=19), look(counter=18)).counter == 19
    assert after(look(counter=None), look(counter=4)).counter == 4
    assert after(look(counter=3), pinned=Pinned(counter=17)).counter == 17
    assert after(look(counter=None)).counter is None


def test_the_first_key_that_was_seen_is_followed_and_no_later_one() -> None:
    other = replace(attested.evidence(), key=attested.public_key(1))

    kept = after(look(None), look(attested.evidence()), look(other))

    assert (kept.key, kept.tee_uuid) == (attested.public_key(), attested.TEE_UUID)
    assert after(look(attested.evidence()), pinned=Pinned(other.key)).key == other.key


def test_a_refusal_that_stays_is_told_also_when_another_check_moved() -> None:
    before = look(counter=3)
    now = look(counter=3, ta_files={})

    lines = told(now, moved(before, now))

    assert lines[0].startswith(f"{Check.TA_FILES.value}: pass → ")
    assert [line.partition(":")[0] for line in lines] == ["ta-files", "storage-fresh"]


class Looks:
    """Plays what comes of each look: a counter, or why it could not be made."""

    def __init__(self, *results: int | TrustBoxError) -> None:
        self._results, self.held_against = list(results), list[Pinned]()

    def __call__(self, target: object, policy: object, kept: Pinned, **_: object) -> Appraisal:
        self.held_against.append(kept)
        result = self._results.pop(0)
        if isinstance(result, TrustBoxError):
            raise result
        return look(counter=result)


def watched(
    monkeypatch: pytest.MonkeyPatch, looks: Looks, failed: list[TrustBoxError], most: int
) -> list[Appraisal]:
    monkeypatch.setattr(appraisal, "appraise", looks)
    target, policy = cast(Target, None), cast(PolicyFile, None)
    found = watch(target, policy, Pinned(counter=1), period=0.0, stop=Event(), failed=failed.append)
    return [one for one, _ in islice(found, most)]


def test_storage_that_is_put_back_after_the_first_look_is_held_against_the_highest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looks = Looks(17, 19, 18)

    watched(monkeypatch, looks, [], 3)

    assert [kept.counter for kept in looks.held_against] == [1, 17, 19]


def test_a_look_that_failed_is_told_and_the_watch_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    late, refused = DeadlineExpired("the TEE", 30.0), TeeRefused("opening", 0xFFFF0000, 3)
    failed: list[TrustBoxError] = []

    assert len(watched(monkeypatch, Looks(17, late, late, refused, late, 17), failed, 2)) == 2
    assert failed == [late, late, refused, late]


def test_a_link_that_is_gone_for_good_ends_the_watch(monkeypatch: pytest.MonkeyPatch) -> None:
    lost = LinkLost("the cable is out")
    failed: list[TrustBoxError] = []

    with pytest.raises(LinkLost):
        watched(monkeypatch, Looks(17, lost, lost, lost), failed, 2)
    assert failed == [lost, lost, lost]


def test_ctrl_c_before_the_first_look_ended_is_no_success(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(attest_run, "watch", interrupted)
    asked = Asked(cast(PolicyFile, None), None, None, None, tee_only=False)

    def run() -> int:
        good = attest_run.attesting(
            cast(Target, None), asked, 60.0, opening=0.0, as_json=False, timings=False
        )
        return 0 if good else 7

    assert ended(run, as_json=False) == 130
