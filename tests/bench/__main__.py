"""Run the device suite on benches, side by side; the exit status is 0 when every round passed.

::

    python -m tests.bench                        all rounds
    python -m tests.bench --only rfc2217 -- -k console

What stands behind ``--`` goes to pytest. Ctrl-C, a failure and SIGTERM leave nothing running.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from emulator.build import ensure_image
from harness.errors import TrustBoxError
from tests.bench.rounds import all_rounds
from tests.bench.suite import Result, Suites, say

ROOT = Path(__file__).parents[2]


def main() -> int:
    chosen = _arguments()
    rounds = [one for one in all_rounds() if not chosen.only or one.name in chosen.only]
    for number in (signal.SIGINT, signal.SIGTERM):  # SIGINT too: a shell's "&" ignores it
        signal.signal(number, signal.default_int_handler)
    started = time.monotonic()
    for profile in dict.fromkeys(one.profile for one in rounds):
        ensure_image(profile, progress=say)
    # Boxes of this run only: nobody else's are listed, started or stopped by it.
    with tempfile.TemporaryDirectory(prefix="tb-") as runtime:
        os.environ["XDG_RUNTIME_DIR"] = runtime
        suites = Suites(Path(runtime), ROOT, chosen.pytest)
        with ThreadPoolExecutor(chosen.jobs) as pool:
            try:
                results = [
                    future.result() for future in [pool.submit(suites.run, r) for r in rounds]
                ]
            except BaseException:
                # Whoever presses Ctrl-C again waits too: cut off here, a box would stay.
                for number in (signal.SIGINT, signal.SIGTERM):
                    signal.signal(number, signal.SIG_IGN)
                say("stopping: the boxes of this run are switched off and removed")
                suites.stop()
                pool.shutdown(cancel_futures=True)
                raise
    _tell(results, time.monotonic() - started)
    return 0 if all(result.passed for result in results) else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    names = [one.name for one in all_rounds()]
    parser.add_argument("--only", action="append", choices=names, help="this round (repeatable)")
    # A round keeps a processor busy with its box and half of one with its suite.
    jobs = max(1, (os.cpu_count() or 1) // 2)
    parser.add_argument("--jobs", type=int, default=jobs, help=f"rounds at once (here {jobs})")
    parser.add_argument("pytest", nargs="*", help="what pytest gets, behind --")
    return parser.parse_args()


def _tell(results: list[Result], seconds: float) -> None:
    say("")
    for result in results:
        say(str(result))
    say(f"{len(results)} rounds in {seconds:.0f} s")


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
    except TrustBoxError as problem:
        say(f"error: {problem}")
        sys.exit(problem.exit_status)
