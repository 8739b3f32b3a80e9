"""The tables within a bench's entry: its console's login, layout, firmware, restore program."""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass, fields, replace
from pathlib import Path

from harness.box_directory import EVERYBODYS
from harness.config_presets import Preset
from harness.config_secret import read_source
from harness.config_table import Table
from harness.console_login import ConsoleLogin
from harness.secret import Secret
from harness.ta_key_file import read_ta_key
from harness.target import Firmware, Layout

_DIGEST = re.compile(r"[0-9a-fA-F]{64}")


@dataclass(frozen=True, slots=True)
class RestoreConfig:
    """A program of this machine that puts the box back into its delivered state, such as one that
    writes its card anew; it may take ``seconds``. The box may be on or off afterwards."""

    argv: tuple[str, ...]
    seconds: float = 900.0


def read_console(table: Table | None, preset: Preset) -> ConsoleLogin | None:
    if table is None:
        return None
    user = table.text_or("user", "root")
    if not user.isprintable() or " " in user:
        raise table.bad("user", "a user's name, without blanks and control characters")
    known = preset.public_logins.get(user)
    password = read_source(table) or (_Public(known) if known is not None else None)
    found = ConsoleLogin(user, password, read_source(table, "new_password"))
    table.finish()
    return found


@dataclass(frozen=True, slots=True)
class _Public:
    """A password that a manual tells everybody."""

    text: str

    def __call__(self) -> Secret:
        return Secret(self.text.encode())


def read_restore(table: Table | None) -> RestoreConfig | None:
    if table is None:
        return None
    found = RestoreConfig(table.texts("command"), table.seconds_or("seconds", 900.0, least=0.1))
    table.finish()
    return found


def read_layout(table: Table | None) -> Layout:
    if table is None:
        return Layout()
    paths: dict[str, str] = {}
    for known in fields(Layout):
        if known.name in table:
            paths[known.name] = table.text(known.name)
            if not paths[known.name].startswith("/"):
                raise table.bad(known.name, "a path on the box that begins with /")
    if posixpath.normpath(paths.get("agent_directory", "/")) in EVERYBODYS:
        expected = "a directory that only root can write to: programs are run from it as root"
        raise table.bad("agent_directory", expected)
    table.finish()
    return replace(Layout(), **paths)


def read_firmware(table: Table | None) -> Firmware:
    """Files that are not on this machine are as good as not named: other stations have them."""
    if table is None:
        return Firmware()

    def here(key: str) -> Path | None:
        path = table.path(key) if key in table else None
        return path if path is not None and path.exists() else None

    golden = table.text_or("golden_tee", "")
    if golden and not _DIGEST.fullmatch(golden):
        raise table.bad("golden_tee", "a SHA-256 as 64 hexadecimal digits")
    found = Firmware(
        version=table.text_or("version", ""),
        devkit=here("devkit"),
        ta_signing_key=here("ta_signing_key"),
        ta_encryption_key=read_ta_key(here("ta_encryption_key")),
        golden_tee=bytes.fromhex(golden) if golden else None,
        image_digest=table.text_or("image_digest", ""),
        manifest=here("manifest"),
    )
    table.finish()
    return found
