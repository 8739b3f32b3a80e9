"""Loading of enclaves: how long, how large, how much secure memory, and whether all of it returns.

    python -m benchmarks.enclave [--loads 20] [--rounds 200] [--serial TB-EMU-BENCH]

The sample enclave is loaded from its file (a session opened and closed; it ends with its session),
signed only and encrypted, in one run on one box that has nothing else to do. Then ``--rounds``
times more without the clock, to see what OP-TEE's stats PTA says of its heap and of the memory of
TAs before and afterwards. The last line is one JSON object: medians in seconds, sizes in bytes.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time

from harness.deadline import Deadline
from harness.target import Target
from harness.targets import open_target
from harness.tee import TeeClient
from provisioning.enclave import EnclaveSession
from provisioning.enclave_build import SAMPLE as SOURCE
from provisioning.enclave_build import build_enclave
from provisioning.enclave_image import payload
from provisioning.enclave_make import Sealing, signed_ta
from provisioning.enclave_signer import FileSigner
from provisioning.sample_enclave import SAMPLE
from provisioning.tee_memory import secure_memory

SECONDS = 1800.0


def in_use(target: Target, by: Deadline) -> int:
    """Bytes of all pools."""
    return sum(pool.allocated for pool in secure_memory(target, by=by))


def timed(client: TeeClient, count: int, by: Deadline) -> list[float]:
    times = []
    for _ in range(count):
        began = time.perf_counter()
        session = client.open_session(SAMPLE, by=by)
        times.append(time.perf_counter() - began)
        session.close()
    return times


def both(target: Target, by: Deadline) -> dict[str, bytes]:
    """The sample, signed only and encrypted for this box."""
    firmware = target.firmware
    assert firmware.devkit is not None
    assert firmware.ta_signing_key is not None
    assert firmware.ta_encryption_key is not None
    signed = build_enclave(SOURCE, devkit=firmware.devkit, key=firmware.ta_signing_key, by=by)
    signer, sealing = FileSigner(firmware.ta_signing_key), Sealing(firmware.ta_encryption_key)
    sealed = signed_ta(payload(signed), uuid=SAMPLE, signer=signer, sealing=sealing, by=by)
    return {"signed": signed, "encrypted": sealed}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--loads", type=int, default=20, help="timed loads of each (at least 1)")
    parser.add_argument("--rounds", type=int, default=200, help="loads to see memory return")
    parser.add_argument("--serial", default="TB-EMU-BENCH", help="the emulated box to measure")
    options = parser.parse_args()
    if options.loads < 1 or options.rounds < 1:
        parser.error("there is nothing to measure")
    by = Deadline.after(SECONDS)
    told: dict[str, object] = {}
    with open_target("emulator", serial=options.serial, by=by, progress=print) as target:
        enclaves = EnclaveSession(target)
        for name, data in both(target, by).items():
            enclaves.install(SAMPLE, data, by=by)
            with TeeClient.open(target, by=by) as client:
                timed(client, 1, by)
                times = timed(client, options.loads, by)
            print(f"{name}: {len(data)} bytes, {options.loads} loads,", end=" ")
            print(f"{min(times):.3f} to {max(times):.3f} s", flush=True)
            told[f"{name}_bytes"] = len(data)
            told[f"{name}_load_s"] = round(statistics.median(times), 3)
        before = in_use(target, by)
        with enclaves.open(SAMPLE, by=by):
            told["secure_memory_bytes"] = in_use(target, by) - before
        told["after_one_bytes"] = in_use(target, by) - before
        with TeeClient.open(target, by=by) as client:
            timed(client, options.rounds, by)
        told["rounds"] = options.rounds
        told["lost_bytes"] = in_use(target, by) - before
    print(json.dumps(told))


if __name__ == "__main__":
    main()
