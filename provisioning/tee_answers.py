"""Takes out of a TEE result what a command's promise says is there, or refuses."""

from __future__ import annotations

from harness.errors import IntegrityFailure
from harness.tee_params import Memref, TeeResult, Value


def octets(result: TeeResult, index: int) -> bytes:
    """The bytes of the output memref at ``index``. Raises IntegrityFailure when it is none."""
    found = result.params[index] if index < len(result.params) else None
    if not isinstance(found, Memref) or not isinstance(found.data, bytes):
        raise IntegrityFailure(f"the TEE gave no bytes back as parameter {index}")
    return found.data


def value(result: TeeResult, index: int) -> int:
    """The output value at ``index`` as one number: a is its lower half, b its upper."""
    found = result.params[index] if index < len(result.params) else None
    if not isinstance(found, Value):
        raise IntegrityFailure(f"the TEE gave no value back as parameter {index}")
    return found.a | found.b << 32
