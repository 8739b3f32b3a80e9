"""Where p11-kit's client module is on this machine."""

from __future__ import annotations

import sysconfig
from pathlib import Path

from harness.errors import Misuse

_NAME = "pkcs11/p11-kit-client.so"


def client_module() -> Path:
    """Raises Misuse, naming what to install, when p11-kit's client module is not here.

    Debian keeps it below the multiarch directory, others directly below lib or lib64.
    """
    multiarch = sysconfig.get_config_var("MULTIARCH")
    places = [Path("/usr/lib") / multiarch] if isinstance(multiarch, str) else []
    places += [Path("/usr/lib64"), Path("/usr/lib"), Path("/usr/local/lib")]
    for place in places:
        if (place / _NAME).is_file():
            return place / _NAME
    for found in sorted(Path("/usr/lib").glob(f"*-linux-gnu*/{_NAME}")):
        return found
    raise Misuse(
        "p11-kit's client module (p11-kit-client.so) is not on this machine",
        hint="Install Debian's package p11-kit-modules.",
    )
