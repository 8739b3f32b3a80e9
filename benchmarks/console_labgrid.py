"""labgrid's ShellDriver on a serial line, measured. Runs in a venv of its own: see console_peer.

    python console_labgrid.py DEVICE PASSWORD TIMES BULK-COMMAND BULK-SIZE

The last line is one JSON object: ``true_ms`` (median), ``mib_s``, and ``exact`` (whether the bulk
output had its size).
"""

import json
import statistics
import sys
import time

from labgrid import Target  # type: ignore[import-not-found]
from labgrid.driver import SerialDriver, ShellDriver  # type: ignore[import-not-found]
from labgrid.resource import RawSerialPort  # type: ignore[import-not-found]


def main() -> None:
    device, password, times, command, size = sys.argv[1:]
    target = Target("bench")
    RawSerialPort(target, name=None, port=device, speed=115200)
    SerialDriver(target, name=None)
    shell = ShellDriver(
        target,
        name=None,
        prompt=r"\S*# ",
        login_prompt=" login: ",
        username="root",
        password=password or None,
        login_timeout=120,
    )
    began = time.perf_counter()
    target.activate(shell)
    activated = time.perf_counter() - began
    seconds = []
    for _ in range(int(times)):
        began = time.perf_counter()
        shell.run_check("true")
        seconds.append(time.perf_counter() - began)
    began = time.perf_counter()
    lines = shell.run_check(command, timeout=560)
    bulk = time.perf_counter() - began
    exact = sum(len(line) + 1 for line in lines) - int(size) in (0, 1)
    shell.console.sendline("exit")
    result = {
        "true_ms": round(statistics.median(seconds) * 1000, 2),
        "mib_s": round(bulk, 2),
        "exact": exact,
        "activate_s": round(activated, 2),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
