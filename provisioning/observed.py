"""What was seen of a box besides what its TEE signs: by asking its normal world, by trying what
must be refused, by recording its consoles. None of it is signed; None means it could not be seen.

Judging it is ``verdict.verify``'s. It came from a box, so making one checks its form.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from harness.boot_seen import BootSeen
from harness.errors import BadInput

MOST = 1000
"""Entries of any list or table here; a box has some dozens."""
TA_NAME = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\.ta", re.ASCII)
_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)
_PORT = re.compile(r"(?:tcp|udp)6?/[0-9a-f.:]{1,45}/[0-9]{1,5}", re.ASCII)
_USER = re.compile(r"[a-z_][a-z0-9_.-]{0,31}", re.ASCII)
_TOKEN = re.compile(r"[0-9]{1,3} [ -~]{1,32}", re.ASCII)
_LATER = ("odd_files", "enclave", "more_ports", "tokens")
"""Fields that evidence kept of earlier versions does not have."""
PASSWORDS = ("default", "empty", "locked", "other", "unknown")


@dataclass(frozen=True, slots=True)
class TeeAnswer:
    """A TEE result and who made it (GlobalPlatform TEE Client API 1.0, 4.4.2 and 4.4.3)."""

    code: int
    origin: int


@dataclass(frozen=True, slots=True)
class DeviceNode:
    """``mode`` is the permission bits alone."""

    path: str
    mode: int
    uid: int
    gid: int
    group: str = ""
    """The name that the box has for ``gid``; "" from evidence that is older than this field."""


@dataclass(frozen=True, slots=True)
class LogSeen:
    """The console on which the secure world logs, since a mark: lines, and the first bad ones."""

    lines: int
    bad: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Observed:
    """See ``provisioning.observe`` for where each comes from. Raises BadInput for another form."""

    ta_files: Mapping[str, str] | None = None
    """File name in the TA directory → SHA-256 of the file, in hex."""
    odd_files: tuple[str, ...] | None = None
    """What else is in the TA directory and fits not in ``ta_files``: the first names, printable,
    and how many more."""
    bad_ta: TeeAnswer | None = None
    """What the TEE answered when asked to load a TA whose signature is nobody's."""
    storage: TeeAnswer | None = None
    """What the TEE answered when it had to look into its secure storage for what is not there."""
    enclave: TeeAnswer | None = None
    """What the TEE answered instead of having the policy's enclave opened and measured."""
    tokens: tuple[str, ...] | None = None
    """The initialised tokens that the TEE keeps in its storage: ``<slot> <label>``."""
    counter: int | None = None
    """The sealed counter of the enclave that the policy names."""
    boot: BootSeen | None = None
    module_signatures: str | None = None
    """/sys/module/module/parameters/sig_enforce: Y or N."""
    tainted: int | None = None
    """/proc/sys/kernel/tainted; bit 13: a module without a valid signature was loaded."""
    lockdown: str | None = None
    """The mode in brackets in /sys/kernel/security/lockdown."""
    ima: int | None = None
    """Entries in IMA's measurement list."""
    verity: bool | None = None
    """Whether the root file system lies on dm-verity."""
    ports: tuple[str, ...] | None = None
    """What listens: ``tcp/0.0.0.0/22``."""
    more_ports: int | None = None
    """How many more listen than ``ports`` has room for."""
    passwords: Mapping[str, str] | None = None
    """User → one of PASSWORDS, for root and admin, and for whoever else needs none."""
    tee_devices: tuple[DeviceNode, ...] | None = None
    log: LogSeen | None = None

    def __post_init__(self) -> None:
        for name, digest in (self.ta_files or {}).items():
            _want("ta_files", name, bool(TA_NAME.fullmatch(name)), "<uuid>.ta")
            _want(f"ta_files.{name}", digest, bool(_SHA256.fullmatch(digest)), "a SHA-256 in hex")
        for port in self.ports or ():
            _want("ports", port, bool(_PORT.fullmatch(port)), "tcp/<address>/<port>")
        for user, word in (self.passwords or {}).items():
            _want("passwords", user, bool(_USER.fullmatch(user)), "a user's name")
            _want(f"passwords.{user}", word, word in PASSWORDS, f"one of {', '.join(PASSWORDS)}")
        for text in self.tokens or ():
            _want("tokens", text, bool(_TOKEN.fullmatch(text)), "<slot> <label>")
        for text in self.odd_files or ():
            right = text.isprintable() and len(text) <= 100
            _want("odd_files", text, right, "at most 100 printable characters")
        many_of = (
            *(self.ta_files, self.odd_files, self.tokens, self.ports),
            *(self.passwords, self.tee_devices),
        )
        for many in many_of:
            _want("size", len(many or ()), len(many or ()) <= MOST, f"at most {MOST} entries")

    def to_dict(self) -> dict[str, object]:
        """Only what JSON has; what ``from_dict`` takes."""
        return {name: _plain(value) for name, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, found: object) -> Observed:
        """Read back what ``to_dict`` gave: exactly its keys, exactly its forms, or BadInput."""
        if isinstance(found, dict):
            found = dict.fromkeys(_LATER) | found
        table = _table(found, "observed", tuple(cls.__slots__))
        return cls(
            ta_files=_texts(table, "ta_files"),
            odd_files=_list(table, "odd_files"),
            bad_ta=_answer(table, "bad_ta"),
            storage=_answer(table, "storage"),
            enclave=_answer(table, "enclave"),
            tokens=_list(table, "tokens"),
            counter=_number(table, "counter"),
            boot=_boot(table["boot"]),
            module_signatures=_text(table, "module_signatures"),
            tainted=_number(table, "tainted"),
            lockdown=_text(table, "lockdown"),
            ima=_number(table, "ima"),
            verity=_yes_no(table, "verity"),
            ports=_list(table, "ports"),
            more_ports=_number(table, "more_ports"),
            passwords=_texts(table, "passwords"),
            tee_devices=_devices(table["tee_devices"]),
            log=_log(table["log"]),
        )


