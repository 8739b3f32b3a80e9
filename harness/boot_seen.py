"""What can be told of a box's boot without booting it again."""

from __future__ import annotations

from dataclasses import dataclass

from harness.boot_state import BootState


@dataclass(frozen=True, slots=True)
class BootSeen:
    """``verified``: each stage was checked before it ran; None: what was read does not tell.

    ``source`` says who looked at what, ``why`` is a sentence for people.
    """

    source: str
    verified: bool | None
    why: str


def of_registers(state: BootState) -> BootSeen | None:
    """What secure-boot registers say; None when none could be read."""
    if state.absent:
        return None
    why = "; ".join(state.findings) or "trusted or secure state, no error"
    return BootSeen(state.source, state.secure, why)
