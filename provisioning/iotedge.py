"""``/etc/aziot/config.toml``, IoT Edge's super-config: rendered, checked, put on a box, applied.

The file names the key by a ``pkcs11:`` URI with its PIN in clear (iot-identity-service reads it
from nowhere else), so it is 0600 and its text is a Secret here.
"""

from __future__ import annotations

import posixpath
import re
import tomllib
from dataclasses import dataclass, replace

from harness.deadline import Deadline
from harness.errors import BadInput, DeviceRefused, IntegrityFailure, Misuse
from harness.part_file import clear_parts
from harness.secret import Secret
from harness.shown import HIDDEN, shown
from harness.target import Shell
from provisioning.dps import GLOBAL_ENDPOINT
from provisioning.dps_answers import checked_id_scope, checked_registration_id
from provisioning.iotedge_toml import table, tables
from provisioning.iotedge_uri import Pkcs11Uri

CONFIG_PATH = "/etc/aziot/config.toml"


@dataclass(frozen=True, slots=True)
class FileCertificate:
    """The device's certificate is a file on the box, put there by us (PEM chain, leaf first)."""

    path: str
    key: Pkcs11Uri


@dataclass(frozen=True, slots=True)
class EstCertificate:
    """The box itself gets its certificate by EST, and renews it.

    It shows who it is with ``bootstrap`` (a certificate that it has), or with ``login``.
    ``rotate_key``: a new key at each renewal; for CA (group) enrollments only: an individual one
    knows one certificate, and a device that renews locks itself out.
    """

    url: str
    common_name: str
    trusted: tuple[str, ...] = ()
    bootstrap: FileCertificate | None = None
    login: tuple[str, Secret] | None = None
    rotate_key: bool = True
    threshold: str = "80%"
    retry: str = "4%"


@dataclass(frozen=True, slots=True)
class EdgeConfig:
    """What a box needs to know to register itself. ``module`` is the box's PKCS#11 library.

    ``base_slot`` is where IoT Edge makes keys of its own; its PIN is there in clear, too.
    """

    id_scope: str
    registration_id: str
    certificate: FileCertificate | EstCertificate
    module: str
    base_slot: Pkcs11Uri
    hostname: str = ""
    endpoint: str = GLOBAL_ENDPOINT + "/"
    trust_bundle: str = ""

    def render(self) -> Secret:
        """The file's octets; the same for the same values. Raises Misuse for what cannot be."""
        text = "\n".join(_render(self))
        tomllib.loads(text)  # what we wrote is TOML, whatever the values were
        return Secret(text.encode())


def _render(config: EdgeConfig) -> list[str]:
    id_scope = checked_id_scope(config.id_scope)
    device = checked_registration_id(config.registration_id)
    if not config.endpoint.startswith("https://"):
        raise Misuse("the provisioning service's address must begin with https://")
    _absolute(config.module)
    top: dict[str, object] = {}
    if config.hostname:
        if not re.fullmatch(r"[a-z0-9]([a-z0-9.-]{0,62}[a-z0-9])?", config.hostname):
            raise Misuse(f"{config.hostname[:80]!r} is no host name in lower case")
        top["hostname"] = config.hostname
    if config.trust_bundle:
        top["trust_bundle_cert"] = _file_uri(config.trust_bundle)
    lines = ["# Made by trustbox: changes by hand are lost. Holds a PIN: mode 0600."]
    lines += table("", top)
    provisioning = {"source": "dps", "global_endpoint": config.endpoint, "id_scope": id_scope}
    lines += table("provisioning", provisioning)
    attestation: dict[str, object] = {"method": "x509", "registration_id": device}
    match config.certificate:
        case FileCertificate() as file:
            attestation["identity_cert"] = _file_uri(file.path)
            attestation["identity_pk"] = file.key.text(with_pin=True)
            lines += table("provisioning.attestation", attestation)
        case EstCertificate() as est:
            lines += table("provisioning.attestation", attestation)
            lines += tables(_est(est))
    lines += table(
        "aziot_keys",
        {
            "pkcs11_lib_path": config.module,
            "pkcs11_base_slot": config.base_slot.text(with_pin=True),
        },
    )
    return lines


