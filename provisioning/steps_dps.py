"""The step that registers the box with a provisioning service, by the key in its token."""

from __future__ import annotations

import json
from pathlib import Path

from harness.deadline import Deadline
from harness.errors import BadInput, IntegrityFailure
from provisioning.csr import registration_id
from provisioning.dps import DpsDevice
from provisioning.dps_answers import Assigned, parse_assigned
from provisioning.enrolling import dps_device
from provisioning.http_errors import ServiceRefused
from provisioning.private_files import read_bounded, write_durably
from provisioning.record import asserted, intended, observed
from provisioning.work import Work, need

_LONGEST_OPERATION = 500


class RegisterStep:
    """The service says that this box is assigned to a hub.

    One connection serves probe, act and confirm: one handshake, one signature in the TEE. The
    operation's id is beside the record (``dps-operation.json``) from the moment that it is known
    until its end, and a run that was stopped meanwhile polls it and begins nothing anew.
    """

    name, doing, seconds = "register", "registering by TLS with the key in the token", 180.0

    def __init__(self) -> None:
        self._device: DpsDevice | None = None
        self._assigned: Assigned | None = None

    def probe(self, work: Work, by: Deadline) -> str | None:
        found = self._known(work, by)
        if found is None:
            return None
        self._place(work).unlink(missing_ok=True)
        return f"{self._described(work, found)}, says the service"

    def act(self, work: Work, by: Deadline) -> None:
        try:
            self._assigned = self._reached(work, by).register(
                by=by, operation=self._begun(work), started=lambda begun: self._keep(work, begun)
            )
        except ServiceRefused:
            # That operation came to its end; once somebody let the box in, another one begins.
            self._place(work).unlink(missing_ok=True)
            raise

    def confirm(self, work: Work, by: Deadline) -> str:
        found = self._known(work, by)
        if found is None or self._assigned is None or found.hub != self._assigned.hub:
            raise IntegrityFailure(
                "the provisioning service said assigned and now knows nothing of it"
            )
        self._place(work).unlink(missing_ok=True)
        return f"{self._described(work, found)}, by a handshake with the key in the token"

    def _known(self, work: Work, by: Deadline) -> Assigned | None:
        found = self._reached(work, by).look_up(by=by)
        if found is None or found.status != "assigned":
            return None
        return parse_assigned(found, registration_id(work.box.target.serial))

    def _reached(self, work: Work, by: Deadline) -> DpsDevice:
        if self._device is None:
            self._device = work.held.enter_context(dps_device(work, by=by))
        return self._device

    @staticmethod
    def _place(work: Work) -> Path:
        return work.directory / "dps-operation.json"

    def _keep(self, work: Work, operation: str) -> None:
        kept = {**_whom(work), "operation": operation}
        write_durably(self._place(work), json.dumps(kept).encode())

    def _begun(self, work: Work) -> str:
        """The operation that an earlier run began with the same service; "" when there is none."""
        try:
            found = json.loads(read_bounded(self._place(work), 65536))
        except (BadInput, ValueError):
            return ""
        if not isinstance(found, dict) or {k: found.get(k) for k in _whom(work)} != _whom(work):
            return ""
        operation = found.get("operation")
        return operation[:_LONGEST_OPERATION] if isinstance(operation, str) else ""

    @staticmethod
    def _described(work: Work, found: Assigned) -> str:
        dps = need(work.plan.dps, "[enrollment.dps]")
        work.note(
            "enrollment",
            service=intended(dps.service or "station's own, not Microsoft's"),
            id_scope=intended(dps.id_scope or None),
            registration_id=observed(found.registration_id),
            # What the service says; that it was this key's handshake, the service verified.
            status=asserted("assigned"),
            hub=asserted(found.hub),
            device_id=asserted(found.device_id),
            group=asserted(found.group or None),
            etag=asserted(found.etag or None),
        )
        return f"{found.registration_id} is assigned to {found.hub}"


def _whom(work: Work) -> dict[str, str]:
    dps = need(work.plan.dps, "[enrollment.dps]")
    device = registration_id(work.box.target.serial)
    return {"service": dps.service, "id_scope": dps.id_scope, "registration_id": device}
