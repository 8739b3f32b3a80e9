"""The step that tells IoT Edge on the box who it is and where to register."""

from __future__ import annotations

import hashlib

from harness.deadline import Deadline
from harness.errors import IntegrityFailure
from provisioning.csr import registration_id
from provisioning.enrolling import dps_address
from provisioning.iotedge import (
    EdgeConfig,
    FileCertificate,
    IotEdge,
    without_pins,
)
from provisioning.iotedge_uri import Pkcs11Uri
from provisioning.record import observed
from provisioning.token import KeyPair
from provisioning.work import Work, need


def alone_with_its_label(work: Work, by: Deadline) -> None:
    """IoT Edge finds a key by its label and takes the first. Raises IntegrityFailure when the
    token has other keys of the device key's label.
    """
    key = need(work.key, "the key")
    found = work.box.keys.token.objects(by=by)
    other = sorted({i.hex() for kind, name, i in found if _is_other(kind, name, i, key)})
    if other:
        raise IntegrityFailure(
            f"the token has {1 + len(other)} keys labelled {key.label}, and IoT Edge may take any",
            hint="Look at them: trustbox keys evidence. Not the device key, and to be erased or"
            f" labelled anew: id {', '.join(other)} (trustbox keys erase).",
        )


def _is_other(kind: str, label: str, id: bytes, key: KeyPair) -> bool:
    return kind in ("private", "public") and label == key.label and id != key.id


def edge_of(work: Work) -> IotEdge:
    """IoT Edge's configuration on the box, where its layout has it."""
    return IotEdge(work.box.target.shell, path=_path(work))


def _path(work: Work) -> str:
    return work.box.target.layout.edge_config


class EdgeStep:
    """/etc/aziot/config.toml as the plan has it, applied where the box has aziotctl."""

    name, doing, seconds = "iotedge", "configuring IoT Edge", 120.0

    def probe(self, work: Work, by: Deadline) -> str | None:
        alone_with_its_label(work, by)
        config = self.config(work, by)
        edge = edge_of(work)
        if not edge.there(config, by=by) or edge.applied(by=by) is False:
            return None
        return f"{_path(work)} is as it must be{self._checked(work, config, by)}"

    def act(self, work: Work, by: Deadline) -> None:
        edge_of(work).apply(self.config(work, by), by=by)

    def confirm(self, work: Work, by: Deadline) -> str:
        config = self.config(work, by)
        edge = edge_of(work)
        if not edge.there(config, by=by):
            raise IntegrityFailure(f"the box does not show the {_path(work)} given to it")
        if edge.applied(by=by) is False:
            raise IntegrityFailure(f"the box does not show that aziotctl applied {_path(work)}")
        return f"{_path(work)} written, 0600{self._checked(work, config, by)}"

    @staticmethod
    def _checked(work: Work, config: EdgeConfig, by: Deadline) -> str:
        edge = edge_of(work)
        edge.check(by=by)
        applied = edge.applied(by=by)
        # Without its PIN: a digest of a text with one would let it be guessed.
        text = without_pins(config).render().reveal()
        work.note(
            "iotedge",
            file=observed(_path(work)),
            mode=observed("0600"),
            applied_by_aziotctl=observed(bool(applied)),
            sha256_without_pin=observed(hashlib.sha256(text).hexdigest()),
        )
        how = "aziotctl applied it" if applied else "the box has no aziotctl"
        return f", and is checked; {how}"

    @staticmethod
    def config(work: Work, by: Deadline) -> EdgeConfig:
        """What the plan and this box make of it."""
        edge, pins = need(work.plan.edge, "[iotedge]"), need(work.pins, "the PIN")
        endpoint, scope = dps_address(work, by=by)
        device = registration_id(work.box.target.serial)
        label, key = work.plan.token_label, need(work.key, "the key")
        return EdgeConfig(
            id_scope=scope,
            registration_id=device,
            certificate=FileCertificate(
                work.box.identity.chain_path,
                # By its label: iot-identity-service's URIs know no id.
                Pkcs11Uri(token=label, object=key.label, pin=pins.user),
            ),
            module=work.box.target.layout.pkcs11_module,
            base_slot=Pkcs11Uri(token=label, pin=pins.user),
            hostname=edge.hostname or device,
            endpoint=f"{endpoint}/",
        )
