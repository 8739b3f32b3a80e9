"""Who an emulated box is: made once for each serial number, kept in the user's cache.

::

    boxes/TB-EMU-0001/
        box.json               serial number and hardware unique key (0600)
        ssh_host_ecdsa_key     its SSH host key, given to it on its first boot
        client_key             the key that logs in as root
        owner.lock             held by whoever uses the persistent disk
        image-0123456789abcdef/    what depends on the image it runs, by the image's digest
            flash.bin          the image's, with the hardware unique key written into it
            env.img            U-Boot's environment: boot command, serial number
            initrd.cpio        the image's, with what the factory tells this box
            blank.qcow2        an untouched disk over the image's root file system
            disk.qcow2         its persistent disk
            template-…/        its saved delivered state

A new image leaves the box its identity and gives it a fresh disk: software and secure storage of
one build mean nothing to another. The old disk stays with the old image and is found again when
that image is used again. Of templates the three used last stay; they can be made again.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import filelock
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from emulator import disk, newc, uboot_env
from emulator.image import Image
from emulator.owner import OwnerLock
from emulator.paths import cache_root
from emulator.profiles import profile_named
from harness.deadline import Deadline
from harness.errors import BadInput, DeadlineExpired, RigError
from harness.secret import Secret

HUK_OFFSET = 0x3F000
"""Where the image's OP-TEE reads 16 bytes of hardware unique key from secure flash."""
HUK_BYTES = 16
_FORMAT = 1
_SERIAL = re.compile(r"TB-[A-Z0-9](?:[A-Z0-9-]{0,26}[A-Z0-9])?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Box:
    """One box with one image. Paths exist, except ``disk`` before its first persistent use."""

    serial: str
    image: Image
    directory: Path
    host_key: str
    """``type base64``, as in known_hosts."""

    @property
    def client_key(self) -> Path:
        return self.directory / "client_key"

    @property
    def owner_lock(self) -> Path:
        return self.directory / "owner.lock"

    @property
    def own(self) -> Path:
        """Where the files are that depend on the image."""
        return self.directory / f"image-{self.image.digest[:16]}"

    @property
    def flash(self) -> Path:
        return self.own / "flash.bin"

    @property
    def environment(self) -> Path:
        return self.own / "env.img"

    @property
    def initrd(self) -> Path:
        return self.own / "initrd.cpio"

    @property
    def blank(self) -> Path:
        return self.own / "blank.qcow2"

    @property
    def disk(self) -> Path:
        return self.own / "disk.qcow2"


def check_serial(serial: str) -> str:
    """``serial`` itself, if it has the form of an emulated box's; BadInput otherwise."""
    if not _SERIAL.fullmatch(serial):
        raise BadInput(
            where="--serial",
            key="the serial number",
            value=serial,
            expected="TB- and 1 to 28 capital letters, digits or dashes, no dash first or last",
        )
    return serial


def open_box(serial: str, image: Image, *, by: Deadline) -> Box:
    """The box with this serial number, made when there is none yet. Safe to call at once from many.

    Raises BadInput for a serial number of another form, RigError when its files are damaged.
    """
    check_serial(serial)
    home = cache_root() / "boxes"
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    directory = home / serial
    with lock(home / f"{serial}.lock", f"box {serial} to be made by another process", by=by):
        if not directory.exists():
            _make_identity(directory, serial)
        box = Box(serial, image, directory, _host_key(directory, serial))
        if not box.own.exists():
            _make_own(box, by)
    return box


def hardware_unique_key(box: Box) -> Secret:
    """The 16 bytes in the box's secure flash. Raises RigError when its files are damaged."""
    return _huk(box.directory)


def remove_box(serial: str, *, by: Deadline) -> None:
    """Its disks, its keys, its identity. Only for a box that nobody holds; RigError names who."""
    home = cache_root() / "boxes"
    directory = home / check_serial(serial)
    with lock(home / f"{serial}.lock", f"box {serial} to be let go", by=by):
        if directory.exists():
            with OwnerLock(directory / "owner.lock", serial):
                shutil.rmtree(directory)
    (home / f"{serial}.lock").unlink(missing_ok=True)


def lock(path: Path, waiting_for: str, *, by: Deadline) -> filelock.BaseFileLock:
    """A lock among processes, acquired; for ``with``. Raises DeadlineExpired."""
    held = filelock.FileLock(path, mode=0o600)
    try:
        held.acquire(timeout=by.left(waiting_for))
    except filelock.Timeout as exc:
        raise DeadlineExpired(waiting_for, by.seconds) from exc
    return held


def _make_identity(directory: Path, serial: str) -> None:
    new = Path(tempfile.mkdtemp(prefix=f".new-{serial}-", dir=directory.parent))
    huk = bytes(HUK_BYTES)
    while not any(huk):  # the key that every board without a key has
        huk = os.urandom(HUK_BYTES)
    host_key = ec.generate_private_key(ec.SECP256R1())
    _write(new / "ssh_host_ecdsa_key", _openssh(host_key))
    client_key = ec.generate_private_key(ec.SECP256R1())
    _write(new / "client_key", _openssh(client_key))
    facts = {
        "format": _FORMAT,
        "serial": serial,
        "huk": huk.hex(),
        "host_key": _public(host_key),
        "client_key": _public(client_key),
    }
    _write(new / "box.json", json.dumps(facts, indent=2).encode())
    new.rename(directory)


def _make_own(box: Box, by: Deadline) -> None:
    new = Path(tempfile.mkdtemp(prefix=".new-image-", dir=box.directory))
    factory = {
        "factory/serial": newc.Entry(f"{box.serial}\n".encode(), 0o644),
        "factory/ssh_host_ecdsa_key": newc.Entry(
            (box.directory / "ssh_host_ecdsa_key").read_bytes()
        ),
        "factory/authorized_keys": newc.Entry(f"{_fact(box.directory, 'client_key')}\n".encode()),
    }
    base = box.image.initrd.read_bytes()
    _write(new / "initrd.cpio", base + bytes(-len(base) % 512) + newc.archive(factory))
    _write(new / "flash.bin", _flash(box.image.flash.read_bytes(), _huk(box.directory)))
    countdown = profile_named(box.image.profile).autoboot_seconds
    write_environment(new / "env.img", box.serial, box.image, countdown)
    disk.create_overlay(new / "blank.qcow2", over=box.image.root, by=by)
    try:
        new.rename(box.own)
    except OSError:
        shutil.rmtree(new, ignore_errors=True)
        raise


def write_environment(path: Path, serial: str, image: Image, autoboot_seconds: int) -> None:
    """A flash image at ``path`` with what U-Boot must know to boot ``image``."""
    variables = {"bootdelay": str(autoboot_seconds), "bootcmd": image.bootcmd, "serial#": serial}
    uboot_env.write_flash(path, variables)


def _flash(image: bytes, huk: Secret) -> bytes:
    end = HUK_OFFSET + HUK_BYTES
    if len(image) <= end or any(image[HUK_OFFSET:end]):
        raise RigError(
            f"the image's flash has no room for a hardware unique key at 0x{HUK_OFFSET:x}",
            hint="The image is damaged or of another format: build it again.",
        )
    return image[:HUK_OFFSET] + huk.reveal() + image[end:]


def _facts(directory: Path) -> dict[str, object]:
    path = directory / "box.json"
    try:
        facts = json.loads(path.read_bytes())
    except (OSError, ValueError) as exc:
        raise RigError(f"{path} cannot be read: {exc}", hint=_DAMAGED) from exc
    if not isinstance(facts, dict) or facts.get("format") != _FORMAT:
        raise RigError(f"{path} has another format than {_FORMAT}", hint=_DAMAGED)
    return facts


_DAMAGED = "Remove the directory of this box to make a new box with the same serial number."


def _fact(directory: Path, name: str) -> str:
    value = _facts(directory).get(name)
    if not isinstance(value, str):
        raise RigError(f"{directory / 'box.json'} has no {name}", hint=_DAMAGED)
    return value


def _huk(directory: Path) -> Secret:
    try:
        huk = bytes.fromhex(_fact(directory, "huk"))
    except ValueError:
        huk = b""
    if len(huk) != HUK_BYTES or not any(huk):
        raise RigError(f"{directory / 'box.json'} has no hardware unique key", hint=_DAMAGED)
    return Secret(huk)


def _host_key(directory: Path, serial: str) -> str:
    if _fact(directory, "serial") != serial:
        raise RigError(f"{directory / 'box.json'} belongs to another box", hint=_DAMAGED)
    return _fact(directory, "host_key")


def _openssh(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.OpenSSH,
        serialization.NoEncryption(),
    )


def _public(key: ec.EllipticCurvePrivateKey) -> str:
    return (
        key.public_key()
        .public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
        .decode("ascii")
    )


def _write(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