def _est(est: EstCertificate) -> dict[str, dict[str, object]]:
    if not est.url.startswith("https://"):
        raise Misuse("the EST server's address must begin with https://")
    if (est.bootstrap is None) == (est.login is None):
        raise Misuse("EST needs a bootstrap certificate or a login, one of them")
    for share in (est.threshold, est.retry):
        if not re.fullmatch(r"[1-9][0-9]?%", share):
            raise Misuse(f"{share[:20]!r} is no share of a certificate's life, such as 80%")
    identity = "provisioning.attestation.identity_cert"
    auth: dict[str, object] = {}
    if est.bootstrap is not None:
        auth["bootstrap_identity_cert"] = _file_uri(est.bootstrap.path)
        auth["bootstrap_identity_pk"] = est.bootstrap.key.text(with_pin=True)
    if est.login is not None:
        auth["username"], auth["password"] = est.login[0], est.login[1].reveal().decode()
    renewal = {"rotate_key": est.rotate_key, "threshold": est.threshold, "retry": est.retry}
    return {
        identity: {"method": "est", "common_name": est.common_name},
        f"{identity}.auto_renew": renewal,
        "cert_issuance.est": {"trusted_certs": [_file_uri(path) for path in est.trusted]},
        "cert_issuance.est.auth": auth,
        "cert_issuance.est.identity_auto_renew": dict(renewal),
        "cert_issuance.est.urls": {"default": est.url},
    }


def check(text: bytes, where: str = CONFIG_PATH) -> None:
    """What aziotctl would find fault with and we can see. Raises BadInput; never quotes a PIN."""
    try:
        found = tomllib.loads(text.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError):
        raise BadInput(where=where, key="the file", value="(hidden)", expected="TOML") from None
    wanted = {
        "provisioning.source": "dps",
        "provisioning.attestation.method": "x509",
    }
    for key, value in wanted.items():
        if _at(found, key) != value:
            raise BadInput(
                where=where,
                key=key,
                value=shown("", _at(found, key), like=[value]),
                expected=repr(value),
            )
    for key in ("provisioning.id_scope", "provisioning.attestation.registration_id"):
        if not isinstance(_at(found, key), str):
            raise BadInput(where=where, key=key, value=HIDDEN, expected="a text")
    for key in _uri_keys(found):
        try:
            Pkcs11Uri.parse(str(_at(found, key)))
        except Misuse:
            raise BadInput(
                where=where, key=key, value="(hidden)", expected="a pkcs11: URI (RFC 7512)"
            ) from None


def _uri_keys(found: dict[str, object]) -> list[str]:
    keys = ["aziot_keys.pkcs11_base_slot", "provisioning.attestation.identity_pk"]
    keys += ["cert_issuance.est.auth.bootstrap_identity_pk"]
    return [key for key in keys if _at(found, key) is not None]


def _at(found: object, key: str) -> object:
    for part in key.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    return found


@dataclass(frozen=True, slots=True)
class Applied:
    """How a configuration got into force: ``changed`` on the box, ``by_aziotctl`` accepted."""

    changed: bool
    by_aziotctl: bool


