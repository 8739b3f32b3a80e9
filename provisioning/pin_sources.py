"""Where a box's PINs come from, as a plan says: its [secrets] table.

``generate`` and a file are ``pins``'; here are a command whose standard output is the PIN file, and
a secret in the factory's HSM from which every box's PINs are derived, so that nobody has to keep
them. PINs leave these only as ``Secret``.
"""

from __future__ import annotations

import base64
import os
import struct
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from uuid import UUID

from harness.deadline import Deadline
from harness.errors import DeadlineExpired, DeviceRefused, Misuse
from harness.printed import printed
from harness.secret import Secret
from provisioning.authority_tokens import key_id, opened_token
from provisioning.pins import Pins
from provisioning.token_secrets import SecretProfile

COMMAND_SECONDS = 60.0
SECRET_ID = b"trustbox-pin-secret"
"""CKA_ID of the secret, where a URI names none."""
_LONGEST = 4096
_PIN_OCTETS = 15


class PinSource(Protocol):
    """Gives the same PINs for the same box, for ever."""

    @property
    def told(self) -> str:
        """What it is, for people."""

    def pins(self, serial: str, tee_uuid: UUID | None, *, by: Deadline) -> Pins:
        """Both PINs of the box's token. ``tee_uuid``: None where its module does not tell it."""


@dataclass(frozen=True, slots=True)
class PinCommand:
    """A program of the factory's: its standard output is a PIN file (``so_pin``, ``user_pin``).

    It is run as it is, without a shell; ``{serial}`` and ``{tee_uuid}`` in its words become the
    box's. What it prints stands nowhere; what it says on standard error is shown when it fails.
    """

    words: tuple[str, ...]

    @property
    def told(self) -> str:
        return f"the program {self.words[0]}"

    def pins(self, serial: str, tee_uuid: UUID | None, *, by: Deadline) -> Pins:
        """Raises Misuse when it fails or wants a TEE UUID that is not told, BadInput when it prints
        something else, DeadlineExpired.
        """
        if tee_uuid is None and any("{tee_uuid}" in word for word in self.words):
            raise Misuse(
                f"{self.told} wants the TEE UUID of {serial}, which its token does not tell"
            )
        values = {"{serial}": serial, "{tee_uuid}": str(tee_uuid)}
        argv = [_replaced(word, values) for word in self.words]
        doing = f"the PIN command {argv[0]}"
        by = by.sooner(COMMAND_SECONDS)
        with tempfile.TemporaryFile() as errors:
            try:
                status, said = printed(argv, most=_LONGEST, by=by, errors=errors)
            except DeadlineExpired:
                raise DeadlineExpired(doing, by.seconds) from None
            except OSError as problem:
                raise Misuse(f"{doing} cannot be run: {problem.strerror}") from None
            if status and len(said) <= _LONGEST:
                errors.seek(max(0, errors.seek(0, os.SEEK_END) - 300))
                told = errors.read().decode(errors="replace").strip()
                raise Misuse(f"{doing} ended with status {status}", hint=told)
        return Pins.parse(said, where=f"the output of {argv[0]}")


@dataclass(frozen=True, slots=True)
class DerivedPins:
    """PINs from a secret that stays in the factory's HSM.

    ``spec`` is ``softhsm:line`` or a ``pkcs11:`` URI, as the CA's settings name tokens; a URI may
    name the secret's CKA_ID. PIN = base32 of the first 15 octets of the key derivation function in
    counter mode of NIST SP 800-108 with HMAC-SHA-256, label ``trustbox PIN``, context role and
    serial number: 24 signs. Whoever may use the secret has the PINs of all boxes.
    """

    spec: str
    state: Path
    """The station's directory."""

    @property
    def id(self) -> bytes:
        return key_id(self.spec, SECRET_ID)

    @property
    def told(self) -> str:
        return "a secret in the factory's HSM"

    def pins(self, serial: str, tee_uuid: UUID | None, *, by: Deadline) -> Pins:
        """``tee_uuid`` does not count: a box whose TEE was made anew keeps its PINs. Raises
        DeviceRefused when the token has no such secret.
        """
        with opened_token(self.spec, self.state, by=by) as token:
            if token.find_secret(self.id, by=by) is None:
                raise DeviceRefused(
                    f"the token {self.spec.partition('?')[0]} has no secret to derive PINs from",
                    hint="Make one, once and for all boxes: trustbox keys factory-secret.",
                )

            def pin(role: str) -> Secret:
                mac = token.mac(self.id, context(role, serial), by=by)
                return Secret(base64.b32encode(mac[:_PIN_OCTETS]).lower())

            return Pins(so=pin("so"), user=pin("user"))

    def make(self, *, by: Deadline) -> bool:
        """Make the secret in its token if it is not there; whether it is new. It never leaves it,
        so nobody can make it again: back up the token.
        """
        with opened_token(self.spec, self.state, make=True, by=by) as token:
            label = "trustbox PIN secret"
            return token.ensure_secret(self.id, label, SecretProfile.HMAC_256, by=by)[1]


def context(role: str, serial: str) -> bytes:
    """The one block that is MACed (SP 800-108, 4.1): [i] || Label || 00 || Context || [L]."""
    fixed = b"trustbox PIN\x00" + f"{role}\x00{serial}".encode()
    return struct.pack(">I", 1) + fixed + struct.pack(">I", 256)


def _replaced(word: str, values: dict[str, str]) -> str:
    for name, value in values.items():
        word = word.replace(name, value)
    return word


def read_words(found: Sequence[object]) -> tuple[str, ...] | None:
    """A command's words; None when that is not a list of texts with something in it."""
    words = tuple(word for word in found if isinstance(word, str))
    return words if words and words[0] and len(words) == len(found) else None
