"""Changing a byte of live secure memory, for tests that a change is noticed.

Only a rig that owns the machine can do this, from outside of both worlds; it promises
``Capability.TAMPER``. Nothing on the box takes part, so nothing on the box could prevent it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from harness.deadline import Deadline


class CorePart(Enum):
    """A part of the OP-TEE core that HASH_TEE_MEMORY covers (core/pta/attestation.c)."""

    TEXT = "text"
    RODATA = "rodata"


@dataclass(frozen=True, slots=True)
class Change:
    """One byte that is another one now. ``addresses`` are secure virtual ones, in the core's
    address space: more than one where memory holds the same page more than once."""

    what: str
    addresses: tuple[int, ...]
    before: int
    after: int


class Tamper(Protocol):
    """Both verbs change the byte on entering and put it back on leaving.

    The machine must be caught while it runs in the secure world: ``busy`` is called over and over,
    in a thread of its own, until it was, and should keep the TEE at work for about a second. What
    it returns is dropped; what it raises comes out here. Raises RigError when the box is off or
    memory does not hold what it must hold, DeadlineExpired.
    """

    def core(
        self, part: CorePart, *, busy: Callable[[], object], by: Deadline, at: int = 0
    ) -> AbstractContextManager[Change]:
        """Flip a bit of the OP-TEE core, in what runs or is read at boot only, so the box goes on.

        ``at`` chooses among the bits that will do, modulo their number.
        """

    def enclave(
        self, page: bytes, bit: int, *, busy: Callable[[], object], by: Deadline
    ) -> AbstractContextManager[Change]:
        """Flip ``bit`` (of 32,768) in the page of a loaded enclave that has the content ``page``
        (4096 bytes)."""
