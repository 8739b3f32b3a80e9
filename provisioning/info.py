"""``box.info``: what the box says it is, and how each part of that came to be known."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from uuid import UUID

from harness.boot_registers import read_in_linux
from harness.boot_stages import boots, merged
from harness.capability import Capability
from harness.deadline import Deadline
from harness.target import Console, Target, World
from harness.tee import TeeClient
from provisioning.device_id import tee_uuid

LONGEST = 128
"""Characters of a value; what is longer or not printable ASCII is taken for absent."""
MOST_TRANSCRIPT = 1 << 20
"""Bytes of each console's transcript that are searched for the boot chain."""
MOST_LINES = 20_000
"""Lines of all consoles that are searched for what a boot's log tells."""

_TREE = "/proc/device-tree"
_OPTEE = re.compile(r"optee: revision ([0-9]+\.[0-9]+)(?: \(([0-9a-f]{8,16})\))?", re.A)
_KERNEL = re.compile(r"[0-9]+\.[0-9]+[0-9A-Za-z.+~_-]*", re.A)
_BOOT: Mapping[str, re.Pattern[bytes]] = {
    "BL1": re.compile(rb"NOTICE:  BL1: (v[0-9][^\r\n:]*)"),
    "BL2": re.compile(rb"NOTICE:  BL2: (v[0-9][^\r\n:]*)"),
    "BL31": re.compile(rb"NOTICE:  BL31: (v[0-9][^\r\n:]*)"),
    "OP-TEE": re.compile(rb"I/TC: OP-TEE version: ([^\r\n]+)"),
    "U-Boot": re.compile(rb"(?<![ -~])U-Boot ([0-9]{4}\.[0-9]{2}[^\r\n]*)"),
    "Linux": re.compile(rb"Linux version ([0-9]+\.[0-9]+[^\r\n ]*)"),
}


class Seen(Enum):
    """How a fact came to be known: a record must not mix these up."""

    ASSERTED = "asserted"
    """The box's normal world said so when asked."""
    TEE = "asserted by the TEE"
    """A Trusted Application said so, by way of the normal world; not signed."""
    OBSERVED = "observed"
    """The harness recorded it while the box did it: a line on a UART."""


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing about a box. ``value`` None: the box does not tell it; ``source``: from where."""

    name: str
    value: str | None
    seen: Seen
    source: str


@dataclass(frozen=True, slots=True)
class BoxInfo:
    """Facts about a box, in the order in which people read them."""

    facts: tuple[Fact, ...]

    def __getitem__(self, name: str) -> str | None:
        """The value of the fact with that name, None when absent. Raises KeyError for no fact."""
        for fact in self.facts:
            if fact.name == name:
                return fact.value
        raise KeyError(name)

    def __iter__(self) -> Iterator[Fact]:
        return iter(self.facts)

    @property
    def tee_uuid(self) -> UUID | None:
        value = self["TEE UUID"]
        return UUID(value) if value else None

    def to_dict(self) -> dict[str, object]:
        return {
            fact.name: {"value": fact.value, "seen": fact.seen.value, "source": fact.source}
            for fact in self.facts
        }


class InfoSession:
    """Reads only; changes nothing on the box. Raises what the shell and the TEE client raise."""

    def __init__(self, target: Target) -> None:
        self._target = target

    def look(self, *, by: Deadline) -> BoxInfo:
        """Everything the box tells. What it does not tell, or in no sensible form, is None."""
        return BoxInfo(
            (
                self._tree("serial number", "serial-number", by),
                self._tree("model", "model", by),
                self._tree("SoC", "compatible", by),
                self._tee_uuid(by),
                self._optee(by),
                self._kernel(by),
                self._fuses(by),
                *self._boot(),
                self._findings(),
            )
        )

    def _tree(self, name: str, node: str, by: Deadline) -> Fact:
        """A device tree property: strings that end with NUL each."""
        path = f"{_TREE}/{node}"
        done = self._target.shell.run("head", "-c", "1024", "--", path, by=by, check=False)
        return Fact(name, text(done.stdout) if done.status == 0 else None, Seen.ASSERTED, path)

    def _tee_uuid(self, by: Deadline) -> Fact:
        found, target = None, self._target
        # Where the TEE cannot answer for its TAs, info is how one looks at what is left.
        if Capability.TEE in target.capabilities and Capability.PKCS11 not in target.unknown:
            with TeeClient.open(self._target, by=by) as client:
                found = tee_uuid(client, by=by)
        value = str(found) if found else None
        return Fact("TEE UUID", value, Seen.TEE, "PKCS#11 slot description")

    def _optee(self, by: Deadline) -> Fact:
        done = self._target.shell.run(
            "sh", "-c", "dmesg | grep -m 1 'optee: revision'", by=by, check=False
        )
        found = _OPTEE.search(done.text)
        value = None
        if found:
            value = f"{found[1]} ({found[2]})" if found[2] else found[1]
        return Fact("OP-TEE version", value, Seen.ASSERTED, "kernel log")

    def _kernel(self, by: Deadline) -> Fact:
        done = self._target.shell.run("uname", "-r", by=by, check=False)
        value = done.text if _KERNEL.fullmatch(done.text) and len(done.text) <= LONGEST else None
        return Fact("kernel version", value, Seen.ASSERTED, "uname -r")

    def _fuses(self, by: Deadline) -> Fact:
        """What Linux shows of the fuses; the whole secure-boot state takes ``trustbox boot``."""
        state = read_in_linux(self._target.shell, by=by)
        known = {"ITS": state.its, "write-protected": state.write_protected}
        words = [f"{name} {'yes' if value else 'no'}" for name, value in known.items()]
        if state.debug is not None:
            words.append(f"debug {state.debug.name.lower()}")
        value = None if state.absent else ", ".join(words)
        return Fact("fuses", value, Seen.ASSERTED, state.source)

    def _findings(self) -> Fact:
        """Names of what in the last boot's log somebody must know; absent when none was heard."""
        said = merged(*(uart.lines() for uart in self._target.consoles.values()))
        heard = [boot for boot in boots(said[-MOST_LINES:]) if len(boot.stages) > 1]
        value = None
        if heard:
            value = ", ".join(found.name for found in heard[-1].findings) or "none"
        return Fact("boot: findings", value, Seen.OBSERVED, "UART")

    def _boot(self) -> Iterator[Fact]:
        """The boot chain's greetings on the UARTs, absent when it booted before we listened."""
        recorded = {world: _tail(console) for world, console in self._target.consoles.items()}
        for stage, greeting in _BOOT.items():
            value, source = None, "UART"
            for world, transcript in recorded.items():
                if greetings := greeting.findall(transcript):
                    value, source = text(greetings[-1]), _uart(world)
            yield Fact(f"boot: {stage}", value, Seen.OBSERVED, source)


def text(raw: bytes) -> str | None:
    """Printable ASCII of at most LONGEST characters, NUL-separated strings joined by blanks."""
    words = [word for word in raw.split(b"\0") if word]
    joined = b" ".join(words).strip()
    if not 0 < len(joined) <= LONGEST or not all(32 <= octet < 127 for octet in joined):
        return None
    return joined.decode("ascii")


def _tail(console: Console) -> bytes:
    return console.transcript()[-MOST_TRANSCRIPT:]


def _uart(world: World) -> str:
    return f"{world.value} world's UART"
