"""A plain ``xtest`` on one pristine emulated box, as one would run it by hand: its counts.

    python -m tests.xtest.by_hand [SUITE]      ``make xtest-by-hand``

To be held against what ``make xtest`` says. The last line is one JSON object.
"""

from __future__ import annotations

import json
import sys
import time

from harness.deadline import Deadline
from harness.targets import open_target
from tests.xtest.running import SUITES, run

SECONDS = 7200.0


def main() -> None:
    for suite in sys.argv[1:] or SUITES:
        by = Deadline.after(SECONDS)
        with open_target("emulator", fresh=True, by=by) as target:
            print(f"xtest -t {suite}: takes minutes", flush=True)  # noqa: T201
            began = time.monotonic()
            result = run(target.shell, target.layout, "-t", suite, by=by)
        told = {
            "suite": suite,
            "cases": len(result.cases),
            "failed": result.failed,
            "subtests": result.subtests,
            "subtests_failed": result.subtests_failed,
            "reasons": result.reasons,
            "seconds": round(time.monotonic() - began),
        }
        print(json.dumps(told), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
