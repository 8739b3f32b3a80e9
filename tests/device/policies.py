"""What must hold of the box under test: the policy that ships, less what nobody can see there."""

from __future__ import annotations

from dataclasses import replace

from harness.target import EvidenceLevel, Target
from provisioning.policy import Check
from provisioning.policy_file import PolicyFile, read_policy


def policy_for(target: Target) -> PolicyFile:
    """Evidence that is functional at best must show its boot, which only some rigs can look at.

    Where none can, the check stays absent, which is not passed, and nothing else is let off.
    """
    policy = read_policy()
    if target.boot_seen is not None:
        return policy
    functional = policy.require[EvidenceLevel.FUNCTIONAL] - {Check.BOOT_STATE}
    return replace(policy, require={**policy.require, EvidenceLevel.FUNCTIONAL: functional})
