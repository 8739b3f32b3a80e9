"""Cold boot against restore, each to the first command over a new SSH connection.

    python -m benchmarks.restore [--cold 5] [--restores 10] [--serial TB-EMU-BENCH]

Cold: power to an answered ``true``, through the whole firmware. Restore: back to the delivered
state, to an answered ``true``. Both in one run, on one box. The last line is one JSON object:
medians ``cold_s`` and ``restore_s`` in seconds, their ``ratio``, and every single time.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable

from emulator.opening import hold
from harness.deadline import Deadline
from harness.history import History
from harness.holding import Holding
from harness.ssh import SshShell

BUILD_SECONDS = 1800.0
BOOT_SECONDS = 120.0


def first_command(holding: Holding, give: Callable[[Deadline], None]) -> float:
    """Seconds from asking for a box to the end of its first command, connection included."""
    began = time.perf_counter()
    by = Deadline.after(BOOT_SECONDS)
    give(by)
    shell = SshShell(holding.endpoint, holding.vitals, History())
    try:
        shell.run("true", by=by)
        return time.perf_counter() - began
    finally:
        shell.close()


def measure(holding: Holding, what: str, count: int) -> list[float]:
    """``count`` times ``what``: the first command after a cold boot or after a restore."""
    times = []
    for number in range(1, count + 1):
        if what == "cold":
            holding.rig.off()
            times.append(first_command(holding, lambda by: holding.rig.on(by=by)))
        else:
            times.append(first_command(holding, lambda by: holding.rig.restore(by=by)))
        print(f"{what} {number}/{count}: {times[-1]:.3f} s", flush=True)
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--cold", type=int, default=5, help="cold boots (at least 1)")
    parser.add_argument("--restores", type=int, default=10, help="restores (at least 1)")
    parser.add_argument("--serial", default="TB-EMU-BENCH", help="the emulated box to measure")
    options = parser.parse_args()
    if min(options.cold, options.restores) < 1:
        parser.error("a median needs at least one measurement")
    holding = hold(
        name="emulator",
        serial=options.serial,
        fresh=True,
        by=Deadline.after(BUILD_SECONDS),
        progress=lambda line: print(line, flush=True),
    )
    try:
        restores = measure(holding, "restore", options.restores)
        colds = measure(holding, "cold", options.cold)
    finally:
        holding.rig.close()
    cold, restore = statistics.median(colds), statistics.median(restores)
    result = {
        "cold_s": round(cold, 3),
        "restore_s": round(restore, 3),
        "ratio": round(cold / restore, 1),
        "cold": [round(seconds, 3) for seconds in colds],
        "restore": [round(seconds, 3) for seconds in restores],
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
