"""Secrets: values that have no text form, so they cannot end up in a log by accident."""

from __future__ import annotations

import hmac


class Secret:
    """Bytes that show as ``***`` everywhere; ``reveal()`` is the one way to them.

    Cannot be pickled or formatted. Comparison takes the same time for any other value.
    """

    __slots__ = ("_value",)

    def __init__(self, value: bytes) -> None:
        self._value = bytes(value)

    def reveal(self) -> bytes:
        return self._value

    def __repr__(self) -> str:
        return "Secret(***)"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and hmac.compare_digest(self._value, other._value)

    def __hash__(self) -> int:
        raise TypeError("a Secret is not hashable")

    def __reduce__(self) -> str:
        raise TypeError("a Secret cannot be pickled")
