"""Every error this project raises, in one tree sorted by whose move it is.

::

    TrustBoxError
    ├── Misuse              2  you: a file, an option or an argument is wrong
    │   └── BadInput           … and this is the file, the key, the value, the expected form
    ├── MissingCapability   3  nobody: this box cannot do that, and says which part lacks
    ├── LinkError           4  the way to the box: cable, network, port, SSH
    │   ├── Unreachable        nobody answers
    │   │   └── Unasked        … because the question never left this machine
    │   ├── LinkLost           the far end went away in mid-sentence
    │   ├── BadFrame           what came back does not follow the protocol
    │   └── DeadlineExpired    time ran out; says what was waited for
    ├── UntrustedHost       5  somebody: the box is not the one that was pinned
    ├── DeviceRefused       6  the box understood and said no
    │   ├── CommandFailed      a command's exit status
    │   ├── TeeRefused         a TEE result and its origin
    │   └── TokenRefused       a PKCS#11 return value
    ├── IntegrityFailure    7  the box's state is not what it must be: stop and look
    └── RigError            8  what holds the box: QEMU, a relay, the image build
        ├── BoxDied            the box stopped living while somebody waited for it
        ├── BuildFailed        a step of the image build
        ├── NetworkFailed      this machine's way out: names, routes, descriptors
        └── DiskFailed         this machine's disk: full, read-only, broken

Each class carries facts as attributes, its message is one sentence, ``diagnostics()`` tells people
what to try next, and ``exit_status`` is what a command exits with.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from harness.shown import masked, printable_lines


class TrustBoxError(Exception):
    """Root of the tree. Raised only through its subclasses.

    A message may quote a box or a server. Whoever shows it (a command, pytest, a log) need not
    escape anything: control characters are spelt out and secrets hidden here.
    """

    exit_status: int = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        message = printable_lines(masked(message))
        super().__init__(message)
        self.message = message
        self.hint = printable_lines(masked(hint))

    def diagnostics(self) -> str:
        """What a person can do next; empty when there is nothing useful to say."""
        return self.hint


class Misuse(TrustBoxError):
    """What the caller asked for makes no sense; nothing was done to the box."""

    exit_status = 2


class BadInput(Misuse):
    """A value in a file or an option has the wrong form.

    ``where`` is the file or option, ``key`` the dotted key in it, ``value`` what was found (never a
    secret: ``harness.shown`` decides) and ``expected`` the form that would be right. ``hint``: what
    to do where nobody can change it by hand.
    """

    def __init__(
        self, *, where: str, key: str, value: object, expected: str, hint: str = ""
    ) -> None:
        shown = repr(value)
        if len(shown) > 80:
            shown = shown[:77] + "..."
        super().__init__(
            f"{where}: {key} is {shown}, expected {expected}",
            hint=hint
            or f"Change {key} in {where} and run the command again; nothing was done yet.",
        )
        self.where, self.key, self.value, self.expected = where, key, value, expected


class MissingCapability(TrustBoxError):
    """The box lacks something that was asked of it. ``missing`` names every part that lacks."""

    exit_status = 3

    def __init__(self, target: str, missing: Iterable[str], *, hint: str = "") -> None:
        self.target = target
        self.missing = tuple(sorted(missing))
        super().__init__(f"{target} lacks {', '.join(self.missing)}", hint=hint)


class LinkError(TrustBoxError):
    """Something between the harness and the box."""

    exit_status = 4


class Unreachable(LinkError):
    """No connection could be made within the deadline."""


class Unasked(Unreachable):
    """This machine could not ask: no address for the name, no route, no descriptor. It says nothing
    of the far end."""


class LinkLost(LinkError):
    """A connection that was good broke; whether the last request took effect is unknown."""


class BadFrame(LinkError):
    """The far end sent bytes that the protocol does not allow; the connection was closed."""


class DeadlineExpired(LinkError):
    """A wait ran out. ``waiting_for`` is what was waited for, ``seconds`` how long in all."""

    def __init__(self, waiting_for: str, seconds: float) -> None:
        super().__init__(f"gave up after {seconds:.1f} s waiting for {waiting_for}")
        self.waiting_for, self.seconds = waiting_for, seconds


class UntrustedHost(TrustBoxError):
    """The SSH host key is not the pinned one. Both fingerprints are ``SHA256:`` base64."""

    exit_status = 5

    def __init__(self, host: str, *, pinned: str, offered: str) -> None:
        super().__init__(
            f"{host} offers SSH host key {offered}, but {pinned} is pinned",
            hint="A box gets a new host key when it is reflashed. If that happened, pin the new key"
            " with: trustbox bench repin; if not, somebody else is answering at this address.",
        )
        self.host, self.pinned, self.offered = host, pinned, offered


class DeviceRefused(TrustBoxError):
    """The box understood the request and refused it."""

    exit_status = 6


class CommandFailed(DeviceRefused):
    """A command on the box ended with another status than 0 (or by a signal: 128 + number)."""

    def __init__(self, argv: Sequence[str], status: int, stdout: bytes, stderr: bytes) -> None:
        self.argv, self.status = tuple(argv), status
        self.stdout, self.stderr = stdout, stderr
        lines = stderr.decode(errors="replace").strip().splitlines() or [""]
        tail = f": {lines[-1][:200]}" if lines[-1] else ""
        super().__init__(f"{' '.join(self.argv)[:200]} exited with {status} on the box{tail}")


class TeeRefused(DeviceRefused):
    """The TEE returned something else than TEE_SUCCESS.

    ``code`` is the 32-bit TEEC/TEE result, ``origin`` 1 API, 2 COMMS, 3 TEE, 4 trusted application
    (GlobalPlatform TEE Client API 1.0, 4.4.2 and 4.4.3).
    """

    def __init__(self, doing: str, code: int, origin: int, *, name: str = "") -> None:
        origins = {1: "API", 2: "COMMS", 3: "TEE", 4: "TA"}
        called = f" ({name})" if name else ""
        super().__init__(
            f"{doing}: the TEE answered 0x{code:08x}{called}, origin {origins.get(origin, origin)}"
        )
        self.doing, self.code, self.origin, self.name = doing, code, origin, name


class TokenRefused(DeviceRefused):
    """A PKCS#11 call failed. ``ckr`` is the return value's name, e.g. ``CKR_PIN_INCORRECT``."""

    def __init__(self, doing: str, ckr: str, *, hint: str = "") -> None:
        super().__init__(f"{doing}: the token answered {ckr}", hint=hint)
        self.doing, self.ckr = doing, ckr


