"""What goes between a token's client and its worker process: one JSON object a line, both ways.

::

    → {"do": "sign", "with": {"id": {"hex": "…"}, "digest": {"hex": "…"}}}
    ← {"ok": {"hex": "…"}}      or {"ckr": "CKR_PIN_INCORRECT"} or {"fault": "what went wrong"}

Only JSON's own types and byte strings (``{"hex": …}``) can be said: nothing that comes back can
become code. PINs travel here and nowhere else, over the worker's stdin.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

LONGEST_LINE = 1 << 20
"""Octets of one line, either way: far above a certificate, far below memory."""


class Malformed(ValueError):
    """A line that the protocol does not allow. Stays between client and worker."""


@dataclass(frozen=True, slots=True)
class Request:
    """One thing to do, and with what (values: None, bool, int, str, bytes, lists, maps)."""

    do: str
    arguments: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Answer:
    """Exactly one of: a value, a PKCS#11 return value's name, a sentence about a fault."""

    value: object = None
    ckr: str = ""
    fault: str = ""


def pack_request(request: Request) -> bytes:
    return _line({"do": request.do, "with": _plain(request.arguments)})


def unpack_request(line: bytes) -> Request:
    found = _object(line)
    do, arguments = found.get("do"), _rich(found.get("with"))
    if set(found) != {"do", "with"} or not isinstance(do, str) or not isinstance(arguments, dict):
        raise Malformed("not a request")
    return Request(do, arguments)


def pack_answer(answer: Answer) -> bytes:
    if answer.ckr:
        return _line({"ckr": answer.ckr})
    if answer.fault:
        return _line({"fault": answer.fault})
    return _line({"ok": _plain(answer.value)})


def unpack_answer(line: bytes) -> Answer:
    found = _object(line)
    match found:
        case {"ckr": str(ckr), **rest} if not rest and ckr.startswith("CKR_"):
            return Answer(ckr=ckr[:80])
        case {"fault": str(fault), **rest} if not rest and fault:
            return Answer(fault=fault[:500])
        case {"ok": value, **rest} if not rest:
            return Answer(value=_rich(value))
    raise Malformed("not an answer")


def _line(value: object) -> bytes:
    packed = json.dumps(value, ensure_ascii=True, separators=(",", ":")).encode() + b"\n"
    if len(packed) > LONGEST_LINE:
        raise Malformed("too long")
    return packed


def _object(line: bytes) -> dict[str, object]:
    if len(line) > LONGEST_LINE or not line.endswith(b"\n"):
        raise Malformed("too long or cut short")
    try:
        found = json.loads(line)
    except (ValueError, RecursionError) as problem:
        raise Malformed("not JSON") from problem
    if not isinstance(found, dict):
        raise Malformed("not an object")
    return found


def _plain(value: object) -> object:
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, bytes):
        return {"hex": value.hex()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    raise Malformed(f"cannot be said: {type(value).__name__}")


def _rich(value: object) -> object:
    if isinstance(value, dict):
        if set(value) == {"hex"}:
            try:
                return bytes.fromhex(str(value["hex"]))
            except ValueError as problem:
                raise Malformed("not hexadecimal") from problem
        return {key: _rich(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_rich(item) for item in value]
    if isinstance(value, float):
        raise Malformed("no fractions here")
    return value
