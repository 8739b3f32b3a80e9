"""Disks: thin qcow2 layers over the image's root file system."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from harness.deadline import Deadline
from harness.errors import DeadlineExpired, RigError


def create_overlay(path: Path, *, over: Path, by: Deadline) -> None:
    """An empty layer at ``path`` over the raw file ``over``, as large as it."""
    argv = ["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", str(over), str(path)]
    waiting_for = "qemu-img to make a disk"
    try:
        done = subprocess.run(
            argv, capture_output=True, stdin=subprocess.DEVNULL, timeout=by.left(waiting_for)
        )
    except FileNotFoundError as exc:
        raise RigError("qemu-img is not installed", hint="Install the package qemu-utils.") from exc
    except subprocess.TimeoutExpired as exc:
        raise DeadlineExpired(waiting_for, by.seconds) from exc
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip()
        raise RigError(f"qemu-img cannot make {path.name}: {said[:300]}")
    path.chmod(0o600)


def copy(source: Path, path: Path) -> None:
    """A copy of a layer nobody writes to, put at ``path`` in one step."""
    new = path.with_name(f".new-{os.getpid()}-{path.name}")
    try:
        shutil.copyfile(source, new)
        new.chmod(0o600)
        new.replace(path)
    except OSError as exc:
        new.unlink(missing_ok=True)
        raise RigError(f"no disk at {path}: {exc.strerror}") from exc