class IotEdge:
    """IoT Edge's configuration on one box.

    What aziotctl applied is marked in a file beside it, ``.NAME.applied`` (0600): which file that
    was, by inode and time, so that nothing in the mark helps to guess the PIN. The mark goes before
    the file is written and comes back after aziotctl said yes: a power cut or a refusal between
    the two leaves none, and the next ``apply`` goes on.
    """

    def __init__(self, shell: Shell, *, path: str = CONFIG_PATH) -> None:
        self._shell, self._path = shell, path
        directory, name = posixpath.split(path)
        self._mark = posixpath.join(directory, f".{name}.applied")

    def apply(self, config: EdgeConfig, *, by: Deadline) -> Applied:
        """Write the file (0600) unless it is there already, and have aziotctl apply it.

        Where there is no aziotctl, the file is checked here and only put in its place. Raises
        DeviceRefused when aziotctl does not accept it, IntegrityFailure when the box then shows
        something else.
        """
        wanted = config.render().reveal()
        check(wanted)
        changed = not self._is_there(wanted, by)
        if changed:
            clear_parts(self._shell, posixpath.dirname(self._path), make=True, by=by)
        self._shell.run("rm", "-f", "--", self._mark, by=by)
        if changed:
            self._shell.write(self._path, wanted, by=by, mode=0o600)
            if not self._is_there(wanted, by):
                raise IntegrityFailure(f"the box does not show the {self._path} given to it")
        tool = self._tool(by)
        if tool:
            self._shell.run(tool, "config", "apply", "-c", self._path, by=by)
            self._shell.write(self._mark, self._which(by), by=by, mode=0o600)
        return Applied(changed, bool(tool))

    def applied(self, *, by: Deadline) -> bool | None:
        """Whether aziotctl applied the file that is there; None where there is no aziotctl."""
        if not self._tool(by):
            return None
        which = self._which(by)
        try:
            return bool(which) and self._shell.read(self._mark, by=by) == which
        except DeviceRefused:
            return False

    def there(self, config: EdgeConfig, *, by: Deadline) -> bool:
        """Whether the box has exactly this file, with mode 0600."""
        return self._is_there(config.render().reveal(), by)

    def check(self, *, by: Deadline) -> str:
        """Check the file on the box; what aziotctl's own check says, "" where it is not there.

        Raises DeviceRefused when there is no file or aziotctl finds an error, BadInput when we
        find one, IntegrityFailure when others than its owner may read the PIN in it.
        """
        mode = self._mode(by)
        if not mode:
            raise DeviceRefused(f"there is no {self._path} on the box")
        if int(mode, 8) & 0o077:
            raise IntegrityFailure(f"{self._path} holds a PIN and has mode {mode}, expected 600")
        check(self._shell.read(self._path, by=by), self._path)
        tool = self._tool(by)
        return self._shell.run(tool, "check", by=by).text if tool else ""

    def _is_there(self, wanted: bytes, by: Deadline) -> bool:
        if self._mode(by) != "600":
            return False
        return self._shell.read(self._path, by=by) == wanted

    def _which(self, by: Deadline) -> bytes:
        """The file that is there, by inode and seconds of its last change; b"" for none."""
        done = self._shell.run("stat", "-c", "%i %Y", "--", self._path, by=by, check=False)
        return done.stdout if not done.status else b""

    def _mode(self, by: Deadline) -> str:
        done = self._shell.run("stat", "-c", "%a", "--", self._path, by=by, check=False)
        return done.text if not done.status and re.fullmatch(r"[0-7]{3,4}", done.text) else ""

    def _tool(self, by: Deadline) -> str:
        found = self._shell.run("sh", "-c", "command -v aziotctl", by=by, check=False).text
        return found if re.fullmatch(r"/[A-Za-z0-9/._-]+/aziotctl", found) else ""


def without_pins(config: EdgeConfig) -> EdgeConfig:
    """The same without what is secret: for records."""
    certificate = config.certificate
    if isinstance(certificate, FileCertificate):
        certificate = replace(certificate, key=replace(certificate.key, pin=None))
    else:
        hidden = Secret(b"(hidden)")
        login = (certificate.login[0], hidden) if certificate.login else None
        start = certificate.bootstrap
        start = start and replace(start, key=replace(start.key, pin=None))
        certificate = replace(certificate, login=login, bootstrap=start)
    return replace(config, certificate=certificate, base_slot=replace(config.base_slot, pin=None))


def _absolute(path: str) -> str:
    if not path.startswith("/") or not path.isprintable():
        raise Misuse(f"{path[:80]!r} is no absolute path")
    return path


def _file_uri(path: str) -> str:
    if not re.fullmatch(r"/[A-Za-z0-9._/-]+", path):
        raise Misuse(f"{path[:80]!r} is no plain absolute path")
    return f"file://{path}"
