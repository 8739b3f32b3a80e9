"""What a provisioning run sends over a box's streams, counted between our code and SSH."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from harness.agent_client import AgentConnection
from harness.agent_frames import Frame, FrameType
from harness.deadline import Deadline
from harness.helpers import Helpers
from harness.target import Layout, Stream, Streams

P11_KIT_HEADER = 12
"""p11-kit's RPC: call code, length of options, length of body, 32 bits each, after one byte of
version from each side (p11-kit/rpc-transport.c)."""


@dataclass(slots=True)
class Count:
    """What one step did over one kind of stream."""

    calls: int = 0
    sent: int = 0
    received: int = 0
    round_trips: int = 0
    waited: float = 0.0


class Tally:
    """Counts by step and by kind: ``pkcs11``, ``tee`` (TEE client), ``tls`` (openssl)."""

    def __init__(self) -> None:
        self.step = "before"
        self.counts: dict[tuple[str, str], Count] = defaultdict(Count)

    def of(self, kind: str) -> Count:
        return self.counts[self.step, kind]


class CountingStreams:
    """Implements ``Streams``, counting."""

    def __init__(self, inner: Streams, tally: Tally, p11_kit: str) -> None:
        self._inner, self._tally, self._p11_kit = inner, tally, p11_kit

    def stream(self, *argv: str, by: Deadline, secret: bool = False) -> Stream:
        by_openssl = any("openssl s_client" in word for word in argv)
        kind = "pkcs11" if argv[0] == self._p11_kit else "tls" if by_openssl else "other"
        return CountingStream(self._inner.stream(*argv, by=by, secret=secret), self._tally, kind)


class CountingStream:
    """Implements ``Stream``. One thread uses it, as all streams of a run are used."""

    def __init__(self, inner: Stream, tally: Tally, kind: str) -> None:
        self._inner, self._tally, self._kind = inner, tally, kind
        self._asked_at: float | None = None
        self._messages = Messages() if kind == "pkcs11" else None

    def send(self, data: bytes, *, by: Deadline) -> None:
        count = self._tally.of(self._kind)
        count.sent += len(data)
        whole = self._messages.seen(data) if self._messages else 1
        count.calls += whole
        self._inner.send(data, by=by)
        if whole:  # what p11-kit's start takes is no call's
            self._asked_at = time.monotonic()

    def receive(self, most: int, *, by: Deadline) -> bytes:
        data = self._inner.receive(most, by=by)
        count = self._tally.of(self._kind)
        count.received += len(data)
        if self._asked_at is not None and data:
            count.waited += time.monotonic() - self._asked_at
            count.round_trips += 1
            self._asked_at = None
        return data

    def close(self) -> None:
        self._inner.close()

    def fileno(self) -> int:
        return self._inner.fileno()


class CountingHelpers(Helpers):
    """Lends the helpers of another, counting what TEE clients ask them."""

    def __init__(self, inner: Helpers, tally: Tally) -> None:
        self._inner, self._tally = inner, tally

    @contextmanager
    def held(self, *, by: Deadline, layout: Layout | None = None) -> Iterator[AgentConnection]:
        with self._inner.held(by=by, layout=layout) as agent:
            yield CountingAgent(agent, self._tally)


class CountingAgent(AgentConnection):
    """Has nothing of its own: asks another, counting."""

    def __init__(self, inner: AgentConnection, tally: Tally) -> None:
        self._inner, self._tally = inner, tally

    def ask(self, kind: FrameType, payload: bytes, *, by: Deadline) -> Frame:
        count, began = self._tally.of("tee"), time.monotonic()
        count.calls += 1
        count.sent += len(payload)
        answer = self._inner.ask(kind, payload, by=by)
        count.waited += time.monotonic() - began
        count.round_trips += 1
        count.received += len(answer.payload)
        return answer

    def close(self) -> None:
        self._inner.close()


class Messages:
    """Counts whole messages in p11-kit's stream of requests."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._greeted = False

    def seen(self, data: bytes) -> int:
        self._buffer += data
        if not self._greeted:
            self._greeted = True
            del self._buffer[:1]
        found = 0
        while len(self._buffer) >= P11_KIT_HEADER:
            options, body = (int.from_bytes(self._buffer[i : i + 4], "big") for i in (4, 8))
            if len(self._buffer) < P11_KIT_HEADER + options + body:
                break
            del self._buffer[: P11_KIT_HEADER + options + body]
            found += 1
        return found
