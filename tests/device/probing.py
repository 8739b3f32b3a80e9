"""A box that is asked anew what it can do, as opening it would ask."""

from __future__ import annotations

from dataclasses import replace

from harness.capability import Capability
from harness.deadline import Deadline
from harness.errors import Misuse
from harness.history import History
from harness.holding import Endpoint, Holding
from harness.probe import OF_ITS_STORAGE, OF_THE_TEE, probe
from harness.target import Target
from harness.vitals import Vitals


def asked_again(target: Target, *, by: Deadline) -> Target:
    """``target`` with what its TEE now shows; what its rig and this station give it stays."""
    assert target.helpers is not None
    holding = Holding(
        serial=target.serial,
        rig=target.rig,
        endpoint=_nowhere,
        consoles=target.consoles,
        vitals=Vitals(target.name),
        layout=target.layout,
        firmware=target.firmware,
    )
    probed = probe(target.shell, target.helpers, holding, History(), by=by)
    of_the_box = {*OF_THE_TEE, *OF_ITS_STORAGE, Capability.AGENT}
    kept = target.capabilities - of_the_box
    return replace(target, capabilities=kept | (probed.found & of_the_box), unknown=probed.unknown)


def _nowhere() -> Endpoint:
    raise Misuse("this box is open already")
