"""How much of the secure world's memory is in use: OP-TEE's stats PTA (pta_stats.h)."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from uuid import UUID

from harness.capability import Capability
from harness.deadline import Deadline
from harness.errors import BadFrame
from harness.target import Target
from harness.tee import TeeClient
from harness.tee_params import Direction, Memref, Value
from provisioning.tee_answers import octets

STATS_PTA = UUID("d96a5b40-e2c7-b1af-8794-1002a5d5c61b")
ALLOC_STATS = 1
_POOL = struct.Struct("<32sQIIIIII")
_MOST_POOLS = 16


@dataclass(frozen=True, slots=True)
class Pool:
    """One allocator of OP-TEE's core, in bytes: in use now, at most since boot, and in all; and how
    many requests it could not serve."""

    name: str
    allocated: int
    most: int
    size: int
    failures: int


def secure_memory(target: Target, *, by: Deadline) -> tuple[Pool, ...]:
    """Every pool. The session that asks is itself in it. Raises MissingCapability, TeeRefused,
    BadFrame for an answer of another form.
    """
    target.require(Capability.TEE_STATS)
    with (
        TeeClient.open(target, by=by) as client,
        client.open_session(STATS_PTA, by=by) as session,
    ):
        room = Memref(_POOL.size * _MOST_POOLS, Direction.OUT)
        result = session.invoke(ALLOC_STATS, Value(0, 0), room, by=by)
        answer = octets(result.check("asking for the secure memory in use"), 1)
    if len(answer) % _POOL.size:
        raise BadFrame(f"the stats PTA gave {len(answer)} bytes, expected whole pools")
    return tuple(_pool(*fields) for fields in _POOL.iter_unpack(answer))


def _pool(
    name: bytes, _free: int, allocated: int, most: int, size: int, failures: int, *_: int
) -> Pool:
    text = name.split(b"\0", 1)[0].decode("ascii", errors="replace")
    return Pool(text, allocated, most, size, failures)