class IntegrityFailure(TrustBoxError):
    """Something on the box is not what it must be. Never retried, never repaired silently."""

    exit_status = 7


class RigError(TrustBoxError):
    """What holds the box failed: QEMU, a relay, a file of the image."""

    exit_status = 8


class BoxDied(RigError):
    """The box stopped living. ``line`` is the console line or the exit that told, quoted."""

    def __init__(self, target: str, line: str) -> None:
        super().__init__(
            f"{target} died: {line}",
            hint="Look at its last lines (trustbox boot log), bring it back, and run the command"
            " again: it looks at the box before it acts.",
        )
        self.target, self.line = target, line


class BuildFailed(RigError):
    """A step of a build failed. ``step`` names it, ``log`` is the file with all output."""

    def __init__(
        self, step: str, reason: str, *, log: str = "", what: str = "the emulator image"
    ) -> None:
        super().__init__(
            f"building {what} failed at {step}: {reason}",
            hint=f"The whole output is in {log}." if log else "",
        )
        self.step, self.reason, self.log = step, reason, log


class NetworkFailed(RigError):
    """This machine could not ask a box at all; nothing is known of the box, and nothing is done to
    it. ``where`` is its address, ``why`` what kept the question here."""

    def __init__(self, where: str, why: str) -> None:
        super().__init__(
            f"this machine cannot ask {where}: {why}",
            hint="Nothing is known of the box. Look at the address in the targets file, and at this"
            " machine's name server, cable, routes and open files (ulimit -n).",
        )
        self.where, self.why = where, why


class DiskFailed(RigError):
    """A file system of this machine is full, read-only or broken. ``path`` is what was not
    written (or read), ``why`` the system's words for its errno.
    """

    def __init__(self, path: str, why: str, *, done: str = "written", hint: str = "") -> None:
        super().__init__(f"{path} cannot be {done}: {why}", hint=hint)
        self.path, self.why = path, why
