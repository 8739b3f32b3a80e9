"""The file beside a file that is being written on a box, until it takes that file's name.

A power cut in mid-write leaves it, with mode 0600 and a part of what was to be written, which may
hold a PIN. Its name is one that nothing else uses, so that who writes there next can clear it away.
"""

from __future__ import annotations

import posixpath
import secrets
from typing import TYPE_CHECKING

from harness.deadline import Deadline

if TYPE_CHECKING:
    from harness.target import Shell

_RANDOM = 8  # bytes
_CLEAR = f'rm -f -- "$1"/.tb-{"[0-9a-f]" * 2 * _RANDOM}.tmp'


def part_beside(path: str) -> str:
    """A new name in the directory of ``path``."""
    return posixpath.join(posixpath.dirname(path), f".tb-{secrets.token_hex(_RANDOM)}.tmp")


def clear_parts(shell: Shell, directory: str, *, make: bool = False, by: Deadline) -> None:
    """Remove what cut writes left in the directory; ``make``: have it, where it is not there.

    For whoever holds the box: a write of somebody else's that goes on there would be cut off.
    """
    script = f'mkdir -p -- "$1" && {_CLEAR}' if make else _CLEAR
    shell.run("sh", "-c", script, "sh", directory, by=by)
