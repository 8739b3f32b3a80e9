"""What is on a box, for ``bench_check``: its layout's paths, the PKCS#11 module, promises."""

from __future__ import annotations

from collections.abc import Callable

from harness.agent_shell import AgentShell
from harness.bench_opening import holding_of
from harness.bench_probes import BOOT_SECONDS, LINK_SECONDS, WAY, Bench, Probe, Skip
from harness.deadline import Deadline
from harness.errors import DeviceRefused, IntegrityFailure
from harness.history import History
from harness.probe import probe as find_capabilities
from harness.tee_supplicant import StorageSeen, demand_lasting, storage_seen

_LOAD = """
real=$(readlink -f -- "$1") || exit 1
LD_BIND_NOW=1 LD_PRELOAD="$real" grep -F -m 1 -- "$real" /proc/self/maps
"""


def _directory(which: str) -> Callable[[Bench], str]:
    def look(bench: Bench) -> str:
        path: str = getattr(bench.rig.config.layout, which)
        status, _ = bench.run("test", "-d", path)
        if status:
            raise DeviceRefused(f"{path} is no directory on the box")
        return path

    return look


def _tee_device(bench: Bench) -> str:
    path = bench.rig.config.layout.tee_device
    if bench.run("test", "-c", path)[0]:
        raise DeviceRefused(f"{path} is no device on the box")
    return path


def _module(bench: Bench) -> str:
    """Loaded for real, into a program that shows its own memory map."""
    path = bench.rig.config.layout.pkcs11_module
    if bench.run("test", "-f", path)[0]:
        raise DeviceRefused(f"{path} is not there on the box")
    by = Deadline.after(LINK_SECONDS)
    done = bench.ssh.run("sh", "-c", _LOAD, "sh", path, by=by, check=False)
    if done.status == 0:
        return f"{path} loads"
    complaint = done.stderr.decode(errors="replace").strip().splitlines()
    if not complaint:
        raise Skip(f"{path} is there; whether it loads cannot be told with this box's grep")
    raise DeviceRefused(f"{path} does not load: {complaint[0][:200]}")


def _promises(bench: Bench) -> str:
    rig, history = bench.rig, History()
    holding = holding_of(rig)
    shell = AgentShell(bench.ssh, holding.layout, rig.vitals, history)
    try:
        by = Deadline.after(BOOT_SECONDS)
        probed = find_capabilities(shell, shell.helpers, holding, history, by=by)
    finally:
        shell.close()
    for problem in probed.unknown.values():  # the first says why; the others follow from it
        raise problem
    missing = sorted(c.value for c in holding.promises - probed.found)
    if missing:
        raise IntegrityFailure(f"promised and not found: {', '.join(missing)}")
    return f"found {', '.join(sorted(c.value for c in probed.found))}"


def _supplicant(bench: Bench) -> str:
    seen = _storage_seen(bench).supplicants
    if not seen.states and not seen.device:
        raise Skip("the box has no /dev/teepriv0 for one")
    if (trouble := seen.trouble()) is not None:
        raise trouble
    return "it runs"


def _storage_lasts(bench: Bench) -> str:
    place = _storage_seen(bench).place
    if place.lasts is None:
        raise Skip(f"unknown: {place.why}")
    demand_lasting(place)
    return f"{place.path}: {place.why}"


def _storage_seen(bench: Bench) -> StorageSeen:
    by = Deadline.after(LINK_SECONDS)
    return storage_seen(bench.ssh, bench.rig.config.layout, by=by)


_BOX = ("serial number",)
PROBES = (
    *WAY,
    Probe(
        "TA directory",
        "looking for the TA directory",
        _directory("ta_directory"),
        "layout.ta_directory: where tee-supplicant looks for Trusted Applications.",
        _BOX,
    ),
    Probe(
        "storage root",
        "looking for the TEE's storage",
        _directory("storage_root"),
        "layout.storage_root: where tee-supplicant keeps secure storage (its option -f).",
        _BOX,
    ),
    Probe(
        "TEE device",
        "looking for the TEE device",
        _tee_device,
        "layout.tee_device: does the kernel have OP-TEE, dmesg | grep optee?",
        _BOX,
    ),
    Probe(
        "tee-supplicant",
        "looking for who answers the TEE's requests",
        _supplicant,
        "",
        ("serial number", "TEE device"),
    ),
    Probe(
        "storage lasts",
        "looking where the TEE's storage lies",
        _storage_lasts,
        "",
        ("serial number", "tee-supplicant"),
    ),
    Probe(
        "PKCS#11 module",
        "loading the PKCS#11 module",
        _module,
        "layout.pkcs11_module: OP-TEE's libckteec; firmware of OP-TEE 3.6.0 has none.",
        _BOX,
    ),
    Probe(
        "capabilities",
        "finding out what the box can do",
        _promises,
        "promises: what this box must be able to do.",
        _BOX,
    ),
)
