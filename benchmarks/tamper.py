"""Is a change of live secure memory, or of an enclave's file, noticed? How often is there an alarm
without one?

    python -m benchmarks.tamper [--rounds 20] [--serial TB-EMU-BENCH]

Each round changes one bit at random in the running OP-TEE core (.text and .rodata in turns), then
in the running sample enclave's code, then in the enclave's file on the box's disk, and after each
looks at the box as ``trustbox attest`` does, with a fresh nonce. A change counts as detected when
the look refuses the box for the check that is meant for it. It is put back, and the round ends with
a look at the untouched box. The last line is one JSON object: detected changes of ``core``, ``ta``
and ``file`` out of ``rounds`` each, ``false_alarms`` among as many untouched looks.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

from harness.deadline import Deadline
from harness.tamper import CorePart
from harness.target import Target
from harness.targets import open_target
from provisioning.appraisal import Appraisal, appraise
from provisioning.enclave_build import SAMPLE as SOURCE
from provisioning.enclave_build import build_enclave
from provisioning.enclave_golden import golden_ta
from provisioning.enclave_image import parse
from provisioning.policy import Check
from provisioning.policy_file import Pinned, PolicyEnclave, PolicyFile, read_policy
from provisioning.sample_enclave import COUNTER_READ, MEASURE_SELF, SAMPLE
from provisioning.trustbox import TrustBox
from tests.device.tampering import spare_bits, tamper_of, tee_at_work

OPENING_SECONDS = 1800.0
STEP_SECONDS = 120.0
PARTS = tuple(CorePart)


class Bench:
    """One box with the sample enclave running on it, and what is expected of it."""

    def __init__(self, target: Target, data: bytes, dice: random.Random) -> None:
        self.target, self.data, self.dice = target, data, dice
        self.path = TrustBox(target).enclave.path(SAMPLE)
        enclave = PolicyEnclave(
            SAMPLE, golden_ta(data), parse(data).digest, MEASURE_SELF, COUNTER_READ
        )
        self.policy: PolicyFile = replace(read_policy(), enclave=enclave)
        self.pinned: Pinned | None = None
        look = self.look()
        look.verdict.demand()
        evidence, observed = look.examination.evidence, look.examination.observed
        assert evidence is not None
        self.pinned = Pinned(evidence.key, observed.ta_files, observed.counter)

    def look(self) -> Appraisal:
        by = Deadline.after(STEP_SECONDS)
        return appraise(self.target, self.policy, self.pinned, by=by)

    def refused(self) -> set[Check]:
        return {finding.check for finding in self.look().verdict.refusals}

    def core(self, number: int, busy: Callable[[], object]) -> bool:
        part, at = PARTS[number % len(PARTS)], self.dice.randrange(1 << 16)
        by = Deadline.after(STEP_SECONDS)
        with tamper_of(self.target).core(part, busy=busy, by=by, at=at) as change:
            return self.told(change.what, Check.TEE_MEMORY)

    def enclave(self, number: int, busy: Callable[[], object]) -> bool:
        page, bits = spare_bits(self.data)
        by, bit = Deadline.after(STEP_SECONDS), self.dice.choice(bits)
        with tamper_of(self.target).enclave(page, bit, busy=busy, by=by) as change:
            return self.told(change.what, Check.ENCLAVE_MEMORY)

    def file(self, number: int, busy: Callable[[], object]) -> bool:
        at, bit = self.dice.randrange(len(self.data)), self.dice.randrange(8)
        spoilt = self.data[:at] + bytes([self.data[at] ^ 1 << bit]) + self.data[at + 1 :]
        self.put(spoilt)
        try:
            return self.told(f"bit {bit} of byte {at} of the enclave's file", Check.TA_FILES)
        finally:
            self.put(self.data)

    def put(self, data: bytes) -> None:
        self.target.shell.write(self.path, data, by=Deadline.after(STEP_SECONDS), mode=0o444)

    def told(self, what: str, check: Check) -> bool:
        refused = self.refused()
        names = ", ".join(sorted(one.value for one in refused)) or "nothing"
        print(f"  {what}: refused for {names}", flush=True)
        return check in refused


def measure(bench: Bench, rounds: int, busy: Callable[[], object]) -> Counter[str]:
    counted = Counter(core=0, ta=0, file=0, false_alarms=0)
    for number in range(rounds):
        began = time.monotonic()
        counted["core"] += bench.core(number, busy)
        counted["ta"] += bench.enclave(number, busy)
        counted["file"] += bench.file(number, busy)
        alarm = bench.refused()
        counted["false_alarms"] += bool(alarm)
        said = f"ALARM {sorted(one.value for one in alarm)}" if alarm else "good"
        seconds = time.monotonic() - began
        print(f"round {number + 1}/{rounds}: untouched {said}; {seconds:.1f} s", flush=True)
    return counted


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=20, help="of each kind (at least 1)")
    parser.add_argument("--serial", default="TB-EMU-BENCH", help="the emulated box to change")
    parser.add_argument("--seed", type=int, default=None, help="repeat the bits of an earlier run")
    options = parser.parse_args()
    if options.rounds < 1:
        parser.error("at least one round")
    seed = random.randrange(1 << 32) if options.seed is None else options.seed  # noqa: S311
    print(f"seed {seed}", flush=True)
    by = Deadline.after(OPENING_SECONDS)
    with open_target(
        serial=options.serial, by=by, progress=lambda line: print(line, flush=True)
    ) as target:
        devkit, key = target.firmware.devkit, target.firmware.ta_signing_key
        assert devkit and key
        data = build_enclave(SOURCE, devkit=devkit, key=key, by=Deadline.after(STEP_SECONDS))
        box, far = TrustBox(target), Deadline.after(3600.0 + 60.0 * options.rounds)
        box.enclave.install(SAMPLE, data, by=far)
        # The session keeps the instance whose memory is changed.
        with box.enclave.open(SAMPLE, by=far), tee_at_work(target, far) as busy:
            bench = Bench(target, data, random.Random(seed))  # noqa: S311
            counted = measure(bench, options.rounds, busy)
    print(json.dumps({**counted, "rounds": options.rounds, "seed": seed}))


if __name__ == "__main__":
    main()
