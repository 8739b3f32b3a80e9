"""The first step and the last one: which box this is, and the record of what was found."""

from __future__ import annotations

import hashlib
import re
from importlib import metadata

from harness.capability import Capability
from harness.deadline import Deadline
from harness.errors import DeviceRefused, IntegrityFailure
from harness.target import EvidenceLevel
from harness.tee_supplicant import demand_lasting, storage_seen
from provisioning import info
from provisioning.incidents import demand_none
from provisioning.journal import now
from provisioning.private_files import write_durably
from provisioning.record import Fact, How, asserted, intended, observed, render, save, value
from provisioning.unfinished import forget_unfinished
from provisioning.work import Work, need


class ReachStep:
    """The box answers, can do what the plan needs, and is the one that an earlier record is of."""

    name, doing, seconds = "reach", "asking the box who it is", 60.0

    def look(self, work: Work, by: Deadline) -> str:
        target = work.box.target
        needed = {
            Capability.TEE,
            Capability.PKCS11,
            Capability.PKCS11_REMOTE,
            Capability.TA_LOAD,
            Capability.ATTESTATION,
        }
        if work.plan.enclave is None:
            needed.add(Capability.TA_DEVKIT)
        if work.plan.golden is None:
            needed.add(Capability.GOLDEN)
        target.require(*needed)
        lasts = self._lasting(work, by)
        facts = work.box.info.look(by=by)
        told = facts["serial number"]
        if told not in (None, target.serial):
            raise IntegrityFailure(
                f"the box at {target.name} says that it is {told}, not {target.serial}",
                hint="The label, the target's configuration or the cabling is of another box.",
            )
        work.note("info", **{_key(f.name): _fact(f) for f in facts if f.value is not None})
        slots = work.box.keys.tokens(by=by)
        if all(slot.label != work.plan.token_label for slot in slots):
            demand_none(work.station, target.serial, but="its token is blank")
        found = {s.tee_uuid for s in slots if s.tee_uuid is not None}
        if len(found) != 1:
            raise DeviceRefused(f"{target.serial} shows {len(found)} TEE UUIDs in its slots, not 1")
        uuid = work.tee_uuid = found.pop()
        work.note(
            "box",
            serial=intended(target.serial) if told is None else asserted(told),
            target=intended(target.name),
            tee_uuid=asserted(str(uuid)),
            capabilities=observed(sorted(c.value for c in target.capabilities)),
            firmware_version=intended(target.firmware.version),
            image_digest=intended(target.firmware.image_digest),
        )
        return f"{target.serial} answers, TEE UUID {uuid}{self._compared(work)}{lasts}"

    @staticmethod
    def _lasting(work: Work, by: Deadline) -> str:
        """What is made in a storage that lies in RAM is gone at the next boot: so nothing is."""
        target = work.box.target
        place = storage_seen(target.shell, target.layout, by=by).place
        demand_lasting(place)
        work.note("box", tee_storage=observed({"path": place.path, "lasts": place.lasts}))
        return "" if place.lasts else f"; whether its storage lasts is not known: {place.why}"

    @staticmethod
    def _compared(work: Work) -> str:
        """An emulated box may be made anew under its serial; a real one has one TEE for life."""
        before = value(work.earlier, "box", "tee_uuid")
        if before in (None, str(work.tee_uuid)):
            return ""
        if work.box.target.evidence_level is not EvidenceLevel.FUNCTIONAL:
            raise IntegrityFailure(
                f"{work.box.target.serial} had TEE UUID {before} when its record was written,"
                f" and now has {work.tee_uuid}",
                hint="Either the label is on another box or its TEE lost its key. Nothing was"
                " done; the earlier record is untouched.",
            )
        return " (another one than in the earlier record, which is kept beside the new one)"


class RecordStep:
    """The record, with everything that the steps noted."""

    name, doing, seconds = "record", "writing the record", 30.0

    def look(self, work: Work, by: Deadline) -> str:
        work.note(
            "tool",
            version=observed(metadata.version("trustbox-harness")),
            run=observed(work.run),
            finished=observed(now()),
            plan=intended(work.plan.text.decode()),
            plan_sha256=intended(hashlib.sha256(work.plan.text).hexdigest()),
            plan_sha256_before=intended(value(work.earlier, "tool", "plan_sha256")),
            plan_beside=intended(str(work.plan.beside.absolute())),
        )
        path, level = work.directory / "record.json", work.box.target.evidence_level
        if work.earlier is not None:
            before = value(work.earlier, "box", "tee_uuid")
            if before != str(need(work.tee_uuid, "the TEE UUID")):
                kept = work.directory / f"record-{before}.json"
                write_durably(kept, path.read_bytes(), mode=0o644)
        # One file, plan and all, so that a cut leaves the old record or the new one.
        save(path, work.facts, level)
        write_durably(work.directory / "plan.toml", work.plan.text, mode=0o644)
        forget_unfinished(work.directory)
        return f"{len(render(work.facts, level))} octets in {path}"


def _key(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")


def _fact(found: info.Fact) -> Fact:
    how = How.OBSERVED if found.seen is info.Seen.OBSERVED else How.ASSERTED
    return Fact(how, found.value)
