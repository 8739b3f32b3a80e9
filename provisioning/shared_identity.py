"""Is a box's identity its own? One that other boxes share is public, and is never enrolled. Pure.

A board whose fuses were not blown takes a test identity that is the same on all of them, and keys
that come from an all-zero hardware key (device-facts 1.4, 1.6, 1.7): a certificate for it would be
a certificate for every such board.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from uuid import UUID

from harness.boot_findings import Finding
from harness.boot_markers import Stage
from harness.boot_stages import boots
from harness.boot_state import BootState, Ssm
from harness.target import ConsoleLine
from provisioning.verdict import ZERO_HUK_UUID

UNFUSED = frozenset({"test-identity", "security-state", "ssm-not-secure", "hab-disabled"})
"""Findings of ``harness.boot_findings`` that only a board without blown fuses shows."""


def shared_identity(
    found: Iterable[Finding], state: BootState, tee_uuid: UUID | None
) -> tuple[str, ...]:
    """Why the identity is not the box's own, a sentence each; empty when nothing says so.

    ``found``: what the boot's log told; ``state``: what secure-boot registers could be read, of
    which an absent one says nothing; ``tee_uuid``: the TEE's.
    """
    return tuple(_told(found, state, tee_uuid))


def boot_was_heard(lines: Iterable[ConsoleLine]) -> bool:
    """Whether the UARTs told of a boot: of a stage before the login prompt. Without one, a log in
    which nothing speaks against the box is a log in which nothing could have.
    """
    return any(seen.stage is not Stage.READY for boot in boots(lines) for seen in boot.stages)


def _told(found: Iterable[Finding], state: BootState, tee_uuid: UUID | None) -> Iterator[str]:
    for finding in found:
        if finding.name in UNFUSED:
            yield f"the boot's log: {finding.line!r}: {finding.meaning}"
    if state.ssm is not None and state.ssm not in (Ssm.TRUSTED, Ssm.SECURE):
        yield f"the security monitor is in state {state.ssm.name}, neither TRUSTED nor SECURE"
    if state.otpmk_fused is False:
        yield "OTPMK is not fused: keys derived from it are the same on every such box"
    if state.its is False:
        yield "ITS is not fused: the boot ROM runs what nobody signed"
    if tee_uuid == ZERO_HUK_UUID:
        yield f"TEE UUID {tee_uuid} is that of an all-zero hardware unique key"
