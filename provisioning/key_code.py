"""Which code vouches for a key: the PKCS#11 module's file on the box, and the TA behind it."""

from __future__ import annotations

import posixpath
import re
import secrets

from harness.capability import Capability
from harness.deadline import Deadline
from harness.errors import BadFrame
from harness.target import Target
from provisioning.device_id import PKCS11_TA
from provisioning.integrity import IntegritySession
from provisioning.key_evidence import TokenCode

_DIGEST = re.compile(r"\\?([0-9a-f]{64})  ?[^ ]")


def code_of(target: Target, module: str, *, tee: bool, attest: bool, by: Deadline) -> TokenCode:
    """Digests of the module and, when it is the TEE's, of its TA.

    The files' digests are what the box's normal world says; the TA's header digest is signed by
    the attestation PTA, with ``attest`` and where there is one.
    """
    found = _digest(target, module, by)
    if found is None:
        raise BadFrame(f"sha256sum on {target.name} did not print a digest of {module}")
    if not tee:
        return TokenCode(module, found)
    signed = None
    if attest and Capability.ATTESTATION in target.capabilities:
        nonce = secrets.token_bytes(32)
        about = IntegritySession(target).attest(nonce, by=by, enclave=PKCS11_TA, measures=None)
        identity = about.enclave.identity if about.enclave else None
        signed = identity.digest.hex() if identity else None
    file = posixpath.join(target.layout.ta_directory, f"{PKCS11_TA}.ta")
    return TokenCode(module, found, PKCS11_TA, signed, _digest(target, file, by))


def _digest(target: Target, path: str, by: Deadline) -> str | None:
    """None when there is no such file: a TA may be part of the TEE's image."""
    said = target.shell.run("sha256sum", "--", path, by=by, check=False)
    match = _DIGEST.match(said.text)
    return match[1] if said.status == 0 and match else None
