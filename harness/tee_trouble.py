"""What a TEE's refusal means while it is asked what it can do: no, or that something is broken.

Codes: GlobalPlatform TEE Internal Core API 1.3, table 3-6; where OP-TEE gives them: core/tee/tadb.c
and core/tee/tee_ree_fs.c (secure storage), core/kernel/ree_fs_ta.c (TA files), core/tee/tee_svc.c.
"""

from __future__ import annotations

from harness.errors import DeviceRefused, IntegrityFailure, TeeRefused, TrustBoxError
from harness.tee_codes import TeeCode, TeeOrigin
from harness.tee_supplicant import HINT, NoSupplicant

NO = (TeeCode.ITEM_NOT_FOUND, TeeCode.NOT_SUPPORTED, TeeCode.NOT_IMPLEMENTED)
"""The TEE's own "no": it has no such thing."""
STORAGE_CODES = (
    TeeCode.CORRUPT_OBJECT,
    TeeCode.CORRUPT_OBJECT_2,
    TeeCode.STORAGE_NOT_AVAILABLE,
    TeeCode.STORAGE_NOT_AVAILABLE_2,
)


class StorageDamaged(IntegrityFailure):
    """The TEE says that what it keeps cannot be read. ``code`` and ``origin`` are its own."""

    def __init__(self, message: str, refused: TeeRefused) -> None:
        super().__init__(
            message,
            hint="Nothing else was tried. Its storage is damaged, or another box's lies in its"
            " place. Stop and look: each look can make it worse, as OP-TEE takes away what it"
            " cannot read. Keep a copy of the storage directory before anything else (trustbox"
            " shell). Keys that were only there are lost, and their certificates are to revoke.",
        )
        self.code, self.origin = refused.code, refused.origin


def answer(refused: TeeRefused) -> str:
    """``0xf0100001 (TEE_ERROR_CORRUPT_OBJECT)``."""
    return f"0x{refused.code:08x}{f' ({refused.name})' if refused.name else ''}"


def of_storage(problem: TrustBoxError) -> TrustBoxError:
    """What the answer to a session with a TA that cannot exist means, where it is not "no": OP-TEE
    looks into its storage (which TA versions it has seen) before it looks for the TA."""
    if not isinstance(problem, TeeRefused):
        return problem
    if problem.code in (*STORAGE_CODES, TeeCode.SECURITY):
        return StorageDamaged(
            f"the TEE cannot read its secure storage: it answers {answer(problem)}", problem
        )
    return _other(problem)


def of_token(problem: TrustBoxError) -> TrustBoxError:
    """What a refusal of the PKCS#11 TA's session means, where the storage itself can be read."""
    if not isinstance(problem, TeeRefused):
        return problem
    damaged = problem.code in STORAGE_CODES or (
        problem.code == TeeCode.SECURITY and problem.origin == TeeOrigin.TRUSTED_APP
    )
    if damaged:
        return StorageDamaged(
            f"the PKCS#11 TA ends at its start with {answer(problem)}: its storage is damaged",
            problem,
        )
    if problem.code == TeeCode.SECURITY:
        return IntegrityFailure(
            f"the TEE does not load the PKCS#11 TA: it answers {answer(problem)}",
            hint="The TA's file is changed, or signed with another key than this firmware's:"
            " trustbox ta list shows it.",
        )
    return _other(problem)


def _other(refused: TeeRefused) -> TrustBoxError:
    if refused.code == TeeCode.COMMUNICATION:
        return NoSupplicant(
            f"nothing answers the TEE's requests on the box: it says {answer(refused)}", hint=HINT
        )
    return refused


def says_no(problem: TrustBoxError) -> bool:
    """Whether the TEE, or what stands before it, said that there is no such thing."""
    if isinstance(problem, TeeRefused):
        return problem.code in NO
    return isinstance(problem, DeviceRefused) and not isinstance(problem, NoSupplicant)
