"""labgrid's ShellDriver on a serial line, measured. Runs in a venv of its own: see console_peer.

    python console_labgrid.py LINE TIMES PLACE SIZE PAYLOAD...

LINE is a device, or HOST:PORT of a server that speaks RFC 2217. The last line is one JSON
object: the keys of ``console_speed``, and ``exact``: whether every payload had its size.
"""

import json
import statistics
import sys
import time

from labgrid import Target  # type: ignore[import-not-found]
from labgrid.driver import SerialDriver, ShellDriver  # type: ignore[import-not-found]
from labgrid.resource import (  # type: ignore[import-not-found]
    NetworkSerialPort,
    RawSerialPort,
)


def main() -> None:
    line, times, place, size, *payloads = sys.argv[1:]
    target = Target("bench")
    host, _, port = line.rpartition(":")
    if host:
        NetworkSerialPort(target, name=None, host=host, port=int(port), protocol="rfc2217")
    else:
        RawSerialPort(target, name=None, port=line, speed=115200)
    SerialDriver(target, name=None)
    shell = ShellDriver(
        target,
        name=None,
        prompt=r"\S*# ",
        login_prompt=" login: ",
        username="root",
        login_timeout=120,
    )
    target.activate(shell)
    result: dict[str, object] = {}
    for key, command in (("true_ms", "true"), ("program_ms", "/usr/bin/true")):
        seconds = []
        for _ in range(int(times)):
            began = time.perf_counter()
            shell.run_check(command)
            seconds.append(time.perf_counter() - began)
        result[key] = round(statistics.median(seconds) * 1000, 2)
    exact = True
    for name in payloads:
        began = time.perf_counter()
        lines = shell.run_check(f"cat {place}{name}", timeout=180)
        result[f"{name}_s"] = round(time.perf_counter() - began, 2)
        exact = exact and sum(len(line) + 1 for line in lines) - int(size) in (0, 1)
    shell.console.sendline("exit")
    print(json.dumps({**result, "exact": exact}))


if __name__ == "__main__":
    main()
