"""The steps that make the box's key: token, key, and the proof of what kind of key it is."""

from __future__ import annotations

from pathlib import Path

from harness.deadline import Deadline
from harness.errors import IntegrityFailure, Misuse
from provisioning.pins import Pins
from provisioning.record import asserted, intended, observed
from provisioning.token_state import TokenFlags
from provisioning.work import Work, need


def known_pins(work: Work) -> Pins:
    """The PINs that this station has for the box's token. Raises BadInput when it has none."""
    return Pins.read(TokenStep.file(work))


class TokenStep:
    """A token of the plan's label, with PINs that this station knows."""

    name, doing, seconds = "token", "initialising the token in the TEE", 120.0

    def probe(self, work: Work, by: Deadline) -> str | None:
        label = work.plan.token_label
        state = work.box.keys.state(label, by=by)
        file = self.file(work)
        if work.plan.pins is not None or file.exists():
            work.pins = Pins.read(file)
        elif state is not None:
            raise Misuse(
                f"the token {label} of {work.box.target.serial} was initialised before, and this"
                f" station has no PIN for it",
                hint=f"Name the file with its PINs in the plan's [secrets], or put it at {file}.",
            )
        if state is None or not state.has_user_pin:
            return None
        return f"token {label} is initialised and {self._log_in(work, by)}"

    def act(self, work: Work, by: Deadline) -> None:
        # Durable before use: a token whose PINs nobody knows is lost.
        pins = work.pins = work.pins or Pins.make(self.file(work))
        label = work.plan.token_label
        work.box.keys.initialise(label, so_pin=pins.so, user_pin=pins.user, by=by)

    def confirm(self, work: Work, by: Deadline) -> str:
        return f"token {work.plan.token_label} initialised, and {self._log_in(work, by)}"

    @staticmethod
    def file(work: Work) -> Path:
        uuid = need(work.tee_uuid, "the TEE UUID")
        return work.plan.pins or work.station.pins(work.box.target.serial, uuid)

    def _log_in(self, work: Work, by: Deadline) -> str:
        pins = need(work.pins, "the PIN")
        state = work.box.keys.login(work.plan.token_label, pins.user, by=by)
        work.note(
            "token",
            label=asserted(state.label),
            slot=asserted(state.slot),
            serial=asserted(state.serial),
            model=asserted(state.model),
            user_pin_set=asserted(TokenFlags.USER_PIN_INITIALIZED in state.flags),
            pin_accepted=observed(True),
        )
        return "opens with its PIN"


class KeyStep:
    """The device key, made inside the token."""

    name, doing, seconds = "key", "making the device key inside the TEE", 120.0

    def probe(self, work: Work, by: Deadline) -> str | None:
        work.key = work.box.keys.find(work.plan.key_purpose, by=by)
        return None if work.key is None else f"{self._described(work)} is in the token"

    def act(self, work: Work, by: Deadline) -> None:
        work.box.keys.generate(work.plan.key_purpose, by=by)

    def confirm(self, work: Work, by: Deadline) -> str:
        work.key = work.box.keys.find(work.plan.key_purpose, by=by)
        if work.key is None:
            raise IntegrityFailure("the token does not show the key that it has just generated")
        return f"{self._described(work)} generated in the token"

    @staticmethod
    def _described(work: Work) -> str:
        key = need(work.key, "the key")
        work.note(
            "key",
            purpose=intended(work.plan.key_purpose),
            algorithm=observed("EC P-256"),
            cka_id=asserted(key.id.hex()),
            label=asserted(key.label),
            spki_sha256=asserted(key.spki_sha256),
        )
        return f"EC P-256 key {work.plan.key_purpose} ({key.spki_sha256[:16]}…)"


class KeyProofStep:
    """Fresh evidence of the key, on every run."""

    name, doing, seconds = "key-proof", "having the key prove itself", 120.0

    def look(self, work: Work, by: Deadline) -> str:
        found = work.box.keys.evidence(need(work.key, "the key"), by=by)
        work.key_evidence = found
        work.note(
            "key",
            attributes=asserted(dict(found.asserted)),
            probes=observed(
                [{"tried": p.tried, "answer": p.answer, "refused": p.refused} for p in found.probes]
            ),
            challenge=observed(found.challenge.hex()),
            signature=observed(found.signature.hex()),
            signature_verified=observed(found.answered),
            spki=asserted(found.key.spki.hex()),
            module=intended(found.module),
            module_sha256=asserted(found.module_sha256),
        )
        if faults := found.faults():
            raise IntegrityFailure(
                f"the key of {work.box.target.serial} is not what it must be: {faults[0]}",
                hint="; ".join(faults[1:]),
            )
        return "the key signed a fresh challenge, and the token withholds its value"
