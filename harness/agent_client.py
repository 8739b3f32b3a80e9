"""A connection to the helper on a box: getting it there, starting it, exchanging frames.

::

    shell on the box:  is the file there?  no: "TBNEED <machine>" --> size and bytes <-- host
                       exec the helper --> HELLO frame, then requests and answers

It costs one channel, and the file is only sent when the box does not have it.
"""

from __future__ import annotations

import itertools
import select

from harness.agent_build import agent_for, agent_name
from harness.agent_frames import (
    INPUT_WINDOW,
    MOST_PAYLOAD,
    VERSION,
    Frame,
    FrameReader,
    FrameType,
    Refusal,
)
from harness.box_directory import guard
from harness.deadline import Deadline
from harness.errors import BadFrame, DeviceRefused, LinkLost, Misuse
from harness.target import Layout, Stream, Streams

CHUNK = 256 * 1024
NEED = b"TBNEED "
# $1 file, $2 TEE device. The helper takes its own file to its place once it runs, so what is there
# is complete, and only its owner may use it. Few programs are started: each costs milliseconds.
# A file of another user's, and a link, are not run; nor is one followed or written to (set -C).
BOOTSTRAP = """
if [ ! -x "$1" ] || [ -L "$1" ] || [ ! -O "$1" ]; then
  { read -r machine </proc/sys/kernel/arch; } 2>/dev/null || machine=$(uname -m)
  echo "TBNEED $machine"
  read -r size || exit 40
  (umask 077; rm -f "$1.$$"; set -C; head -c "$size" >"$1.$$" && chmod 700 "$1.$$") || {
    rm -f "$1.$$"; echo "no file could be made in ${1%/*}" >&2; exit 41; }
  exec "$1.$$" "$2" "$1"
fi
exec "$1" "$2"
"""


class AgentConnection:
    """One running helper; one request at a time. It ends, with what it runs, when closed."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._reader = FrameReader()
        self._requests = itertools.count(1)
        self._closed = False

    def next_request(self) -> int:
        return next(self._requests) & 0xFFFFFFFF

    def send(self, *frames: Frame, by: Deadline) -> None:
        self._stream.send(b"".join(frame.encode() for frame in frames), by=by)

    def receive(self, request: int, *, by: Deadline) -> Frame:
        """The next frame about ``request``; REFUSED frames are raised.

        Raises Misuse or DeviceRefused for a refusal, BadFrame, LinkLost, BoxDied, DeadlineExpired.
        """
        frame = self._next(by)
        if frame.type is FrameType.REFUSED:
            raise refused(frame)
        if frame.request != request:
            raise BadFrame(f"the helper answered request {frame.request} instead of {request}")
        return frame

    def ask(self, kind: FrameType, payload: bytes, *, by: Deadline) -> Frame:
        """One request with one answer."""
        request = self.next_request()
        self.send(Frame(kind, request, payload), by=by)
        return self.receive(request, by=by)

    def ping(self, data: bytes = b"", *, by: Deadline) -> bytes:
        return self.ask(FrameType.PING, data, by=by).payload

    @property
    def stale(self) -> bool:
        """Whether an idle connection is of no use: it should be silent, and is not."""
        poll = select.poll()
        poll.register(self._stream.fileno(), select.POLLIN)
        return bool(poll.poll(0))

    @property
    def closed(self) -> bool:
        """Whether somebody on this side closed it."""
        return self._closed

    def close(self) -> None:
        """Safe to call twice."""
        self._closed = True
        self._stream.close()

    def start(self, *, by: Deadline) -> None:
        """Follow the bootstrap up to HELLO. Raises DeviceRefused when the helper cannot run."""
        head = self._line_or_frame(by)
        if head.startswith(NEED):
            machine = head[len(NEED) :].strip().decode(errors="replace")
            binary = agent_for(machine).read_bytes()
            self._stream.send(b"%d\n%s" % (len(binary), binary), by=by)
        else:
            self._reader.feed(head)
        try:
            hello = self._next(by)
        except LinkLost as lost:
            raise DeviceRefused(f"the helper does not run on the box: {lost}") from lost
        if hello.type is not FrameType.HELLO:
            raise BadFrame(f"the helper began with {hello.type.name}")
        version, payload, window, _ = hello.numbers(4)
        if (version, payload, window) != (VERSION, MOST_PAYLOAD, INPUT_WINDOW):
            raise BadFrame(f"the helper speaks version {version}, not {VERSION}")

    def _line_or_frame(self, by: Deadline) -> bytes:
        """What comes first: a line of the bootstrap, or the beginning of a frame."""
        head = b""
        while len(head) < len(NEED) or (head.startswith(NEED) and not head.endswith(b"\n")):
            data = self._stream.receive(256, by=by)
            if not data:
                raise DeviceRefused(f"the helper does not start on the box{self._complaint()}")
            head += data
        return head

    def _next(self, by: Deadline) -> Frame:
        while (frame := self._reader.next()) is None:
            data = self._stream.receive(CHUNK, by=by)
            if not data:
                raise LinkLost(f"the helper on the box ended{self._complaint()}")
            self._reader.feed(data)
        return frame

    def _complaint(self) -> str:
        stderr = getattr(self._stream, "stderr", None)
        text = stderr() if callable(stderr) else ""
        return f": {text.splitlines()[-1][:200]}" if text else ""


def bootstrap(streams: Streams, layout: Layout, *, by: Deadline) -> AgentConnection:
    """The bootstrap running on the box; ``start`` follows it. Raises what ``stream`` raises."""
    path = f"{layout.agent_directory}/{agent_name()}"
    # Programs' input and TEE parameters carry secrets.
    script = guard(layout.agent_directory) + BOOTSTRAP
    words = ("sh", "-c", script, "trustbox", path, layout.tee_device)
    return AgentConnection(streams.stream(*words, by=by, secret=True))


def refused(frame: Frame) -> Misuse | DeviceRefused | BadFrame:
    """The error for a REFUSED frame."""
    number, errno = frame.numbers(2)
    text = frame.payload[8:].decode(errors="replace")[:200]
    if number == Refusal.SYSTEM:
        return DeviceRefused(f"the helper on the box: {text} (errno {errno})")
    if number in (Refusal.SESSION, Refusal.SIZE, Refusal.BUSY):
        return Misuse(f"the helper on the box refuses: {text}")
    return BadFrame(f"the helper on the box refuses: {text}")
