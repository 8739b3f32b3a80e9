"""How long does ``trustbox attest`` take, from its start to its end, and what of it is the TEE?

    python -m benchmarks.attest [--times 5] [--serial TB-EMU-BENCH]

The command runs as a person would run it, in a process of its own, on an emulated box that is kept
running: with ``--tee-only``, and as it is (the whole look). ``whole_s`` is the wall time of that
process; ``attest_s`` what follows on opening the box; ``tee_s`` the calls in which the TEE measures
and signs. All of it twice: on a box that made its attestation key since it was switched on
(``key_made_now``), and after its power was cut (``key_loaded``). OP-TEE's PTA keeps e, d and n of
its key and no CRT values (core/pta/attestation.c, serialize_key), and signs several times as fast
with a key that it read. ``start_s`` is ``trustbox attest --help``. Medians; the last line is one
JSON object. The load average is told, as a busy machine makes all of it longer; as root,
``chrt -f 1`` before it keeps the others out of the way.

The box is put back to its delivered state first.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def timed(*words: str) -> tuple[float, str]:
    """Seconds of wall time, and what it printed."""
    began = time.monotonic()
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    return time.monotonic() - began, done.stdout


def looks(command: Sequence[str], times: int) -> dict[str, float]:
    rows = []
    for _ in range(times):
        whole, said = timed(*command)
        told: dict[str, float] = json.loads(said)["timings"]
        rows.append({"whole_s": whole, "attest_s": told["attest_s"], "tee_s": told["tee_s"]})
        print("  " + ", ".join(f"{k} {v:.2f}" for k, v in rows[-1].items()), flush=True)
    found = {key: round(statistics.median(row[key] for row in rows), 3) for key in rows[0]}
    return {
        **found,
        "tee_of_attest": round(found["tee_s"] / found["attest_s"], 2),
        "tee_of_whole": round(found["tee_s"] / found["whole_s"], 2),
    }


def both(command: Sequence[str], times: int) -> dict[str, dict[str, float]]:
    found = {}
    for name, more in (("tee_only", ["--tee-only"]), ("look", [])):
        print(f"trustbox attest {' '.join(more)}".rstrip())
        found[name] = looks([*command, *more], times)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--serial", default="TB-EMU-BENCH")
    options = parser.parse_args()
    program = str(Path(sys.executable).with_name("trustbox"))  # as it was installed
    box = ("--serial", options.serial)
    if options.serial in timed(program, "emulator", "list")[1].split():
        sys.exit(f"{options.serial} runs already: name another one with --serial")
    result: dict[str, Any] = {}
    subprocess.run([program, "emulator", "start", *box], check=True)
    try:
        command = [program, "attest", *box, "--json"]
        subprocess.run([program, "emulator", "restore", *box], check=True)
        timed(*command)  # makes the box's attestation key
        print(f"load average {os.getloadavg()[0]:.2f}, {os.cpu_count()} processors")
        result["load"] = round(os.getloadavg()[0], 2)
        starts = [timed(program, "attest", "--help")[0] for _ in range(options.times)]
        result["start_s"] = round(statistics.median(starts), 3)
        result["key_made_now"] = both(command, options.times)
        subprocess.run([program, "emulator", "power", "cycle", *box], check=True)
        timed(*command)  # reads the key, and caches what a first login reads
        result["key_loaded"] = both(command, options.times)
    finally:
        subprocess.run([program, "emulator", "stop", *box], check=True)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
