"""The steps that make the box's key: token, key, and the proof of what kind of key it is."""

from __future__ import annotations

from pathlib import Path

from harness.deadline import Deadline
from harness.errors import IntegrityFailure, Misuse
from provisioning.certified import judge_key, judge_token
from provisioning.key_rotation import generations, in_use
from provisioning.pin_sources import PinSource
from provisioning.pins import Pins
from provisioning.plan_pins import KeptPins, planned_source
from provisioning.record import Fact, asserted, intended, observed, value
from provisioning.token_public import KeyPair
from provisioning.token_secrets import SecretKey, SecretProfile
from provisioning.token_state import TokenFlags
from provisioning.work import Work, need


def known_pins(work: Work, *, by: Deadline) -> Pins:
    """The PINs of the box's token, as the plan says. Raises BadInput when there are none, Misuse
    while a change of those that the station keeps is pending.
    """
    source = pin_source(work) or KeptPins(TokenStep.file(work))
    return source.pins(work.box.target.serial, work.tee_uuid, by=by)


class TokenStep:
    """A token of the plan's label, with PINs that this station knows."""

    name, doing, seconds = "token", "initialising the token in the TEE", 120.0

    def probe(self, work: Work, by: Deadline) -> str | None:
        label = work.plan.token_label
        judge_token(work, by)
        state = work.box.keys.state(label, by=by)
        file = self.file(work)
        if pin_source(work) is not None:
            work.pins = known_pins(work, by=by)
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
        """Where the station keeps the box's PINs."""
        return work.station.pins(work.box.target.serial, need(work.tee_uuid, "the TEE UUID"))

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


def pin_source(work: Work) -> PinSource | None:
    """What the plan takes PINs from; None where the station has still to make them."""
    uuid = need(work.tee_uuid, "the TEE UUID")
    return planned_source(work.plan, work.station, work.box.target.serial, uuid)


class KeyStep:
    """The device key, made inside the token."""

    name, doing, seconds = "key", "making the device key inside the TEE", 300.0

    def probe(self, work: Work, by: Deadline) -> str | None:
        work.key = in_use(generations(work.box.keys, work.plan.key_purpose, by=by))
        judge_key(work, work.key, by)
        return None if work.key is None else f"{self._described(work)} is in the token"

    def act(self, work: Work, by: Deadline) -> None:
        plan = work.plan
        made, _ = work.box.keys.generate(plan.key_purpose, plan.key_profile, by=by)
        work.note("key", template=intended(made.template))

    def confirm(self, work: Work, by: Deadline) -> str:
        work.key = in_use(generations(work.box.keys, work.plan.key_purpose, by=by))
        if work.key is None:
            raise IntegrityFailure("the token does not show the key that it has just generated")
        return f"{self._described(work)} generated in the token"

    @staticmethod
    def _described(work: Work) -> str:
        key, wanted = need(work.key, "the key"), work.plan.key_profile
        if key.profile is not wanted:
            raise IntegrityFailure(
                f"key {work.plan.key_purpose} of {work.box.target.serial} is {key.profile.value},"
                f" and the plan wants {wanted.value}",
                hint="Give the key another purpose in the plan, or rotate it: trustbox keys rotate."
                " Nothing was changed.",
            )
        if "template" not in work.facts.get("key", {}):
            # Only who made the key knows: an earlier run's record says it.
            same = value(work.earlier, "key", "cka_id") == key.id.hex()
            work.note(
                "key", template=intended(value(work.earlier, "key", "template") if same else None)
            )
        before = value(work.earlier, "key", "spki_sha256")
        same_id = value(work.earlier, "key", "cka_id") == key.id.hex()
        replaced = before if same_id and before != key.spki_sha256 else None
        work.note(
            "key",
            # The box's token was wiped, or it has another one: the old certificates are to revoke.
            replaces_spki_sha256=observed(replaced),
            purpose=intended(work.plan.key_purpose),
            algorithm=observed(key.profile.value),
            cka_id=asserted(key.id.hex()),
            label=asserted(key.label),
            spki_sha256=asserted(key.spki_sha256),
        )
        told = f"{key.profile.value} key {work.plan.key_purpose} ({key.spki_sha256[:16]}…)"
        return f"{told}, not the earlier record's," if replaced else told


