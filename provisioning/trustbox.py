"""``TrustBox``: what can be said to a box, as five sessions over one target.

::

    with TrustBox(target) as box:
        box.keys       the PKCS#11 token in the TEE
        box.identity   the certificate of the key in it
        box.enclave    Trusted Applications
        box.integrity  measurements of the TEE
        box.info       what the box is

Sessions are made on first use and open nothing before their first verb. Leaving ends what they
started, on this machine and on the box; what they made there stays.
"""

from __future__ import annotations

from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING, Self

from harness.target import Target

if TYPE_CHECKING:
    from provisioning.enclave import EnclaveSession
    from provisioning.identity import IdentitySession
    from provisioning.info import InfoSession
    from provisioning.integrity import IntegritySession
    from provisioning.keys import KeySession
    from provisioning.pin_budget import PinBudget


class TrustBox:
    """One box. Not for two threads at once."""

    def __init__(self, target: Target, *, budget: PinBudget | None = None) -> None:
        """``budget``: this station's count of wrong PINs, for ``keys``."""
        self.target = target
        self._budget = budget

    @cached_property
    def keys(self) -> KeySession:
        from provisioning.keys import KeySession

        return KeySession(self.target, budget=self._budget)

    @cached_property
    def identity(self) -> IdentitySession:
        from provisioning.identity import IdentitySession

        return IdentitySession(self.target, self.keys)

    @cached_property
    def enclave(self) -> EnclaveSession:
        from provisioning.enclave import EnclaveSession

        return EnclaveSession(self.target)

    @cached_property
    def integrity(self) -> IntegritySession:
        from provisioning.integrity import IntegritySession

        return IntegritySession(self.target)

    @cached_property
    def info(self) -> InfoSession:
        from provisioning.info import InfoSession

        return InfoSession(self.target)

    def close(self) -> None:
        """End what the sessions started. Safe to call twice; the sessions may be used again."""
        for name in ("keys", "identity", "enclave", "integrity", "info"):
            end = getattr(self.__dict__.get(name), "close", None)
            if end is not None:
                end()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
