"""Files with the key that a box decrypts Trusted Applications with: 64 hexadecimal digits, 0600."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

from harness.errors import BadInput
from harness.secret import Secret

_HEX = re.compile(rb"[0-9a-fA-F]{64}\r?\n?")


def read_ta_key(path: Path | None) -> Secret | None:
    """The key, 32 bytes; None for no file. Raises BadInput for a file that others may read, and
    for other contents, which are never quoted."""
    if path is None:
        return None
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            if mode & 0o077:
                raise BadInput(
                    where=str(path), key="its mode", value=f"{mode:04o}", expected="0600"
                )
            text = file.read(128)
    except OSError as problem:
        raise BadInput(
            where=str(path), key="the file", value=problem.strerror, expected="a readable file"
        ) from problem
    if not _HEX.fullmatch(text):
        expected = "64 hexadecimal digits, a key of 32 bytes"
        raise BadInput(where=str(path), key="the key", value="(hidden)", expected=expected)
    return Secret(bytes.fromhex(text.decode()))