class KeyProofStep:
    """Fresh evidence of the key, on every run."""

    name, doing, seconds = "key-proof", "having the key prove itself", 120.0

    def look(self, work: Work, by: Deadline) -> str:
        key = need(work.key, "the key")
        found = work.box.keys.evidence(key, by=by)
        work.key_evidence = found
        work.note(
            "key",
            attributes=asserted(dict(found.asserted)),
            probes=observed([probe.to_dict() for probe in found.probes]),
            challenge=observed(found.challenge.hex()),
            signature=observed(found.signature.hex()),
            signature_verified=observed(found.answered),
            spki=asserted(key.spki.hex()),
            verdict=observed(found.verdict.value),
            ta_file_sha256=asserted(found.code.ta_file_sha256),
            module=intended(found.module),
            module_sha256=asserted(found.module_sha256),
        )
        if faults := found.faults():
            raise IntegrityFailure(
                f"the key of {work.box.target.serial} is not what it must be: {faults[0]}",
                hint="; ".join(faults[1:]),
            )
        return "the key signed a fresh challenge, and the token withholds its value"


class MoreKeysStep:
    """The plan's other keys, each with fresh evidence on every run."""

    name, doing, seconds = "keys", "making the plan's other keys", 300.0

    def probe(self, work: Work, by: Deadline) -> str | None:
        if any(self._found(work, purpose, by) is None for purpose in work.plan.keys):
            return None
        return f"{self._proven(work, by)} are in the token"

    def act(self, work: Work, by: Deadline) -> None:
        for purpose, profile in work.plan.keys.items():
            if self._found(work, purpose, by) is not None:
                continue
            if isinstance(profile, SecretProfile):
                work.box.keys.generate_secret(purpose, profile, by=by)
            else:
                work.box.keys.generate(purpose, profile, by=by)

    def confirm(self, work: Work, by: Deadline) -> str:
        return f"{self._proven(work, by)} made in the token"

    @staticmethod
    def _found(work: Work, purpose: str, by: Deadline) -> KeyPair | SecretKey | None:
        """A pair's newest generation: nobody certifies it, and the first may be retired."""
        if isinstance(work.plan.keys[purpose], SecretProfile):
            return work.box.keys.find_secret(purpose, by=by)
        there = generations(work.box.keys, purpose, by=by)
        return there[-1].key if there else None

    def _proven(self, work: Work, by: Deadline) -> str:
        facts: dict[str, Fact] = {}
        code = work.box.keys.code(by=by)
        for purpose, profile in work.plan.keys.items():
            key = self._found(work, purpose, by)
            if key is None or key.profile is not profile:
                there = key.profile.value if key else "not there"
                raise IntegrityFailure(
                    f"key {purpose} of {work.box.target.serial} is {there}, and the plan wants"
                    f" {profile.value}",
                    hint="Write what is there into the plan's [keys], or rotate it: trustbox keys"
                    f" rotate {purpose} --key-only --profile {profile.value}."
                    if isinstance(key, KeyPair)
                    else "",
                )
            found = work.box.keys.evidence(key, code=code, by=by)
            facts[purpose] = observed(found.to_dict())
            if faults := found.faults():
                raise IntegrityFailure(
                    f"key {purpose} of {work.box.target.serial} is {found.verdict.value}:"
                    f" {faults[0]}",
                    hint="; ".join(faults[1:]),
                )
        work.note("keys", **facts)
        return ", ".join(f"{purpose} ({p.value})" for purpose, p in work.plan.keys.items())
