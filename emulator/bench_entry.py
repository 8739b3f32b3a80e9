"""The targets entry of a kept box that is presented as a bench."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from emulator.bench import Bench
from emulator.box_store import Box
from emulator.opening import firmware
from harness.secret import Secret
from harness.target import World

_SERIAL_KEYS = {World.NORMAL: "serial_url", World.SECURE: "secure_serial_url"}


def entry(box: Box, bench: Bench) -> dict[str, object]:
    """What harness/config.py wants to know of a bench; the caller names the table."""
    return {
        "kind": "bench",
        "preset": "emulator",
        "serial": box.serial,
        "address": "127.0.0.1",
        "port": bench.ssh_port,
        "user": "root",
        "client_key": str(box.client_key),
        "host_key": box.host_key,
        **{_SERIAL_KEYS[world]: str(path) for world, path in bench.uarts.items()},
        # No supply that has to settle, and what QEMU's end leaves unsaid is unsaid at once.
        "power": {
            "command": _relay("{action}", box.serial),
            "settle_seconds": 0.2,
            "silence_seconds": 1.0,
        },
        "restore": {"command": _relay("restore", box.serial)},
        "firmware": _firmware(box),
    }


def toml(name: str, entry: Mapping[str, object]) -> str:
    """``entry`` as the table ``name`` of a targets file. Values: texts, numbers, lists, tables."""
    tables = {key: value for key, value in entry.items() if isinstance(value, Mapping)}
    lines = [f"[{name}]"]
    lines += [f"{key} = {json.dumps(value)}" for key, value in entry.items() if key not in tables]
    text = "\n".join(lines) + "\n"
    return text + "".join("\n" + toml(f"{name}.{key}", value) for key, value in tables.items())


def _relay(do: str, serial: str) -> list[str]:
    # This very Python: a relay's command must not depend on somebody's PATH.
    return [sys.executable, "-m", "emulator.relay", do, "--serial", serial]


def _firmware(box: Box) -> dict[str, object]:
    """What the maker of the firmware has besides it."""
    image = box.image
    facts: dict[str, object] = {
        "version": image.optee_version,
        "devkit": str(image.devkit),
        "ta_signing_key": str(image.ta_key),
        "golden_tee": image.golden_tee.hex(),
        "image_digest": image.digest,
        "manifest": str(image.manifest),
    }
    key = firmware(box).ta_encryption_key
    if key is not None:
        facts["ta_encryption_key"] = str(_key_file(box, key))
    return facts


def _key_file(box: Box, key: Secret) -> Path:
    """As a bench's entry wants it; whole and 0600 at any time, also for who reads it just now."""
    path = box.directory / "ta-encryption-key"
    with tempfile.NamedTemporaryFile("w", dir=box.directory, delete=False) as file:
        file.write(key.reveal().hex() + "\n")
    return Path(file.name).replace(path)
