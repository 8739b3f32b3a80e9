"""Reading the secure-boot registers: where they are on which SoC, through U-Boot or Linux.

They are read only on a SoC that was identified: where they do not exist, U-Boot's ``md`` ends in an
abort and a restart. Linux' /dev/mem is not used: reading it wrongly can stop the box.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from harness.boot_state import BootState, Register, decode, plausible_hpsr
from harness.deadline import Deadline
from harness.target import Shell
from harness.uboot import UBoot
from harness.uboot_answers import swapped

_TRUST_2 = {
    Register.HPSR: 0x1E90014,
    Register.SCRATCHRW2: 0x1EE0204,
    Register.SVHESR: 0x1E80024,
    Register.OSPR: 0x1E80200,
    Register.OSPR1: 0x1E80204,
}


@dataclass(frozen=True, slots=True)
class Soc:
    """A SoC that is known here. ``addresses`` of its registers, all in the same byte order."""

    name: str
    pattern: re.Pattern[str]
    addresses: Mapping[Register, int]


SOCS: tuple[Soc, ...] = (
    Soc("LS1012A", re.compile(r"ls1012a", re.IGNORECASE), _TRUST_2),
    Soc("LS1046A", re.compile(r"ls1046a", re.IGNORECASE), _TRUST_2),
)
"""TrustBox Edge and EdgeXL. Others have other addresses, or were not tried."""

_TELLING = ("soc", "board", "board_name", "fdtfile", "fdt_file")
_SOC_LINE = re.compile(r"^SoC: +(LS\d{4}A)", re.MULTILINE | re.ASCII)
_NVMEM = "/sys/bus/nvmem/devices"
_NVMEM_NAME = re.compile(r"fsl-sfp[0-9]{0,3}", re.ASCII)
_COMPATIBLE = "/sys/firmware/devicetree/base/compatible"
_NOT_KNOWN = "the box is not one of a SoC that is known to have the registers"


def identify(texts: Iterable[str], socs: Sequence[Soc] = SOCS) -> Soc | None:
    """The one SoC that ``texts`` (names, device tree strings) speak of; None for none or two."""
    said = list(texts)
    found = [soc for soc in socs if any(soc.pattern.search(text) for text in said)]
    return found[0] if len(found) == 1 else None


def read_in_uboot(uboot: UBoot, *, by: Deadline, socs: Sequence[Soc] = SOCS) -> BootState:
    """What the registers say, read with ``md`` where the SoC is identified, else absent.

    Identified: by the SoC line that U-Boot prints at start, and the variables that name the board;
    they must not contradict each other. Raises what ``UBoot.words`` raises.
    """
    source = "U-Boot md"
    variables = uboot.environment(by=by)
    said = [variables[name] for name in _TELLING if name in variables]
    soc = identify([*said, *_SOC_LINE.findall(uboot.said_before)], socs)
    if soc is None:
        return decode({}, soc=None, source=source, why_absent=_NOT_KNOWN)
    raw = {
        register: uboot.words(address, 1, by=by)[0] for register, address in soc.addresses.items()
    }
    values = in_order(raw)
    if values is None:
        seen = f"HPSR reads 0x{raw[Register.HPSR]:08x}, which has no meaning in either byte order"
        return decode({}, soc=soc.name, source=source, why_absent=seen)
    return decode(values, soc=soc.name, source=source)


def in_order(raw: Mapping[Register, int]) -> dict[Register, int] | None:
    """Words as ``md`` shows them, in the registers' own order.

    The registers are big-endian and ``md`` reads as the processor does, so they come swapped; some
    boards' U-Boot shows them straight. HPSR tells which: just one order of it can be. None: it can
    be neither or both, and then nothing is known.
    """
    straight = plausible_hpsr(raw[Register.HPSR])
    turned = plausible_hpsr(swapped(raw[Register.HPSR]))
    if straight == turned:
        return None
    return {register: swapped(value) if turned else value for register, value in raw.items()}


def read_in_linux(shell: Shell, *, by: Deadline) -> BootState:
    """What Linux shows of the fuses (driver layerscape-sfp), else absent. Needs no restart.

    The security monitor's registers are not among them. Raises what the shell raises.
    """
    source = "Linux nvmem fsl-sfp"
    tree = shell.run("head", "-c", "1024", "--", _COMPATIBLE, by=by, check=False)
    soc = identify(tree.stdout.decode(errors="replace").split("\0")) if tree.status == 0 else None
    if soc is None:
        return decode({}, soc=None, source=source, why_absent=_NOT_KNOWN)
    listed = shell.run("ls", "-1", _NVMEM, by=by, check=False)
    names = [name for name in listed.text.splitlines() if _NVMEM_NAME.fullmatch(name)]
    if listed.status != 0 or len(names) != 1:
        why = "this kernel has no driver for the fuses (layerscape-sfp)"
        return decode({}, soc=soc.name, source=source, why_absent=why)
    cells = shell.run("head", "-c", "8", "--", f"{_NVMEM}/{names[0]}/nvmem", by=by, check=False)
    if cells.status != 0 or len(cells.stdout) != 8:
        why = "the fuses cannot be read through Linux"
        return decode({}, soc=soc.name, source=source, why_absent=why)
    # drivers/nvmem/layerscape-sfp.c: from OSPR on, each as the processor has words.
    words = [int.from_bytes(cells.stdout[at : at + 4], "little") for at in (0, 4)]
    return decode({Register.OSPR: words[0], Register.OSPR1: words[1]}, soc=soc.name, source=source)
