"""``python -m emulator.relay on|off|cycle|restore --serial S``: a kept box's plug, for programs.

The same as ``trustbox emulator power`` and ``restore``, in a sixth of the processor time: a suite
on a bench switches hundreds of times, and the whole command line is not needed for it.
"""

from __future__ import annotations

import argparse
import sys

from emulator import registry
from harness.deadline import Deadline
from harness.errors import TrustBoxError

SECONDS = 120.0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m emulator.relay")
    parser.add_argument("do", choices=("on", "off", "cycle", "restore"))
    parser.add_argument("--serial", required=True)
    chosen = parser.parse_args()
    by = Deadline.after(SECONDS)
    try:
        if chosen.do == "restore":
            registry.ask(chosen.serial, "restore", by=by, seconds=SECONDS)
        else:
            registry.ask(chosen.serial, "power", by=by, seconds=SECONDS, state=chosen.do)
    except TrustBoxError as problem:
        sys.stderr.write(f"error: {problem.message}\n")
        return problem.exit_status
    return 0


if __name__ == "__main__":
    sys.exit(main())
