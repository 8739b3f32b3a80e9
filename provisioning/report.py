"""What is now true of a box, told to people and to programs."""

from __future__ import annotations

from harness.target import EvidenceLevel
from provisioning.record import PROVES
from provisioning.run import Outcome, Provisioned


def as_data(done: Provisioned) -> dict[str, object]:
    """For ``--json``: the outcome of each step, and where everything is."""
    target = done.work.box.target
    return {
        "serial": target.serial,
        "target": target.name,
        "tee_uuid": str(done.work.tee_uuid),
        "evidence_level": target.evidence_level.value,
        "verdict_ok": done.work.verdict is not None and done.work.verdict.ok,
        "differs": list(done.work.differs),
        "changed": any(r.outcome is Outcome.DONE for r in done.reports),
        "record": str(done.directory / "record.json"),
        "chain": str(done.directory / "chain.pem"),
        "certificate": str(done.directory / "device.pem"),
        "steps": [
            {
                "name": r.name,
                "outcome": r.outcome.value,
                "said": r.said,
                "seconds": round(r.seconds, 3),
            }
            for r in done.reports
        ],
    }


def as_text(done: Provisioned) -> str:
    """The last words of a run that went through."""
    target = done.work.box.target
    changed = [r.name for r in done.reports if r.outcome is Outcome.DONE]
    lines = [f"\nWhat is now true of {target.serial}:"]
    lines += [f"  {r.said}" for r in done.reports if r.name != "record"]
    if changed:
        lines.append(f"Done in this run: {', '.join(changed)}.")
    else:
        so = "what differs is told below" if done.work.differs else "all of it was so already"
        lines.append(f"Nothing was done in this run: {so}.")
    lines += [f"It differs from the plan: {said}." for said in done.work.differs]
    lines.append(f"Record: {done.directory / 'record.json'}")
    lines.append(
        f"Check the chain: cd {done.directory} && openssl verify -CAfile chain.pem device.pem"
    )
    if target.evidence_level is EvidenceLevel.FUNCTIONAL:
        lines.append(f"Evidence level functional. {PROVES[EvidenceLevel.FUNCTIONAL]}")
    return "\n".join(lines)