def _plain(value: object) -> object:
    return [_plain(one) for one in value] if isinstance(value, tuple | list) else value


def _table(found: object, key: str, names: tuple[str, ...]) -> dict[str, object]:
    if not isinstance(found, dict) or found.keys() != set(names):
        raise _bad(key, found, f"an object with exactly {', '.join(names)}")
    return found


def _text(table: Mapping[str, object], key: str) -> str | None:
    value = table[key]
    if value is not None and not (isinstance(value, str) and len(value) <= 300):
        raise _bad(key, value, "a text of at most 300 characters, or null")
    return value


def _number(table: Mapping[str, object], key: str) -> int | None:
    value = table[key]
    if value is not None and not (type(value) is int and 0 <= value < 1 << 64):
        raise _bad(key, value, "a whole number of 64 bits, or null")
    return value


def _whole(table: Mapping[str, object], key: str) -> int:
    value = _number(table, key)
    if value is None:
        raise _bad(key, value, "a whole number of 64 bits")
    return value


def _yes_no(table: Mapping[str, object], key: str) -> bool | None:
    value = table[key]
    if value is not None and not isinstance(value, bool):
        raise _bad(key, value, "true, false or null")
    return value


def _list(table: Mapping[str, object], key: str) -> tuple[str, ...] | None:
    value = table[key]
    if value is None:
        return None
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise _bad(key, value, "a list of texts, or null")
    return tuple(value)


def _texts(table: Mapping[str, object], key: str) -> dict[str, str] | None:
    value = table[key]
    if value is None:
        return None
    if not isinstance(value, dict) or not all(isinstance(one, str) for one in value.values()):
        raise _bad(key, value, "a table of texts, or null")
    return value


def _answer(table: Mapping[str, object], key: str) -> TeeAnswer | None:
    if table[key] is None:
        return None
    answer = _table(table[key], key, ("code", "origin"))
    return TeeAnswer(_whole(answer, "code"), _whole(answer, "origin"))


def _boot(found: object) -> BootSeen | None:
    if found is None:
        return None
    table = _table(found, "boot", ("source", "verified", "why"))
    source, why = _text(table, "source"), _text(table, "why")
    return BootSeen(source or "", _yes_no(table, "verified"), why or "")


def _devices(found: object) -> tuple[DeviceNode, ...] | None:
    if found is None:
        return None
    if not isinstance(found, list) or len(found) > MOST:
        raise _bad("tee_devices", found, "a list, or null")
    names = ("path", "mode", "uid", "gid", "group")
    found = [{"group": ""} | one if isinstance(one, dict) else one for one in found]
    nodes = [_table(one, "tee_devices", names) for one in found]
    return tuple(
        DeviceNode(
            _text(one, "path") or "",
            _whole(one, "mode"),
            _whole(one, "uid"),
            _whole(one, "gid"),
            _text(one, "group") or "",
        )
        for one in nodes
    )


def _log(found: object) -> LogSeen | None:
    if found is None:
        return None
    table = _table(found, "log", ("lines", "bad"))
    return LogSeen(_whole(table, "lines"), _list(table, "bad") or ())


def _want(key: str, value: object, right: bool, expected: str) -> None:
    if not right:
        raise _bad(key, value, expected)


def _bad(key: str, value: object, expected: str) -> BadInput:
    return BadInput(where="observed", key=key, value=value, expected=expected)
