"""How well a serial line carries: counters that only grow; the difference of two is a period's."""

from __future__ import annotations

from dataclasses import astuple, dataclass


@dataclass(frozen=True, slots=True)
class PortCounters:
    """What the host's UART itself counts (Linux TIOCGICOUNT), since the port was opened."""

    overruns: int = 0
    framing: int = 0
    parity: int = 0
    breaks: int = 0


@dataclass(frozen=True, slots=True)
class SerialHealth:
    """Counters of one console while a ``ConsoleShell`` uses it. ``later - earlier`` is a period."""

    bytes_in: int = 0
    bytes_out: int = 0
    frames_in: int = 0
    frames_out: int = 0
    resent: int = 0
    """Frames that the host sent again."""
    doubled: int = 0
    """Frames that came again from the box: it missed our acknowledgement."""
    gaps: int = 0
    """Times that something was missing in what the box sent."""
    broken: int = 0
    """Frames and pieces of frames that could not be read."""
    bad_checksums: int = 0
    noise_lines: int = 0
    """Lines of other text on the line, the kernel's for example."""
    mixed: int = 0
    """Times that other text stood inside a frame."""
    sessions: int = 0
    """How often a helper was started or taken over."""
    overruns: int = 0
    """UART overruns, framing and parity errors and breaks on the host's side; 0 where not told."""
    framing: int = 0
    parity: int = 0
    breaks: int = 0

    def __sub__(self, earlier: SerialHealth) -> SerialHealth:
        pairs = zip(astuple(self), astuple(earlier), strict=True)
        return SerialHealth(*(mine - other for mine, other in pairs))

    @property
    def sound(self) -> bool:
        """Whether nothing was lost, doubled or damaged."""
        bad = (self.gaps, self.broken, self.bad_checksums, self.overruns, self.framing, self.parity)
        return not any(bad)

    def __str__(self) -> str:
        return (
            f"{self.bytes_in} bytes in, {self.bytes_out} out, {self.resent} frames resent,"
            f" {self.gaps} gaps, {self.broken} broken frames, {self.bad_checksums} bad checksums,"
            f" {self.noise_lines} lines of noise, {self.overruns} overruns"
        )
