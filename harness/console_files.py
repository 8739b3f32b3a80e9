"""Whole files through programs on the box: for shells that have no SFTP."""

from __future__ import annotations

import stat
from collections.abc import Callable

from harness.deadline import Deadline
from harness.errors import DeviceRefused, Misuse
from harness.part_file import part_beside
from harness.ssh_exec import Ended

Runs = Callable[[tuple[str, ...], bytes, Deadline], Ended]
"""Runs a program with its input to its end."""

NO_DIRECTORY, SHORT = 44, 45
# $1 path, $2 mode, $3 size, $4 temporary file. noclobber makes the shell open with O_EXCL.
WRITE = """
export LC_ALL=C
dir=${1%/*}; dir=${dir:-/}
[ -d "$dir" ] || exit 44
(umask 077; set -C; : >"$4") || exit
trap 'rm -f -- "$4"' EXIT
cat >>"$4" || exit
[ "$(wc -c <"$4")" -eq "$3" ] || exit 45
chmod "$2" "$4" || exit
sync "$4" 2>/dev/null || sync
if [ -d "$1" ] && [ ! -L "$1" ]; then echo "$1: Is a directory" >&2; exit 1; fi
mv -fT -- "$4" "$1" || exit
trap - EXIT
sync "$dir" 2>/dev/null || sync
"""


def read_file(runs: Runs, path: str, *, by: Deadline) -> bytes:
    """See ``Shell.read``."""
    check_path(path)
    ended = runs(("cat", "--", path), b"", by)
    if ended.status:
        raise DeviceRefused(f"reading {path}: {_complaint(ended)}")
    return ended.stdout


def write_file(runs: Runs, path: str, data: bytes, *, mode: int, by: Deadline) -> None:
    """See ``Shell.write``."""
    check_path(path)
    if mode != stat.S_IMODE(mode):
        raise Misuse(f"{mode:o} is not a file mode")
    part = part_beside(path)
    words = ("sh", "-c", WRITE, "write", path, f"{mode:o}", str(len(data)), part)
    ended = runs(words, data, by)
    if ended.status == NO_DIRECTORY:
        raise DeviceRefused(f"writing {path}: no such file or directory on the box")
    if ended.status == SHORT or b"No space left" in ended.stderr:
        raise DeviceRefused(
            f"writing {path}: no space left on the box for {len(data)} bytes;"
            " what stood there before is untouched"
        )
    if ended.status:
        raise DeviceRefused(f"writing {path}: {_complaint(ended)}")


def check_path(path: str) -> None:
    """Raises Misuse unless ``path`` is the absolute path of a file."""
    if not path.startswith("/") or "\0" in path or path.endswith("/"):
        raise Misuse(f"{path!r} is not the absolute path of a file on the box")


def _complaint(ended: Ended) -> str:
    lines = ended.stderr.decode(errors="replace").strip().splitlines()
    said = lines[-1] if lines else f"status {ended.status}"
    if "No such file" in said:
        return "no such file or directory on the box"
    if "Permission denied" in said:
        return "permission denied on the box"
    return f"the box says '{said[:200]}'"
