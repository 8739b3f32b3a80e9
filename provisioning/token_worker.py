"""The process that holds one PKCS#11 module; run as ``python -m provisioning.token_worker MODULE``.

A process of its own, because p11-kit's client takes its address from the environment, a module is
loaded once per process, and a call into a module cannot be interrupted: beyond its deadline the
client kills this process. A module that misbehaves takes nobody with it. Requests come on stdin and
answers go to the original stdout (see token_protocol); what modules print goes to stderr. The end
of stdin ends the worker.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from typing import BinaryIO

import pkcs11

from provisioning.token_calls import TokenCalls
from provisioning.token_ckr import ckr_name
from provisioning.token_protocol import (
    LONGEST_LINE,
    Answer,
    Malformed,
    pack_answer,
    unpack_request,
)


def answer_to(verbs: Mapping[str, Callable[..., object]], line: bytes) -> Answer:
    """Do one request; every outcome is an answer. Arguments never show in a fault: PINs."""
    try:
        request = unpack_request(line)
        verb = verbs.get(request.do)
        if verb is None:
            return Answer(fault="unknown request")
        return Answer(value=verb(**request.arguments))
    except pkcs11.PKCS11Error as problem:
        return Answer(ckr=ckr_name(problem))
    except Malformed as problem:
        return Answer(fault=str(problem) or "malformed")
    except Exception as problem:  # noqa: BLE001 - the boundary of the process; type only: PINs
        return Answer(fault=f"the token worker failed with {type(problem).__name__}")


def serve(module: str, requests: BinaryIO, answers: BinaryIO) -> None:
    calls: TokenCalls | None = None
    while line := requests.readline(LONGEST_LINE + 1):
        answer = Answer(ckr="CKR_GENERAL_ERROR")
        if calls is None:
            try:
                calls = TokenCalls(module)
            except pkcs11.PKCS11Error as problem:
                answer = Answer(ckr=ckr_name(problem))
            except (RuntimeError, OSError) as problem:
                answer = Answer(fault=f"PKCS#11 module {module} cannot be used: {problem}")
        if calls is not None:
            answer = answer_to(calls.verbs(), line)
        answers.write(pack_answer(answer))
        answers.flush()


def main() -> None:
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # a module that prints must not speak for us
    serve(sys.argv[1], sys.stdin.buffer, answers)


if __name__ == "__main__":
    main()
