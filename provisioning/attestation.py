"""OP-TEE's attestation PTA, said from the normal world (lib/libutee/include/pta_attestation.h)."""

from __future__ import annotations

from uuid import UUID

from harness.deadline import Deadline
from harness.errors import BadInput, IntegrityFailure
from harness.tee import TeeSession
from harness.tee_params import Direction, Memref, Value
from provisioning.evidence import AttestationKey, Signed
from provisioning.tee_answers import octets, value

PTA = UUID("39800861-182a-4720-9b67-2bcd622bc0b5")
GET_PUBKEY = 0
GET_TA_SHDR_DIGEST = 1
HASH_TA_MEMORY = 2
HASH_TEE_MEMORY = 3

LARGEST_KEY = 512
"""Bytes of an RSA modulus: the PTA makes keys of at most 4096 bits."""


class AttestationPta:
    """Over a session with the PTA. The first call on a box makes its RSA key, which takes seconds
    (OP-TEE's default are 3072 bits), and keeps it in secure storage.

    Raises TeeRefused as the PTA answers, and IntegrityFailure for an answer that no PTA gives.
    """

    def __init__(self, session: TeeSession) -> None:
        self._session = session

    def key(self, *, by: Deadline) -> tuple[AttestationKey, int]:
        """The public key, and the algorithm it signs with (a TEE_ALG number)."""
        result = self._session.invoke(
            GET_PUBKEY,
            Memref(8, Direction.OUT),
            Memref(LARGEST_KEY, Direction.OUT),
            Value(0, 0, Direction.OUT),
            by=by,
        )
        result.check("reading the attestation key")
        exponent, modulus = octets(result, 0), octets(result, 1)
        try:
            key = AttestationKey(int.from_bytes(modulus), int.from_bytes(exponent))
        except BadInput as error:
            raise IntegrityFailure(f"the box's attestation key is no such key: {error}") from error
        return key, value(result, 2) & 0xFFFFFFFF

    def tee_memory(self, nonce: bytes, key: AttestationKey, *, by: Deadline) -> Signed:
        """The OP-TEE core's code and constants, as they are in memory now."""
        result = self._session.invoke(
            HASH_TEE_MEMORY,
            Memref(nonce, Direction.IN),
            Memref(32 + LARGEST_KEY, Direction.OUT),
            by=by,
        )
        result.check("measuring the TEE")
        return split(octets(result, 1), key)

    def ta_identity(self, uuid: UUID, nonce: bytes, key: AttestationKey, *, by: Deadline) -> Signed:
        """The digest in the verified header of the file installed for this TA (not its body).

        TeeRefused: 0xffff0008 when there is no such TA, 0xffff000f when its header does not verify.
        """
        # The PTA takes the UUID as it lies in the TEE's memory: a little-endian struct.
        result = self._session.invoke(
            GET_TA_SHDR_DIGEST,
            Memref(uuid.bytes_le, Direction.IN),
            Memref(nonce, Direction.IN),
            Memref(32 + LARGEST_KEY, Direction.OUT),
            by=by,
        )
        result.check(f"reading the identity of enclave {uuid}")
        return split(octets(result, 2), key)


def split(answer: bytes, key: AttestationKey) -> Signed:
    """``hash || signature`` as the PTA gives it. Raises IntegrityFailure for another length."""
    expected = 32 + key.size
    if len(answer) != expected:
        raise IntegrityFailure(f"the TEE's answer has {len(answer)} bytes, not {expected}")
    return Signed(answer[:32], answer[32:])
