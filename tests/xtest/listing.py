"""The names of xtest's cases. They stand in ``cases.txt``, so that collecting needs no box.

    python -m tests.xtest.listing      writes cases.txt from the emulated box's xtest

xtest cannot list its cases; their names stand in its file as they are.
"""

from __future__ import annotations

import re
from pathlib import Path

from harness.deadline import Deadline
from harness.target import Layout, Shell
from harness.targets import open_target
from tests.xtest.running import SUITES

CASES = Path(__file__).with_name("cases.txt")
# What precedes a name is the end of another text.
_NAMES = re.compile(rf"(?:{'|'.join(SUITES)})_[0-9]{{4}}(?:_[a-z0-9_]+)?")
_PATHS = re.compile(r"_[0-9]000\.c")


def committed() -> tuple[str, ...]:
    """The names in ``cases.txt``, in xtest's order of names."""
    return tuple(
        line for line in CASES.read_text().splitlines() if line and not line.startswith("#")
    )


def on(shell: Shell, layout: Layout, *, by: Deadline) -> tuple[str, ...]:
    """The names in the box's xtest."""
    pattern = f"({'|'.join(SUITES)})_[0-9]{{4}}(_[a-z0-9_]+)?(\\.c)?"
    text = shell.run("grep", "-aoE", pattern, layout.xtest, by=by).text
    return tuple(sorted({line for line in text.split() if _NAMES.fullmatch(line)}))


def main() -> None:
    by = Deadline.after(1800)
    with open_target("emulator", fresh=True, by=by) as target:
        names = on(target.shell, target.layout, by=by)
        about = target.firmware.version
    head = f"# xtest's cases, from the image with OP-TEE {about}: python -m tests.xtest.listing\n"
    CASES.write_text(head + "".join(f"{name}\n" for name in names))
    print(f"{len(names)} cases")  # noqa: T201


if __name__ == "__main__":
    main()
