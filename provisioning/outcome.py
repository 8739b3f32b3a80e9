"""How a check came out."""

from __future__ import annotations

from enum import Enum


class Outcome(Enum):
    PASS = "pass"  # noqa: S105 - an outcome, not a password
    FAIL = "fail"
    ABSENT = "absent"
    UNKNOWN = "unknown"


Looked = tuple[Outcome, str]
"""An outcome, and why in one sentence."""
