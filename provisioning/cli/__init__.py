"""The command ``trustbox``: what a person or a script at a factory or a bench types.

Results go to stdout, everything else to stderr; the exit status says whose move it is
(``harness.errors``). Commands of other rooms come in by the entry point group
``trustbox.commands``: this one imports none of them.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import cast

from provisioning.cli.ending import ended


def main() -> None:
    """The entry point of ``trustbox``; ends the process with the exit status."""
    sys.exit(ended(_run, as_json="--json" in sys.argv[1:]))


def _run() -> int:
    # paramiko takes invoke, for a part of its reader of ~/.ssh/config that nothing here uses, and
    # does without it where it is not installed. Importing it would be half of importing paramiko.
    sys.modules.setdefault("invoke", cast(ModuleType, None))

    from provisioning.cli.app import build  # here, so that an early Ctrl-C is caught as well

    answer = build()(standalone_mode=False, prog_name="trustbox")
    return answer if isinstance(answer, int) else 0
