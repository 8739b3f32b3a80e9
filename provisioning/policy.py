"""What a verifier expects of a box, and which checks must pass for its verdict to be good."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from uuid import UUID

from harness.errors import Misuse
from harness.target import EvidenceLevel
from provisioning.evidence import AttestationKey


class Check(Enum):
    """Everything that ``verdict.verify`` looks at; each check is in every verdict."""

    NONCE = "nonce"
    """The evidence was made for this question: it is fresh."""
    LEVEL = "level"
    """The evidence is of the level that the policy wants: an emulator's is no hardware's."""
    ALGORITHM = "algorithm"
    """The algorithm is the one that the signatures are checked with."""
    KEY = "key"
    """The attestation key is the one that was pinned when the box was enrolled."""
    TEE_SIGNATURE = "tee-signature"
    """The key signed the TEE's measurement together with the nonce."""
    TEE_MEMORY = "tee-memory"
    """The OP-TEE core's code and constants are those of the golden build."""
    ENCLAVE_MEMORY_SIGNATURE = "enclave-memory-signature"
    ENCLAVE_MEMORY = "enclave-memory"
    """The running enclave's code and constants are those of its file."""
    ENCLAVE_IDENTITY_SIGNATURE = "enclave-identity-signature"
    ENCLAVE_IDENTITY = "enclave-identity"
    """The file installed for the enclave names itself as the expected one (its body is checked by
    the TEE on loading, not here)."""
    TEE_UUID = "tee-uuid"
    """The TEE's device UUID is the expected one (asserted by the box, not signed)."""
    HUK = "huk"
    """The TEE's device UUID is not the one that an all-zero hardware unique key gives."""
    STORAGE = "storage"
    """The TEE reads its secure storage without an error. One that it made anew is read so, too: see
    ``STORAGE_KEPT``."""
    STORAGE_KEPT = "storage-kept"
    """The tokens that were in the secure storage when it was pinned are in it still: it was not
    lost, or made anew."""
    STORAGE_FRESH = "storage-fresh"
    """The enclave's sealed counter is not below the one seen before: no older storage came back."""
    TA_FILES = "ta-files"
    """The TA directory holds the expected files and no others (as the normal world shows it)."""
    LOAD_ENFORCEMENT = "load-enforcement"
    """A TA with a signature by nobody was refused, just now."""
    BOOT_STATE = "boot-state"
    """Each boot stage was checked before it ran."""
    MODULE_SIGNING = "module-signing"
    """The kernel loads signed modules only."""
    LOCKDOWN = "lockdown"
    """The kernel is locked down, also against root."""
    IMA = "ima"
    """The kernel keeps a list of measurements of what it runs."""
    DM_VERITY = "dm-verity"
    """The root file system lies on dm-verity."""
    LISTENING_PORTS = "listening-ports"
    """Nothing listens but what is expected."""
    DEFAULT_PASSWORDS = "default-passwords"
    """No account opens with a publicly known password, or with none."""
    TEE_DEVICE = "tee-device"
    """Only root and groups with a TEE's names may open the TEE's devices."""
    SECURE_LOG = "secure-log"
    """The console told of no panic and no abort since it was marked."""


ALWAYS = frozenset(
    {Check.NONCE, Check.LEVEL, Check.ALGORITHM, Check.TEE_SIGNATURE, Check.TEE_MEMORY}
)
"""Required by every policy: without one of these a verdict says nothing about the TEE."""

MEASURED = frozenset(
    {
        *ALWAYS,
        Check.KEY,
        Check.ENCLAVE_MEMORY,
        Check.ENCLAVE_MEMORY_SIGNATURE,
        Check.ENCLAVE_IDENTITY,
        Check.ENCLAVE_IDENTITY_SIGNATURE,
    }
)
"""What the TEE signs. That it is wrong cannot be tolerated."""


TEE_GROUPS = frozenset({"tee", "teepriv", "teesuppl"})
"""Those of optee_client's udev rules (CFG_TEE_GROUP, CFG_TEEPRIV_GROUP, CFG_TEE_SUPPL_GROUP)."""


@dataclass(frozen=True, slots=True)
class Policy:
    """None means: nothing to compare with, so the check's outcome is ``unknown``.

    A check is required when it is in ALWAYS, when the policy brings an expected value for it, or
    when ``require`` names it. Without ``key`` the key is trusted on first use: the verdict then
    says that *some* key signed, and whoever enrols the box pins the one that is in the evidence.
    """

    nonce: bytes
    tee_memory: bytes | None
    level: EvidenceLevel = EvidenceLevel.FUNCTIONAL
    key: AttestationKey | None = None
    enclave: UUID | None = None
    enclave_memory: bytes | None = None
    enclave_identity: bytes | None = None
    tee_uuid: UUID | None = None
    ta_files: Mapping[str, str] | None = None
    """File name → SHA-256 in hex: all that may be in the TA directory."""
    tokens: tuple[str, ...] | None = None
    """Tokens that must be in the storage, as in ``Observed.tokens``."""
    counter: int | None = None
    """The sealed counter must have at least this value."""
    ports: frozenset[str] | None = None
    """What may listen, as in ``Observed.ports``; an address of ``*`` stands for any."""
    tee_groups: frozenset[str] = TEE_GROUPS
    """Names of the groups that may open the TEE's devices, besides root's."""
    require: frozenset[Check] = field(default_factory=frozenset)
    tolerate: frozenset[Check] = field(default_factory=frozenset)
    """Checks of which a ``fail`` is shown and does not refuse the evidence."""

    def __post_init__(self) -> None:
        never = (self.required | MEASURED) & self.tolerate
        if never:
            names = ", ".join(sorted(check.value for check in never))
            raise Misuse(f"a policy cannot tolerate what it requires, nor a measurement: {names}")

    @property
    def required(self) -> frozenset[Check]:
        wanted = set(ALWAYS | self.require)
        if self.key is not None:
            wanted.add(Check.KEY)
        if self.enclave_memory is not None:
            wanted |= {Check.ENCLAVE_MEMORY, Check.ENCLAVE_MEMORY_SIGNATURE}
        if self.enclave_identity is not None:
            wanted |= {Check.ENCLAVE_IDENTITY, Check.ENCLAVE_IDENTITY_SIGNATURE}
        if self.tee_uuid is not None:
            wanted.add(Check.TEE_UUID)
        if self.ta_files is not None:
            wanted.add(Check.TA_FILES)
        if self.tokens:
            wanted.add(Check.STORAGE_KEPT)
        if self.counter is not None:
            wanted.add(Check.STORAGE_FRESH)
        return frozenset(wanted)
