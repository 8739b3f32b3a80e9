"""Talking to Trusted Applications on the box: sessions and calls, results as they come back.

::

    TeeClient --(a helper for itself, one SSH stream)--> /dev/tee0 --> OP-TEE --> TA
"""

from __future__ import annotations

import logging
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from types import TracebackType
from uuid import UUID

from harness.agent_client import AgentConnection
from harness.agent_frames import Frame, FrameType
from harness.capability import Capability
from harness.deadline import Deadline
from harness.errors import BadFrame, DeviceRefused, LinkLost, Misuse, TeeRefused, TrustBoxError
from harness.history import History
from harness.ssh import noted
from harness.target import Target
from harness.tee_codes import SUCCESS, TeeCode, TeeOrigin, name_of
from harness.tee_params import Direction, Memref, Param, TeeResult, Value, decode, encode

LOGIN_PUBLIC = 0
CLOSE_SECONDS = 5.0
IMPLEMENTATION_OPTEE = 1


@dataclass(frozen=True, slots=True)
class TeeVersion:
    """What the kernel's driver says of the TEE (include/uapi/linux/tee.h)."""

    implementation: int
    implementation_capabilities: int
    capabilities: int


class TeeClient:
    """A context in the sense of the TEE Client API. One call at a time; others wait their turn.

    A call that fails on the way (LinkLost, DeadlineExpired, BadFrame) ends the client and all its
    sessions: whether it took effect is unknown, and the box closes what was open.
    """

    def __init__(self, agent: AgentConnection, history: History, target: str) -> None:
        self._agent, self._history = agent, history
        self._lock = threading.Lock()
        self._ended = ""
        self._sessions: set[int] = set()
        self._log = logging.getLogger(f"harness.tee.{target}")

    @classmethod
    @contextmanager
    def open(cls, target: Target, *, by: Deadline) -> Iterator[TeeClient]:
        """Raises MissingCapability, DeviceRefused, LinkError, BoxDied."""
        target.require(Capability.TEE, Capability.AGENT)
        if target.helpers is None:
            raise Misuse(f"{target.name} promises a TEE without a helper to reach it by")
        helper = target.helpers.held(by=by, layout=target.layout)
        with connect(helper, target.history, target.name) as client:
            yield client

    def version(self, *, by: Deadline) -> TeeVersion:
        """Raises DeviceRefused when there is no TEE."""
        answer = self._ask(FrameType.TEE_VERSION, b"", "asking the TEE's version", by)
        return TeeVersion(*answer.numbers(3))

    def open_session(self, uuid: UUID, *params: Param | None, by: Deadline) -> TeeSession:
        """Raises TeeRefused with code and origin as they are, e.g. 0xffff0008 from 3 (TEE) for an
        unknown TA; Misuse for parameters that do not fit."""
        doing = f"opening a session with {uuid}"
        started = time.monotonic()
        # The kernel takes a UUID as RFC 4122 octets, unlike the TEE's own little-endian struct.
        payload = uuid.bytes + struct.pack("<I", LOGIN_PUBLIC) + encode(params)
        result, session = self._call(FrameType.TEE_OPEN, payload, params, doing, by)
        result.check(doing)
        self._sessions.add(session)
        self._log.debug("%s took %.3f s", doing, time.monotonic() - started)
        return TeeSession(self, uuid, session)

    def close(self) -> None:
        """Ends all sessions too. Safe to call twice."""
        self._ended = self._ended or "it was closed"
        self._agent.close()

    def leave(self) -> None:
        """End this client. Its helper lives on for others when no session is open in it."""
        if self._ended or self._sessions:
            self.close()
        self._ended = self._ended or "it was closed"

    def _call(
        self,
        kind: FrameType,
        payload: bytes,
        params: tuple[Param | None, ...],
        doing: str,
        by: Deadline,
    ) -> tuple[TeeResult, int]:
        frame = self._ask(kind, payload, doing, by)
        if frame.type is not FrameType.TEE_RESULT:
            problem = BadFrame(f"the helper answered a TEE call with {frame.type.name}")
            self._break(problem)
            raise problem
        code, origin, session = frame.numbers(3)
        try:
            return TeeResult(code, origin, decode(frame.payload[12:], params)), session
        except BadFrame as problem:
            self._break(problem)
            raise

    def _ask(self, kind: FrameType, payload: bytes, doing: str, by: Deadline) -> Frame:
        if not self._lock.acquire(timeout=by.left(f"the turn for {doing}")):
            by.left(f"the turn for {doing}")
        try:
            with noted(self._history, doing) as outcome:
                if self._ended:
                    raise LinkLost(f"this TEE client is of no use any more: {self._ended}")
                frame = self._exchange(kind, payload, by)
                outcome.append(_outcome(frame))
                return frame
        finally:
            self._lock.release()

    def _exchange(self, kind: FrameType, payload: bytes, by: Deadline) -> Frame:
        try:
            return self._agent.ask(kind, payload, by=by)
        except (Misuse, DeviceRefused):
            raise  # the helper refused and goes on
        except BaseException as problem:  # Ctrl-C while the answer is under way, too
            self._break(problem)
            raise

    def _break(self, problem: BaseException) -> None:
        self._ended = str(problem) or type(problem).__name__
        self._agent.close()


class TeeSession:
    """An open session with one Trusted Application. A context manager that closes it."""

    def __init__(self, client: TeeClient, uuid: UUID, number: int) -> None:
        self._client, self.uuid, self._number = client, uuid, number
        self._open = True

    def invoke(self, command: int, *params: Param | None, by: Deadline) -> TeeResult:
        """Call ``command`` with up to four parameters, None where one is left out. A result that
        is not TEE_SUCCESS is returned, not raised. Raises Misuse for a closed session, LinkError,
        BoxDied."""
        if not self._open:
            raise Misuse(f"the session with {self.uuid} is closed")
        if not 0 <= command < 1 << 32:
            raise Misuse(f"{command} is not a 32-bit command number")
        payload = struct.pack("<II", self._number, command) + encode(params)
        doing = f"invoking command {command} of {self.uuid}"
        result, _ = self._client._call(FrameType.TEE_INVOKE, payload, params, doing, by)
        return result

    def close(self) -> None:
        """Safe to call twice, and after the client has ended."""
        if not self._open:
            return
        self._open = False
        doing = f"closing the session with {self.uuid}"
        by = Deadline.after(CLOSE_SECONDS)
        with suppress(TrustBoxError):  # the box closes the sessions of a client that went away
            self._client._ask(FrameType.TEE_CLOSE, struct.pack("<I", self._number), doing, by)
            self._client._sessions.discard(self._number)

    def __enter__(self) -> TeeSession:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


@contextmanager
def connect(
    helper: AbstractContextManager[AgentConnection], history: History, name: str
) -> Iterator[TeeClient]:
    """A client before there is a Target: for the probe. Raises what having the helper raises."""
    with helper as agent:
        client = TeeClient(agent, history, name)
        try:
            yield client
        finally:
            client.leave()


def _outcome(frame: Frame) -> str:
    if frame.type is not FrameType.TEE_RESULT or len(frame.payload) < 8:
        return "answered"
    code, origin = frame.numbers(2)
    return "success" if code == SUCCESS else f"0x{code:08x} {name_of(code)} origin {origin}"


__all__ = [
    "Direction",
    "Memref",
    "Param",
    "TeeClient",
    "TeeCode",
    "TeeOrigin",
    "TeeRefused",
    "TeeResult",
    "TeeSession",
    "TeeVersion",
    "Value",
]
