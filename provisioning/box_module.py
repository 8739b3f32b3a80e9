"""PKCS#11 modules on a box, other than the one of its TEE."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from dataclasses import dataclass, field

from harness.deadline import Deadline
from harness.target import Target


@dataclass(frozen=True, slots=True)
class BoxModule:
    """A module's path on the box, and the environment in which it is loaded there (no secrets:
    it stands on a command line of the box).
    """

    path: str
    environment: Mapping[str, str] = field(default_factory=dict)

    def command(self, p11_kit: str) -> tuple[str, ...]:
        """What carries the module's calls, started on the box."""
        remote = (p11_kit, "remote", self.path)
        if not self.environment:
            return remote
        return ("env", *(f"{name}={value}" for name, value in self.environment.items()), *remote)


def tee_module(target: Target) -> BoxModule:
    """The module of the box's TEE."""
    return BoxModule(target.layout.pkcs11_module)


def softhsm_on(target: Target, directory: str, *, by: Deadline) -> BoxModule:
    """SoftHSM2 on the box, with its tokens in ``directory`` (made 0700 if it is not there).

    Its keys are files of the normal world: whoever is root on the box has them.
    """
    tokens, configuration = (posixpath.join(directory, n) for n in ("tokens", "softhsm2.conf"))
    target.shell.run("mkdir", "-p", "-m", "0700", "--", directory, tokens, by=by)
    text = f"directories.tokendir = {tokens}\nobjectstore.backend = file\nlog.level = ERROR\n"
    target.shell.write(configuration, text.encode(), by=by)
    return BoxModule(target.layout.softhsm_module, {"SOFTHSM2_CONF": configuration})
