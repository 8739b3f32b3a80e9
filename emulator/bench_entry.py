"""The targets entry of a kept box that is presented as a bench."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path

from emulator.bench import Bench
from emulator.box_store import Box
from emulator.image import Image
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
        "power": {"command": _ask("power", "{action}", box.serial)},
        "restore": {"command": _ask("restore", box.serial)},
        "firmware": _firmware(box.image),
    }


def toml(name: str, entry: Mapping[str, object]) -> str:
    """``entry`` as the table ``name`` of a targets file. Values: texts, numbers, lists, tables."""
    tables = {key: value for key, value in entry.items() if isinstance(value, Mapping)}
    lines = [f"[{name}]"]
    lines += [f"{key} = {json.dumps(value)}" for key, value in entry.items() if key not in tables]
    text = "\n".join(lines) + "\n"
    return text + "".join("\n" + toml(f"{name}.{key}", value) for key, value in tables.items())


def _ask(*words: str) -> list[str]:
    """``trustbox emulator`` with these words, the last one a serial number."""
    # The command beside this Python: a relay's command must not depend on somebody's PATH.
    program = Path(sys.executable).with_name("trustbox")
    call = [sys.executable, "-c", "from provisioning.cli import main; main()"]
    start = [str(program)] if program.exists() else call
    return [*start, "emulator", *words[:-1], "--serial", words[-1]]


def _firmware(image: Image) -> dict[str, object]:
    """What the maker of the firmware has besides it."""
    return {
        "version": image.optee_version,
        "devkit": str(image.devkit),
        "ta_signing_key": str(image.ta_key),
        "golden_tee": image.golden_tee.hex(),
        "image_digest": image.digest,
        "manifest": str(image.manifest),
    }
