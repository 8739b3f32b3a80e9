"""Asking a box and judging it, once and again: what ``trustbox attest`` does."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace

from harness.deadline import Deadline
from harness.errors import DeviceRefused, LinkError
from harness.target import Target
from provisioning.integrity import Examination
from provisioning.policy import Check, Policy
from provisioning.policy_file import Pinned, PolicyFile
from provisioning.verdict import Finding, Outcome, Verdict, verify
from provisioning.verdict_observed import OF_OBSERVED

ATTESTING_SECONDS = 120.0
LEAST_SECONDS = 30.0
"""A box's first attestation makes its key."""
MOST_LOST = 3


@dataclass(frozen=True, slots=True)
class Appraisal:
    """One look at a box. ``nonce`` was made for it; ``at`` is the time of day (Unix seconds)."""

    nonce: bytes
    at: float
    examination: Examination
    verdict: Verdict

    def to_dict(self) -> dict[str, object]:
        """What ``--json`` prints, and ``--pin`` and ``trustbox appraise`` read."""
        found = self.examination
        return {
            "evidence": found.evidence and found.evidence.to_dict(),
            "observed": found.observed.to_dict(),
            "verdict": self.verdict.to_dict(),
            "timings": {
                "attest_s": round(found.seconds, 3),
                "tee_s": round(found.tee_seconds, 3),
                "observe_s": round(found.observing_seconds, 3),
                "tee_share": round(found.tee_seconds / found.seconds, 3),
            },
        }


@dataclass(frozen=True, slots=True)
class Moved:
    """A check that came out otherwise than the time before."""

    check: Check
    before: Outcome
    after: Finding


def appraise(
    target: Target,
    policy: PolicyFile,
    pinned: Pinned | None = None,
    *,
    by: Deadline,
    since: float = 0.0,
    tee_only: bool = False,
    nonce: bytes | None = None,
) -> Appraisal:
    """Evidence for a nonce made now, and the verdict on it by what is known about this box.

    ``nonce``: somebody else's, who will verify (16 to 64 bytes). ``tee_only``: the TEE's
    measurements alone; nothing else is looked at or required.
    """
    from provisioning.trustbox import TrustBox

    nonce, enclave = nonce or os.urandom(32), policy.enclave
    at = time.time()
    with TrustBox(target) as box:
        found = box.integrity.examine(
            nonce,
            by=by,
            enclave=enclave.uuid if enclave else None,
            measures=enclave.measures if enclave else None,
            counter_command=enclave.counter_command if enclave else None,
            since=since,
            tee_only=tee_only,
        )
    asked = policy.policy(
        nonce=nonce,
        level=target.evidence_level,
        golden=target.firmware.golden_tee,
        pinned=pinned,
    )
    if tee_only:
        asked = of_the_tee(asked)
    return Appraisal(nonce, at, found, verify(found.evidence, asked, found.observed))


def of_the_tee(policy: Policy) -> Policy:
    """``policy`` without what it expects of the rest of the box."""
    keep = policy.require - frozenset(OF_OBSERVED)
    return replace(policy, require=keep, ta_files=None, tokens=None, counter=None)


def of_what_is_signed(policy: Policy) -> Policy:
    """``policy`` without what it expects of anything that the TEE does not sign, and with a key."""
    keep = (policy.require - {Check.HUK, Check.TEE_UUID}) | {Check.KEY}
    return of_the_tee(replace(policy, require=keep, tee_uuid=None))


def watch(
    target: Target,
    policy: PolicyFile,
    pinned: Pinned | None = None,
    *,
    period: float,
    stop: threading.Event,
    failed: Callable[[LinkError | DeviceRefused], None] | None = None,
) -> Generator[tuple[Appraisal, tuple[Moved, ...]], None, None]:
    """Look again every ``period`` seconds (begin to begin) until ``stop``, and tell what moved.

    Without a pinned key, the first that was seen is expected of all later looks; likewise the TEE
    UUID, and the files in the TA directory. The sealed counter must not go below the highest seen.
    The console's mark moves on with each look.

    A look takes ``period`` at most, or LEAST_SECONDS. ``failed`` is told of each that could not be
    made, and the watch goes on until MOST_LOST in a row ended with a LinkError, which is then
    raised; without ``failed`` the first is.
    """
    kept, last, since, lost = pinned or Pinned(), None, 0.0, 0
    seconds = min(ATTESTING_SECONDS, max(period, LEAST_SECONDS))
    while True:
        began = time.monotonic()
        try:
            now = appraise(target, policy, kept, by=Deadline.after(seconds), since=since)
        except (LinkError, DeviceRefused) as problem:
            if failed is None:
                raise
            failed(problem)
            lost = lost + 1 if isinstance(problem, LinkError) else 0
            if lost == MOST_LOST:
                raise
        else:
            yield now, moved(last, now) if last else ()
            kept, last, since, lost = followed(kept, now), now, began, 0
        if stop.wait(max(0.0, began + period - time.monotonic())):
            return


def moved(before: Appraisal, now: Appraisal) -> tuple[Moved, ...]:
    """The checks that came out otherwise, in the order of ``Check``.

    Without those that there was nothing to compare with before, and that pass now.
    """
    return tuple(
        Moved(finding.check, was.outcome, finding)
        for finding in now.verdict.findings
        if (was := before.verdict[finding.check]).outcome is not finding.outcome
        and (was.outcome, finding.outcome) != (Outcome.UNKNOWN, Outcome.PASS)
    )


def followed(kept: Pinned, look: Appraisal) -> Pinned:
    """What later looks are held against: what was kept, and what this one was the first to show."""
    evidence, observed = look.examination.evidence, look.examination.observed
    counters = [count for count in (kept.counter, observed.counter) if count is not None]
    return Pinned(
        key=kept.key or (evidence.key if evidence else None),
        ta_files=kept.ta_files if kept.ta_files is not None else observed.ta_files,
        counter=max(counters, default=None),
        tee_uuid=kept.tee_uuid or (evidence.tee_uuid if evidence else None),
        tokens=kept.tokens if kept.tokens is not None else observed.tokens,
    )
