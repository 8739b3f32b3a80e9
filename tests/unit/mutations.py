"""Ways in which a document gets damaged or forged, drawn at random."""

from __future__ import annotations

from hypothesis import assume
from hypothesis import strategies as st


def mutated(data: st.DataObject, whole: bytes) -> bytes:
    """``whole`` with bits flipped, bytes replaced, put in, cut out or moved: never as it was."""
    size = len(whole)
    at = data.draw(st.integers(0, size - 1))
    end = data.draw(st.integers(at, min(size, at + 64)))
    match data.draw(st.sampled_from(["flip", "replace", "insert", "cut", "double", "end"])):
        case "flip":
            changed = whole[:at] + bytes([whole[at] ^ 1 << data.draw(st.integers(0, 7))])
            changed += whole[at + 1 :]
        case "replace":
            changed = whole[:at] + data.draw(st.binary(min_size=1, max_size=16)) + whole[end:]
        case "insert":
            changed = whole[:at] + data.draw(st.binary(min_size=1, max_size=16)) + whole[at:]
        case "cut":
            changed = whole[:at] + whole[end:]
        case "double":
            changed = whole[:end] + whole[at:]
        case _:
            changed = whole[:at]
    assume(changed != whole)
    return changed
