"""Who is at the other end of the console: what a box says of itself at first contact. Reads only.

Everything comes from the box and is parsed strictly: what does not fit is left out, and what the
harness cannot do without is asked for by an error.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from harness.bench_serial import reported
from harness.boot_registers import identify
from harness.config_bench import SERIAL_PATHS
from harness.deadline import Deadline
from harness.errors import DeviceRefused
from harness.ssh_transport import fingerprint
from harness.target import Shell

LONGEST = 128
MOST_ADDRESSES = 16
MOST_KEYS = 8
SSH_DIRECTORY = "/etc/ssh"
KEY_TYPES = ("ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ssh-rsa")
"""Best first; the pinned one is what the SSH server is then asked to prove."""

_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)
_TREE = "/sys/firmware/devicetree/base"
_HEX = re.compile(r"[0-9A-F]{16}", re.ASCII)
_LOCAL = re.compile(r"\|-- ([0-9.]{7,15})\n +/32 host LOCAL", re.ASCII)
# A private key gives its public one, which then is true; a .pub file may be of an older key.
_KEYS = (
    'cd "$1" 2>/dev/null || exit 0; for key in ssh_host_*_key; do test -f "$key" || continue;'
    ' ssh-keygen -y -P "" -f "$key" 2>/dev/null || cat "$key.pub" 2>/dev/null; done; exit 0'
)


@dataclass(frozen=True, slots=True)
class HostKey:
    """An SSH host key's public half."""

    kind: str
    blob: bytes

    @property
    def text(self) -> str:
        """As a targets entry has it: ``type base64``."""
        return f"{self.kind} {base64.b64encode(self.blob).decode()}"

    @property
    def fingerprint(self) -> str:
        return fingerprint(self.blob)


@dataclass(frozen=True, slots=True)
class Identity:
    """What a box says it is; None: it does not say, or not in a sensible form."""

    serial: str | None
    serial_path: str | None
    hostname: str | None
    machine: str | None
    model: str | None
    soc: str | None
    addresses: tuple[str, ...]
    host_keys: tuple[HostKey, ...]
    """The best type first."""

    @property
    def host_key(self) -> HostKey:
        """The one to pin. Raises DeviceRefused when the box has none."""
        if not self.host_keys:
            raise DeviceRefused(
                "the box has no SSH host key",
                hint="Is an SSH server installed there? Most make their keys at the first boot.",
            )
        return self.host_keys[0]


def look(
    shell: Shell,
    *,
    by: Deadline,
    ssh_directory: str = SSH_DIRECTORY,
    serial_paths: tuple[str, ...] = SERIAL_PATHS,
) -> Identity:
    """Ask the box who it is; changes nothing there.

    Raises what the shell raises, and DeviceRefused when two places tell two serial numbers.
    """
    serials = reported(shell, serial_paths, by=by)
    if len(set(serials.values())) > 1:
        told = ", ".join(f"{serial} ({path})" for path, serial in serials.items())
        raise DeviceRefused(f"the box reports more than one serial number: {told}")
    path = next(iter(serials), None)
    compatible = _file(shell, f"{_TREE}/compatible", by)
    soc = identify(compatible.decode(errors="replace").split("\0"))
    return Identity(
        serial=serials[path] if path else None,
        serial_path=path,
        hostname=_word(_file(shell, "/proc/sys/kernel/hostname", by)),
        machine=_word(shell.run("uname", "-m", by=by, check=False).stdout),
        model=_text(_file(shell, f"{_TREE}/model", by)),
        soc=soc.name if soc else None,
        addresses=_addresses(shell, by),
        host_keys=host_keys(shell, by=by, ssh_directory=ssh_directory),
    )


def host_keys(
    shell: Shell, *, by: Deadline, ssh_directory: str = SSH_DIRECTORY
) -> tuple[HostKey, ...]:
    """The public halves of the SSH server's host keys, the best type first."""
    listed = shell.run("sh", "-c", _KEYS, "keys", ssh_directory, by=by)
    found = {key for line in listed.text.splitlines() if (key := parse_key(line)) is not None}
    ranked = sorted(found, key=lambda key: (KEY_TYPES.index(key.kind), key.blob))
    return tuple(ranked[:MOST_KEYS])


