"""From a serial number to a held emulated box: what the composition root calls."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Mapping

from emulator import registry, run_dir
from emulator.box_store import Box, hardware_unique_key, open_box, write_environment
from emulator.build import ensure_image
from emulator.flash_seen import flash_seen
from emulator.kept import KeptRig
from emulator.owner import OwnerLock
from emulator.profiles import CURRENT, profile_named
from emulator.ta_key import ta_encryption_key
from harness.capability import Capability
from harness.console import SerialConsole
from harness.console_login import ConsoleLogin
from harness.deadline import Deadline
from harness.errors import RigError
from harness.holding import Endpoint, Holding
from harness.panics import DEFAULT_PANICS
from harness.secret import Secret
from harness.tamper import Tamper
from harness.target import EvidenceLevel, Firmware, Rig, World
from harness.vitals import Vitals

CAPABILITIES = frozenset({Capability.POWER, Capability.RESTORE, Capability.MORE_BOXES})
PANICS = (*DEFAULT_PANICS, re.compile(rb"ERROR: +QEMU System Power off"))
"""A box that switches itself off is dead to those who wait for it (TF-A plat/qemu, system_off).

TF-A goes on to panic until QEMU has ended, so which of the two is seen first is a matter of luck.
"""


def hold(
    *,
    name: str,
    serial: str,
    fresh: bool,
    by: Deadline,
    profile: str = CURRENT.name,
    progress: Callable[[str], None] = lambda what: None,
) -> Holding:
    """A held box, on. ``fresh``: a throwaway copy in the state in which it was delivered.

    Otherwise the box itself with its own lasting disk: the one that ``trustbox emulator start``
    keeps running, if it does, else booted now, for one process at a time (RigError names the
    other). Builds the image and saves the delivered state when they are not cached. If this
    raises, nothing that it started runs and nothing is left.
    """
    if not fresh and registry.is_kept(serial):
        return hold_kept(name=name, serial=serial, by=by, profile=profile, progress=progress)
    if not fresh:
        return hold_own(name=name, serial=serial, by=by, profile=profile, progress=progress)
    box = open_box(serial, ensure_image(profile, archive=None, progress=progress), by=by)
    holding = hold_box(box, name=name, progress=progress)
    with contextlib.ExitStack() as undo:
        undo.callback(holding.rig.close)
        holding.rig.restore(by=by)
        undo.pop_all()
    return holding


def hold_own(
    *,
    name: str,
    serial: str,
    by: Deadline,
    profile: str = CURRENT.name,
    autoboot_seconds: int | None = None,
    progress: Callable[[str], None] = lambda what: None,
) -> Holding:
    """The box itself with its lasting disk, booted by this process. Raises as ``hold``.

    ``autoboot_seconds``: U-Boot counts down from that instead of what the profile says.
    """
    box = open_box(serial, ensure_image(profile, archive=None, progress=progress), by=by)
    with contextlib.ExitStack() as undo:
        owner = OwnerLock(box.owner_lock, serial)
        undo.callback(owner.close)
        holding = hold_box(
            box, name=name, owner=owner, autoboot_seconds=autoboot_seconds, progress=progress
        )
        undo.callback(holding.rig.close)
        progress(f"{serial}: switching it on")
        holding.rig.on(by=by)
        undo.pop_all()
    return holding


def hold_kept(
    *,
    name: str,
    serial: str,
    by: Deadline,
    profile: str = CURRENT.name,
    progress: Callable[[str], None] = lambda what: None,
) -> Holding:
    """The box that a keeper holds; closing its rig leaves it running. RigError: nobody keeps it."""
    box = open_box(serial, ensure_image(profile, archive=None, progress=progress), by=by)
    vitals = Vitals(name)
    consoles = _consoles(box, vitals)
    rig = KeptRig(serial, vitals, consoles)
    if rig.image(by=by) != box.image.digest:
        raise RigError(
            f"{serial} runs another image than the one that is built now",
            hint=f"trustbox emulator stop --serial {serial}, then start it again.",
        )
    with contextlib.ExitStack() as undo:
        undo.callback(rig.close)
        rig.attach(by=by)
        undo.pop_all()
    return _holding(box, rig, lambda: rig.ssh_port, consoles, vitals)


def hold_box(
    box: Box,
    *,
    name: str,
    owner: OwnerLock | None = None,
    autoboot_seconds: int | None = None,
    progress: Callable[[str], None] = lambda what: None,
) -> Holding:
    """A held box that is still off. With ``owner`` it is the box itself, without a copy."""
    from emulator.rig import EmulatorRig  # here: a kept box is held by its keeper
    from emulator.tamper.live import LiveTamper

    vitals = Vitals(name)
    consoles = _consoles(box, vitals)
    run = run_dir.new(box.serial)
    environment = None
    if autoboot_seconds is not None:
        environment = run.path / "env.img"
        write_environment(environment, box.serial, box.image, autoboot_seconds)
    rig = EmulatorRig(
        box,
        run=run,
        vitals=vitals,
        consoles=consoles,
        owner=owner,
        environment=environment,
        progress=progress,
    )
    # Whoever holds QEMU itself; a keeper's clients do not.
    return _holding(box, rig, lambda: rig.ssh_port, consoles, vitals, LiveTamper(rig))


def _consoles(box: Box, vitals: Vitals) -> dict[World, SerialConsole]:
    worlds = profile_named(box.image.profile).worlds
    return {world: SerialConsole(world, vitals, panics=PANICS) for world in worlds}


def _holding(
    box: Box,
    rig: Rig,
    port: Callable[[], int],
    consoles: Mapping[World, SerialConsole],
    vitals: Vitals,
    tamper: Tamper | None = None,
) -> Holding:
    def endpoint() -> Endpoint:
        return Endpoint("127.0.0.1", port(), box.host_key, client_key=box.client_key)

    return Holding(
        serial=box.serial,
        rig=rig,
        endpoint=endpoint,
        consoles=consoles,
        vitals=vitals,
        firmware=firmware(box),
        evidence_level=EvidenceLevel.FUNCTIONAL,
        rig_capabilities=CAPABILITIES | ({Capability.TAMPER} if tamper else set()),
        tamper=tamper,
        boot_seen=lambda: flash_seen(box),
        console_login=ConsoleLogin("root", _password(box)),
    )


def _password(box: Box) -> Callable[[], Secret] | None:
    """Root's on the UART, where the profile gives it one (``Profile.root_shadow``)."""
    if not profile_named(box.image.profile).root_shadow:
        return None
    return lambda: Secret(b"root")


def firmware_of(
    *,
    serial: str,
    by: Deadline,
    profile: str = CURRENT.name,
    progress: Callable[[str], None] = lambda what: None,
) -> Firmware:
    """What comes with the firmware of this box, which is not switched on for it."""
    return firmware(open_box(serial, ensure_image(profile, archive=None, progress=progress), by=by))


def firmware(box: Box) -> Firmware:
    image = box.image
    encrypts = profile_named(image.profile).optee.get("CFG_ENCRYPT_TA") == "y"
    return Firmware(
        version=image.optee_version,
        devkit=image.devkit,
        ta_signing_key=image.ta_key,
        ta_encryption_key=(
            ta_encryption_key(hardware_unique_key(box), image.ta_key) if encrypts else None
        ),
        golden_tee=image.golden_tee,
        image_digest=image.digest,
        manifest=image.manifest,
    )
