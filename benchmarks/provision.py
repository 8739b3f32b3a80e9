"""Time per step of a provisioning run, and how much of it is the TEE.

    python -m benchmarks.provision [--runs 3] [--serial TB-EMU-BENCH] [--plan FILE]

Each run provisions a box that was restored to its delivered state, with a new station whose CA is
there already. What goes over the box's streams is counted on its way, between our code and SSH:

- PKCS#11: the calls that ``p11-kit remote`` carries into the token (its messages), bytes each way,
  round trips (changes of direction), and the time from a request's last byte to its answer;
- TEE client: the same for sessions with TAs and the attestation PTA.

``tee_s`` is that time without the link: a round trip to the box that never enters the secure world
(the TEE driver's version) is measured before each run and taken off each wait. It is a lower bound:
what OpenSSL asks of the token on the box itself (the signature in ``register``'s handshake) does
not cross the link and is not in it; how long OpenSSL was waited for is ``tls_waited_s``. The last
line is one JSON object: medians ``total_s``, ``tee_s``, and ``steps``.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from benchmarks.provision_counts import CountingHelpers, CountingStreams, Tally
from harness.deadline import Deadline
from harness.target import Target
from harness.targets import open_target
from harness.tee import TeeClient
from provisioning.plan import Plan, example_plan, parse_plan, read_plan
from provisioning.run import StepReport, Watcher, provision
from provisioning.station import Station
from provisioning.steps import EffectStep, LookStep

LEFT_OUT = "without the token's work inside TLS handshakes that the box's OpenSSL makes"
BUILD_SECONDS = 1800.0
RESTORE_SECONDS = 120.0
PINGS = 20


class Clock(Watcher):
    """Tells the tally which step it is, and people how it goes."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self.seconds: dict[str, float] = {}

    def started(self, step: EffectStep | LookStep) -> None:
        self._tally.step = step.name

    def ended(self, report: StepReport) -> None:
        self.seconds[report.name] = report.seconds
        self._tally.step = "between"
        print(f"  {report.name:12} {report.outcome.value:8} {report.seconds:7.3f} s", flush=True)


def link_seconds(target: Target) -> float:
    """The median of round trips to the box that its kernel answers."""
    times = []
    with TeeClient.open(target, by=Deadline.after(60)) as client:
        for _ in range(PINGS):
            began = time.monotonic()
            client.version(by=Deadline.after(60))
            times.append(time.monotonic() - began)
    return statistics.median(times)


def measure(target: Target, plan: Plan, station: Station) -> dict[str, object]:
    """One run on a box in its delivered state."""
    target.rig.restore(by=Deadline.after(RESTORE_SECONDS))
    link = link_seconds(target)
    tally = Tally()
    assert target.streams is not None
    assert target.helpers is not None
    streams = CountingStreams(target.streams, tally, target.layout.p11_kit)
    helpers = CountingHelpers(target.helpers, tally)
    clock = Clock(tally)
    with tempfile.TemporaryDirectory() as records:
        began = time.monotonic()
        counted = replace(target, streams=streams, helpers=helpers)
        provision(counted, plan, station, watcher=clock, records=Path(records))
        total = time.monotonic() - began
    steps = {name: _step(name, seconds, tally, link) for name, seconds in clock.seconds.items()}
    for name, kind in (("key", "pkcs11"), ("attest", "tee")):
        if name in steps and not tally.counts[name, kind].calls:
            raise RuntimeError(f"no {kind} call of {name} was counted: this measured nothing")
    tee = sum(float(str(step["tee_s"])) for step in steps.values())
    return {"total_s": total, "tee_s": tee, "link_s": link, "steps": steps}


def _step(name: str, seconds: float, tally: Tally, link: float) -> dict[str, object]:
    token, tee, tls = (tally.counts[name, kind] for kind in ("pkcs11", "tee", "tls"))
    inside = sum(max(0.0, c.waited - link * c.round_trips) for c in (token, tee))
    found: dict[str, object] = {
        "s": round(seconds, 3),
        "tee_s": round(inside, 3),
        "pkcs11_calls": token.calls,
        "pkcs11_round_trips": token.round_trips,
        "pkcs11_sent": token.sent,
        "pkcs11_received": token.received,
        "tee_calls": tee.calls,
    }
    if tls.round_trips:
        found["tls_waited_s"] = round(tls.waited, 3)
    return found


def show(run: dict[str, object]) -> None:
    steps = run["steps"]
    assert isinstance(steps, dict)
    print(
        f"{'step':12} {'s':>8} {'TEE s':>8} {'PKCS#11':>8} {'trips':>6} {'sent':>8} {'got':>8}"
        f" {'TEE calls':>9}"
    )
    for name, step in steps.items():
        print(
            f"{name:12} {step['s']:8.3f} {step['tee_s']:8.3f} {step['pkcs11_calls']:8}"
            f" {step['pkcs11_round_trips']:6} {step['pkcs11_sent']:8} {step['pkcs11_received']:8}"
            f" {step['tee_calls']:9}"
        )
    calls, trips = (
        sum(step[name] for step in steps.values())
        for name in ("pkcs11_calls", "pkcs11_round_trips")
    )
    print(f"{'in all':12} {run['total_s']:8.3f} {run['tee_s']:8.3f} {calls:8} {trips:6}")
    print(f"PKCS#11, trips, sent, got: calls, round trips and bytes over p11-kit. {bound(steps)}")
    sys.stdout.flush()


def bound(steps: Mapping[str, Mapping[str, object]]) -> str:
    """What ``tee_s`` leaves out, and in which steps."""
    inside = [
        f"{name} (waited {step['tls_waited_s']} s for OpenSSL in all)"
        for name, step in steps.items()
        if "tls_waited_s" in step
    ]
    where = f": {', '.join(inside)}" if inside else ""
    return f"TEE s is a lower bound: {LEFT_OUT}{where}."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=3, help="runs (at least 1)")
    parser.add_argument("--serial", default="TB-EMU-BENCH", help="the emulated box to measure")
    parser.add_argument("--target", default="emulator", help="from targets.toml; must restore")
    parser.add_argument("--plan", type=Path, help="a plan; default: the example")
    options = parser.parse_args()
    if options.runs < 1:
        parser.error("a median needs at least one measurement")
    if options.plan:
        plan = read_plan(options.plan)
    else:
        plan = parse_plan(example_plan().encode(), where="the example", beside=Path.cwd())
    runs = []
    with open_target(
        options.target,
        serial=options.serial,
        fresh=True,
        lasting=None,
        by=Deadline.after(BUILD_SECONDS),
        config=None,
        progress=lambda line: print(line, flush=True),
    ) as target:
        for number in range(1, options.runs + 1):
            with tempfile.TemporaryDirectory() as state:
                station = Station(Path(state))
                with station.authority(make=True, by=Deadline.after(60)):
                    print(f"run {number}/{options.runs}; the station's CA is set up", flush=True)
                runs.append(measure(target, plan, station))
            show(runs[-1])
    middle = sorted(runs, key=lambda run: float(str(run["total_s"])))[(len(runs) - 1) // 2]
    result = {
        "total_s": _median(runs, "total_s"),
        "tee_s": _median(runs, "tee_s"),
        "tee_s_is": f"a lower bound: {LEFT_OUT}",
        "link_s": _median(runs, "link_s"),
        "totals": [round(float(str(run["total_s"])), 3) for run in runs],
        "steps": middle["steps"],
    }
    print(json.dumps(result))


def _median(runs: list[dict[str, object]], name: str) -> float:
    return round(statistics.median(float(str(run[name])) for run in runs), 4)


if __name__ == "__main__":
    main()