def parse_key(line: str) -> HostKey | None:
    """``type base64`` with or without a comment; None when it is none, or of no type known here.

    The type inside the key must be the one in front of it (RFC 4253 6.6).
    """
    words = line.split(None, 2)
    if len(words) < 2 or words[0] not in KEY_TYPES or len(words[1]) > 4096:
        return None
    try:
        blob = base64.b64decode(words[1], validate=True)
    except binascii.Error:
        return None
    kind = words[0].encode()
    if not blob.startswith(struct.pack(">I", len(kind)) + kind) or len(blob) < len(kind) + 36:
        return None
    return HostKey(words[0], blob)


def _addresses(shell: Shell, by: Deadline) -> tuple[str, ...]:
    """IPv4 first. From the kernel itself: small systems have neither ``ip`` nor ``hostname -I``."""
    four = _file(shell, "/proc/net/fib_trie", by).decode(errors="replace")
    six = _file(shell, "/proc/net/if_inet6", by).decode(errors="replace")
    routes = _file(shell, "/proc/net/route", by).decode(errors="replace")
    return addresses_in(four, six, routes)


def addresses_in(fib_trie: str, if_inet6: str, routes: str = "") -> tuple[str, ...]:
    """The box's own addresses that others can reach, IPv4 first (proc_net(5)); 16 at most.

    Those beside the default route's gateway come before those of bridges for containers.
    """
    near = _near(routes)
    four = sorted(
        _four(fib_trie),
        key=lambda text: not any(ipaddress.IPv4Address(text) in network for network in near),
    )
    found = [*four, *_six(if_inet6)]
    return tuple(dict.fromkeys(found))[:MOST_ADDRESSES]


def _four(table: str) -> Iterator[str]:
    for text in _LOCAL.findall(table):
        try:
            address = ipaddress.IPv4Address(text)
        except ValueError:
            continue
        if not address.is_loopback and not address.is_link_local:
            yield str(address)


def _near(routes: str) -> list[ipaddress.IPv4Network]:
    """The networks on the interface of the default route, from /proc/net/route."""
    rows = [line.split() for line in routes.splitlines()]
    rows = [row for row in rows if len(row) >= 8 and _HEX.fullmatch(row[1] + row[7])]
    outward = {row[0] for row in rows if row[1] == "00000000"}
    found = []
    for row in rows:
        if row[0] in outward and row[1] != "00000000":
            place, mask = (bytes.fromhex(text)[::-1] for text in (row[1], row[7]))
            try:
                network = f"{ipaddress.IPv4Address(place)}/{ipaddress.IPv4Address(mask)}"
                found.append(ipaddress.IPv4Network(network))
            except ValueError:
                continue
    return found


def _six(table: str) -> Iterator[str]:
    for line in table.splitlines():
        digits = line.split(" ", 1)[0]
        if not re.fullmatch(r"[0-9a-f]{32}", digits):
            continue
        address = ipaddress.IPv6Address(bytes.fromhex(digits))
        if not address.is_loopback and not address.is_link_local:
            yield str(address)


def _file(shell: Shell, path: str, by: Deadline) -> bytes:
    """Its first 16 KiB; empty when it cannot be read."""
    done = shell.run("head", "-c", "16384", "--", path, by=by, check=False)
    return done.stdout if done.status == 0 else b""


def _word(raw: bytes) -> str | None:
    text = raw.strip().decode(errors="replace")
    return text if _WORD.fullmatch(text) else None


def _text(raw: bytes) -> str | None:
    text = raw.rstrip(b"\0\n").decode(errors="replace").strip()
    good = 0 < len(text) <= LONGEST and text.isascii() and text.isprintable()
    return text if good else None
