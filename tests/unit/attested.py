"""Evidence as a box's attestation PTA would make it, by an RSA key of our own: for unit tests."""

from __future__ import annotations

import hashlib
from functools import cache
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256

from harness.boot_seen import BootSeen
from harness.target import EvidenceLevel
from harness.tee_codes import TeeCode
from provisioning.evidence import (
    RSA_PSS_SHA256,
    AttestationKey,
    EnclaveEvidence,
    Evidence,
    Signed,
)
from provisioning.observed import DeviceNode, LogSeen, Observed, TeeAnswer
from provisioning.policy import Policy

NONCE = bytes(range(32))
TEE_MEMORY = hashlib.sha256(b"the golden core").digest()
ENCLAVE_MEMORY = hashlib.sha256(b"the golden enclave").digest()
ENCLAVE_IDENTITY = hashlib.sha256(b"the enclave's file").digest()
ENCLAVE = UUID("e4a0f3d6-7c1b-4c52-9b8e-5d2f6a7c8b90")
TEE_UUID = UUID("ae4713e6-72ef-5e09-bf31-4419f61c9872")


@cache
def private_key(which: int = 0) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def public_key(which: int = 0) -> AttestationKey:
    numbers = private_key(which).public_key().public_numbers()
    return AttestationKey(numbers.n, numbers.e)


def signed(digest: bytes, *, nonce: bytes = NONCE, which: int = 0) -> Signed:
    return signed_with(
        padding.PSS(mgf=padding.MGF1(SHA256()), salt_length=32), digest, nonce, which
    )


def signed_with(
    how: padding.PSS | padding.PKCS1v15, digest: bytes, nonce: bytes, which: int
) -> Signed:
    hashed = hashlib.sha256(nonce + digest).digest()
    return Signed(digest, private_key(which).sign(hashed, how, Prehashed(SHA256())))


@cache
def evidence() -> Evidence:
    """All there can be in evidence, and all of it right."""
    return Evidence(
        nonce=NONCE,
        level=EvidenceLevel.FUNCTIONAL,
        algorithm=RSA_PSS_SHA256,
        key=public_key(),
        tee_memory=signed(TEE_MEMORY),
        enclave=EnclaveEvidence(ENCLAVE, signed(ENCLAVE_MEMORY), signed(ENCLAVE_IDENTITY)),
        tee_uuid=TEE_UUID,
    )


TA_FILES = {"e4a0f3d6-7c1b-4c52-9b8e-5d2f6a7c8b90.ta": "5a" * 32}


@cache
def observed() -> Observed:
    """All there can be seen of a box, and all of it right."""
    return Observed(
        ta_files=TA_FILES,
        bad_ta=TeeAnswer(TeeCode.SECURITY, 3),
        storage=TeeAnswer(TeeCode.ITEM_NOT_FOUND, 3),
        tokens=("0 trustbox",),
        counter=17,
        boot=BootSeen("registers", True, "secure"),
        module_signatures="Y",
        tainted=0,
        lockdown="integrity",
        ima=2000,
        verity=True,
        ports=("tcp/0.0.0.0/22",),
        passwords={"root": "locked", "admin": "other"},
        tee_devices=(DeviceNode("/dev/tee0", 0o660, 0, 101, "tee"),),
        log=LogSeen(20, ()),
    )


@cache
def policy() -> Policy:
    """Everything pinned."""
    return Policy(
        nonce=NONCE,
        tee_memory=TEE_MEMORY,
        key=public_key(),
        enclave=ENCLAVE,
        enclave_memory=ENCLAVE_MEMORY,
        enclave_identity=ENCLAVE_IDENTITY,
        tee_uuid=TEE_UUID,
        ta_files=TA_FILES,
        tokens=("0 trustbox",),
        counter=17,
        ports=frozenset({"tcp/*/22"}),
    )
