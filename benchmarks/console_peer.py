"""labgrid in a venv of its own: it brings a pyserial of its own, under the same name as ours."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import platformdirs

from benchmarks.console_speed import PLACE, SIZE, payloads

VERSION = "26.0.1"
SCRIPT = Path(__file__).parent / "console_labgrid.py"


def labgrid_python() -> Path:
    """The venv's Python; made and filled from the package index when it is not there yet."""
    venv = platformdirs.user_cache_path("trustbox") / "bench" / f"labgrid-{VERSION}"
    python = venv / "bin" / "python"
    ready = venv / ".ready"
    if not ready.is_file():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(venv)], check=True)
        pip = [str(python), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
        print(f"labgrid {VERSION} is put into {venv}", flush=True)
        subprocess.run([*pip, f"labgrid=={VERSION}"], check=True, capture_output=True)
        ready.touch()
    return python


def measure_labgrid(line: str, *, times: int) -> dict[str, Any]:
    """What ``console_labgrid`` prints; ``error`` instead when it did not get through.

    ``line``: a device, or ``rfc2217://HOST:PORT?...``.
    """
    there = line.removeprefix("rfc2217://").partition("?")[0]
    words = [there, str(times), PLACE, str(SIZE), *payloads()]
    command = [str(labgrid_python()), str(SCRIPT), *words]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
    except subprocess.TimeoutExpired:
        return {"error": "no end within 900 s"}
    if done.returncode:
        return {"error": (done.stderr.strip().splitlines() or ["no message"])[-1][:300]}
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result
