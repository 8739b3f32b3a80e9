"""The step that tells IoT Edge on the box who it is and where to register."""

from __future__ import annotations

import hashlib
import posixpath

from harness.config_secret import SecretFile
from harness.deadline import Deadline
from harness.errors import DeviceRefused, IntegrityFailure
from harness.part_file import clear_parts
from harness.target import Shell
from provisioning.certificates import pem
from provisioning.csr import registration_id
from provisioning.enrolling import dps_address
from provisioning.iotedge import (
    EdgeConfig,
    EstCertificate,
    FileCertificate,
    IotEdge,
    without_pins,
)
from provisioning.iotedge_uri import Pkcs11Uri
from provisioning.plan_edge import EdgeEst
from provisioning.record import observed
from provisioning.token import KeyPair
from provisioning.trusted_files import certificates_in
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
    return IotEdge(_shell(work), path=_path(work))


def _path(work: Work) -> str:
    return work.box.target.layout.edge_config


class EdgeStep:
    """/etc/aziot/config.toml as the plan has it, applied where the box has aziotctl."""

    name, doing, seconds = "iotedge", "configuring IoT Edge", 120.0

    def probe(self, work: Work, by: Deadline) -> str | None:
        alone_with_its_label(work, by)
        config = self.config(work, by)
        edge = edge_of(work)
        if not edge_there(work, config, by) or edge.applied(by=by) is False:
            return None
        return f"{_path(work)} is as it must be{self._checked(work, config, by)}"

    def act(self, work: Work, by: Deadline) -> None:
        config = self.config(work, by)
        roots = _roots(work)
        if roots and not _roots_there(work, roots, by):
            clear_parts(_shell(work), work.box.target.layout.identity_directory, make=True, by=by)
            _shell(work).write(_roots_path(work), roots, by=by, mode=0o644)
        edge_of(work).apply(config, by=by)

    def confirm(self, work: Work, by: Deadline) -> str:
        config = self.config(work, by)
        edge = edge_of(work)
        if not edge_there(work, config, by):
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
        installed = FileCertificate(
            work.box.identity.chain_path,
            # By its label: iot-identity-service's URIs know no id.
            Pkcs11Uri(token=label, object=key.label, pin=pins.user),
        )
        return EdgeConfig(
            id_scope=scope,
            registration_id=device,
            certificate=installed if edge.est is None else _by_est(work, edge.est, installed),
            module=work.box.target.layout.pkcs11_module,
            base_slot=Pkcs11Uri(token=label, pin=pins.user),
            hostname=edge.hostname or device,
            endpoint=f"{endpoint}/",
        )


def _by_est(work: Work, est: EdgeEst, installed: FileCertificate) -> EstCertificate:
    login = (est.login[0], SecretFile(est.login[1])()) if est.login else None
    return EstCertificate(
        est.url,
        registration_id(work.box.target.serial),
        trusted=(_roots_path(work),) if est.trusted else (),
        bootstrap=None if login else installed,
        login=login,
        rotate_key=est.rotate_key,
    )


def edge_there(work: Work, config: EdgeConfig, by: Deadline) -> bool:
    """Whether the box has exactly this file, 0600, and the roots that it names."""
    roots = _roots(work)
    if roots and not _roots_there(work, roots, by):
        return False
    return edge_of(work).there(config, by=by)


def _roots(work: Work) -> bytes:
    """The certificates of the plan's ``trusted``, PEM, and nothing else of that file; b"": none."""
    edge = need(work.plan.edge, "[iotedge]")
    if edge.est is None or edge.est.trusted is None:
        return b""
    return pem(*certificates_in(edge.est.trusted))


def _roots_there(work: Work, roots: bytes, by: Deadline) -> bool:
    try:
        return _shell(work).read(_roots_path(work), by=by) == roots
    except DeviceRefused:
        return False


def _roots_path(work: Work) -> str:
    return posixpath.join(work.box.target.layout.identity_directory, "edge-est-roots.pem")


def _shell(work: Work) -> Shell:
    return work.box.target.shell
