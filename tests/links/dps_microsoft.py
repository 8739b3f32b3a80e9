"""Microsoft's own clients for Node.js, installed by the lock file in ``dps_node``."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from pathlib import Path

import pytest
from filelock import FileLock

from emulator.paths import cache_root

HERE = Path(__file__).with_name("dps_node")


def installed() -> Path:
    """Where they are, with our scripts; checksums are checked by npm. Skips without npm."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("Microsoft's clients need node and npm, which this host does not have")
    lock = (HERE / "package-lock.json").read_bytes()
    place = cache_root() / "peers" / f"node-{hashlib.sha256(lock).hexdigest()[:16]}"
    place.mkdir(parents=True, exist_ok=True)
    with FileLock(place / "lock", timeout=100):
        if not (place / "whole").exists():
            for file in HERE.iterdir():
                shutil.copy(file, place)
            npm = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
            got = subprocess.run(
                npm, cwd=place, capture_output=True, text=True, check=False, timeout=90
            )
            if got.returncode:
                pytest.fail(f"npm could not get Microsoft's client: {got.stderr[-500:]}")
            (place / "whole").touch()
        for script in HERE.glob("*.js"):
            shutil.copy(script, place)
    return place
