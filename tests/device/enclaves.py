"""What the enclave tests have in common: putting files past the checks, refusals, TEE's own log."""

from __future__ import annotations

import re
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from uuid import UUID

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256

from harness.deadline import Deadline
from harness.errors import DeadlineExpired, Misuse, TeeRefused
from harness.secret import Secret
from harness.target import Target, World
from harness.tee import TeeSession
from harness.tee_params import Direction, Memref
from provisioning.enclave import EnclaveSession
from provisioning.enclave_build import build_enclave
from provisioning.enclave_format import Algorithm, take_apart
from provisioning.enclave_image import payload
from provisioning.enclave_make import Sealing, signed_ta
from provisioning.enclave_signer import FileSigner, padding
from provisioning.sample_enclave import SAMPLE, SampleEnclave
from provisioning.tee_answers import octets
from tests.device.sample import build_sample

PROBE_SOURCE = Path(__file__).parents[1] / "enclaves" / "probe"
PROBE = UUID("9d0d4bd7-31b2-4f1e-a3a8-6d7a52c0e5f1")
VALUES, MEMREFS, PANIC, PROVE, REVEAL = range(5)
MARKER = b"trustbox-probe-marker-goes-here\0"
NOBODY = UUID("00000000-1111-4222-8333-444444444444")

NOT_OPENED = r"sys_open_ta_bin"
"""ldelf: headers, signature or size were refused before a byte of the payload was looked at."""
NOT_ELF = r"is not an ELF|Cannot parse ELF|init_elf"
"""ldelf: the first page of the payload makes no sense."""
NOT_COPIED = r"sys_copy_from_ta_bin|sys_map_ta_bin|ldelf failed"
"""ldelf: what came after the first page did not have the signed hash."""


def build_probe(target: Target) -> bytes:
    """The signed probe enclave for this box."""
    devkit, key = target.firmware.devkit, target.firmware.ta_signing_key
    if devkit is None or key is None:
        raise Misuse(f"{target.name} has no TA dev kit: the test needs(Capability.TA_DEVKIT)")
    return build_enclave(PROBE_SOURCE, devkit=devkit, key=key, by=Deadline.after(60))


def box_signer(target: Target) -> FileSigner:
    """The key that this box's OP-TEE has built in."""
    if target.firmware.ta_signing_key is None:
        raise Misuse(f"{target.name} has no signing key: the test needs(Capability.TA_DEVKIT)")
    return FileSigner(target.firmware.ta_signing_key)


@cache
def _foreign_key(bits: int) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


@dataclass(frozen=True)
class Stranger:
    """A signer whom no box knows; the same key within a process, as making one is slow."""

    bits: int = 2048

    @property
    def public_key(self) -> rsa.RSAPublicKey:
        return _foreign_key(self.bits).public_key()

    def sign(self, digest: bytes, algorithm: Algorithm, *, by: Deadline) -> bytes:
        return _foreign_key(self.bits).sign(digest, padding(algorithm), Prehashed(SHA256()))


def sealed_for(target: Target, key: Secret | None = None, *, class_wide: bool = False) -> bytes:
    """The sample, encrypted for this box or under another key."""
    chosen = key or target.firmware.ta_encryption_key
    assert chosen is not None
    return signed_ta(
        payload(build_sample(target)),
        uuid=SAMPLE,
        signer=box_signer(target),
        sealing=Sealing(chosen, class_wide),
        by=Deadline.after(60),
    )


def before_the_payload(data: bytes) -> int:
    """Where the tag's last byte is: IV and tag are the last that comes before the payload."""
    application = take_apart(data, size=len(data)).application
    assert application is not None
    return application.payload_at - 1


def put(target: Target, uuid: UUID, data: bytes, by: Deadline) -> None:
    """Past the checks of ``install``, as somebody with root on the box would."""
    target.shell.write(EnclaveSession(target).path(uuid), data, by=by, mode=0o444)


def take_away(target: Target, *uuids: UUID) -> None:
    paths = [EnclaveSession(target).path(uuid) for uuid in uuids]
    target.shell.run("rm", "-f", "--", *paths, by=Deadline.after(30))


def refusal(target: Target, uuid: UUID, by: Deadline) -> tuple[int, int]:
    """The TEE's code and origin."""
    with pytest.raises(TeeRefused) as caught, EnclaveSession(target).open(uuid, by=by):
        pass
    return caught.value.code, caught.value.origin


def count_up(target: Target, by: Deadline, uuid: UUID = SAMPLE) -> int:
    """The side effect of the sample enclave: its sealed counter, one more."""
    with EnclaveSession(target).open(uuid, by=by) as session:
        return SampleEnclave(session).increment(by=by)


def prove(session: TeeSession, nonce: bytes, by: Deadline) -> bytes:
    """SHA-256 of the probe's marker and the nonce, made in the enclave."""
    result = session.invoke(PROVE, Memref(nonce), Memref(32, Direction.OUT), by=by)
    return octets(result.check("proving the marker"), 0 + 1)


def secure_log_says(target: Target, pattern: str, *, since: float, by: Deadline) -> bool:
    """Whether OP-TEE's log has such a line since then (monotonic seconds); waits a little for it.

    Where the worlds share a UART the lines are in the normal world's record.
    """
    wanted, soon = re.compile(pattern), by.sooner(10)
    console = target.consoles.get(World.SECURE) or target.consoles[World.NORMAL]

    def there() -> bool:
        return any(wanted.search(line.text) for line in console.lines(since=since))

    with suppress(DeadlineExpired):
        while not there():
            console.expect(re.compile(pattern.encode()), by=soon)
    return there()


def now() -> float:
    return time.monotonic()
